//! Counts numbers by key for ever, and writes each count down: what tests of the operator run.
//!
//! ```text
//! numbers ──▶ key by ──▶ count ──▶ result
//! 0, 1, 2, …   k17       42        "k17 42 3911 v1": index 3911 was the 42nd of key k17
//! ```
//!
//! Whoever has the lines can tell what is lost or there twice: each key's counts are 1 to n, each
//! index comes once. And it fails on request, so that what happens then can be tested.

mod faults;

use std::process::ExitCode;
use std::str::FromStr;

use faults::Faults;
use tidegate::SourceOutput;
use tidegate::connectors::mix;
use tidegate::prelude::*;

/// A number, by its index, and the key that it falls to.
#[derive(Debug, Clone, Default, Record)]
struct Number {
    index: u64,
    key: u64,
}

/// The type of the state that the job keeps for each key.
#[derive(Debug, Clone, Copy)]
enum StateKind {
    Number,
    Text,
}

impl FromStr for StateKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "number" => Ok(Self::Number),
            "text" => Ok(Self::Text),
            _ => Err("it is `number` or `text`".to_owned()),
        }
    }
}

/// Counts each key's numbers.
#[derive(Clone)]
struct Count {
    label: String,
    faults: Faults,
}

impl KeyedProcess for Count {
    type Key = u64;
    type Input = Number;
    type Output = String;
    type State = ValueState<u64>;

    fn process(
        &mut self,
        number: NumberView,
        context: &mut KeyedContext<'_, u64, ValueState<u64>>,
        output: &mut Output<String>,
    ) -> Result<()> {
        self.faults.strike_at_record()?;
        context.state.update(|count| *count += 1);
        let count = context.state.get_or_default();
        output.push(&format!(
            "k{} {count} {} {}",
            number.key, number.index, self.label
        ));
        Ok(())
    }
}

/// The same with the count kept as text: its state does not fit a checkpoint of [`Count`].
#[derive(Clone)]
struct CountInText(Count);

impl KeyedProcess for CountInText {
    type Key = u64;
    type Input = Number;
    type Output = String;
    type State = ValueState<String>;

    fn process(
        &mut self,
        number: NumberView,
        context: &mut KeyedContext<'_, u64, ValueState<String>>,
        output: &mut Output<String>,
    ) -> Result<()> {
        self.0.faults.strike_at_record()?;
        let count = context.state.get_or_default();
        let count = if count.is_empty() {
            1
        } else {
            count.parse::<u64>()? + 1
        };
        context.state.set(count.to_string());
        let label = &self.0.label;
        output.push(&format!("k{} {count} {} {label}", number.key, number.index));
        Ok(())
    }
}

fn build(pipeline: &mut Pipeline, arguments: &Arguments) -> Result<()> {
    let faults = Faults::of(arguments)?;
    faults.strike_at_start();
    let (keys, seed) = (
        arguments.get::<u64>("keys")?.max(1),
        arguments.get::<u64>("seed")?,
    );
    let mut numbers = Generator::new(move |index, out: &mut SourceOutput<Number>| {
        let key = mix(index.wrapping_add(seed)) % keys;
        out.push(NumberView { index, key });
    });
    let (count, rate) = (arguments.get("count")?, arguments.get("rate")?);
    if count > 0 {
        numbers = numbers.with_count(count);
    }
    if rate > 0 {
        numbers = numbers.with_rate(rate);
    }
    let counting = Count {
        label: arguments.get("label")?,
        faults,
    };
    let keyed = pipeline
        .source("numbers", numbers)
        .key_by::<u64>(|number| number.key);
    let lines = match arguments.get("state")? {
        StateKind::Number => keyed.process("count", counting),
        StateKind::Text => keyed.process("count", CountInText(counting)),
    };
    lines.sink(
        "result",
        FileSink::new(arguments.get::<String>("output")?, Lines),
    );
    Ok(())
}

fn main() -> ExitCode {
    let about = "Counts numbers by key for ever, and fails on request.";
    let place = "job-under-test-result";
    let fail = "panic-at-start, exit-at-start, abort-at-start, panic-after=N, error-after=N or \
                abort-after=N, where N records of a subtask are counted before";
    tidegate::Program::new(about)
        .option_with_default("output", "PLACE", place, "a folder or s3://bucket/prefix")
        .option_with_default(
            "rate",
            "N",
            "1000",
            "numbers a second; 0: as fast as it goes",
        )
        .option_with_default("count", "N", "0", "ends after so many numbers; 0: never")
        .option_with_default("keys", "N", "100", "how many keys there are")
        .option_with_default("seed", "N", "0", "gives each number another key")
        .option_with_default("label", "TEXT", "v1", "stands in each line of the result")
        .option_with_default(
            "state",
            "KIND",
            "number",
            "`number` or `text`: how counts are kept",
        )
        .option("fail", "MODE", fail)
        .option(
            "eat-memory",
            "MIB",
            "takes so much memory at the first record, and keeps it",
        )
        .option(
            "once",
            "FILE",
            "fails only while there is no such file, and makes it before",
        )
        .run(build)
}
