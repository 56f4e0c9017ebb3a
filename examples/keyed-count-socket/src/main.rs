//! The classic streaming program: lines `key,number` from a TCP socket, and after each one how many
//! its key has had and what they add up to.
//!
//! Start a server with `nc -lk 9999`, then this program, then type lines into the server.

use std::process::ExitCode;

use tidegate::prelude::*;

/// What a line says.
#[derive(Debug, Clone, Default, PartialEq, Record)]
struct Event {
    key: String,
    number: i64,
}

/// What is known about a key so far.
#[derive(Debug, Clone, Default, Record)]
struct Total {
    key: String,
    count: u64,
    sum: i64,
}

/// What is kept for each key. It survives failures, restarts and a change of parallelism.
#[derive(State)]
struct Seen {
    count: ValueState<u64>,
    sum: ValueState<i64>,
}

#[derive(Clone)]
struct CountByKey;

impl KeyedProcess for CountByKey {
    type Key = String;
    type Input = Event;
    type Output = Total;
    type State = Seen;

    fn process(
        &mut self,
        event: EventView<'_>,
        context: &mut KeyedContext<'_, String, Seen>,
        output: &mut Output<Total>,
    ) -> Result<()> {
        context.state.count.update(|count| *count += 1);
        context.state.sum.update(|sum| *sum += event.number);
        output.push(TotalView {
            key: event.key,
            count: context.state.count.get_or_default(),
            sum: context.state.sum.get_or_default(),
        });
        Ok(())
    }
}

fn parse(line: &str) -> Result<Event> {
    let (key, number) = line
        .split_once(',')
        .ok_or("there is no comma between key and number")?;
    Ok(Event {
        key: key.trim().to_owned(),
        number: number.trim().parse()?,
    })
}

fn build(pipeline: &mut Pipeline, arguments: &Arguments) -> Result<()> {
    let address: String = arguments.get("socket")?;
    let bad_records = match arguments.get::<String>("bad-lines")?.as_str() {
        "fail" => BadRecords::Fail,
        "skip" => BadRecords::Skip,
        path => BadRecords::DeadLetter(path.into()),
    };
    pipeline
        .source(
            "lines",
            SocketLines::new(address).on_bad_records(bad_records.clone()),
        )
        .parse("parse", bad_records, parse)
        .key_by::<String>(|event| event.key)
        .process("count", CountByKey)
        .sink("print", Print::new());
    Ok(())
}

fn main() -> ExitCode {
    tidegate::Program::new("Counts the events of each key that come from a socket.")
        .option_with_default(
            "socket",
            "HOST:PORT",
            "localhost:9999",
            "where lines come from",
        )
        .option_with_default(
            "bad-lines",
            "POLICY",
            "skip",
            "fail, skip, or a file to put them in",
        )
        .run(build)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_key_and_a_number() {
        let event = Event {
            key: "a".into(),
            number: -7,
        };
        assert_eq!(parse("a, -7").unwrap(), event);
        assert!(parse("a;7").unwrap_err().to_string().contains("no comma"));
        assert!(parse("a,seven").is_err());
    }
}
