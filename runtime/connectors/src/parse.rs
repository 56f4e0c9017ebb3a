//! A parse step: text in, records out, and a policy for what cannot be parsed.

use std::sync::Arc;

use tidegate_engine::{BoxError, OperatorMetrics, Output, Record, Result, Stream};

use crate::bad_records::{BadRecordHandler, BadRecords};

/// Parsing on streams of text.
pub trait ParseLines {
    /// Makes a record of each line. A line for which `parse` returns an error is a bad record: the
    /// policy says what becomes of it, and the operator's metrics count it.
    ///
    /// `id` names the operator in messages, metrics and dead letters.
    #[must_use]
    fn parse<U: Record>(
        self,
        id: &str,
        bad_records: BadRecords,
        parse: impl Fn(&str) -> Result<U> + Send + Sync + 'static,
    ) -> Stream<U>;
}

impl ParseLines for Stream<String> {
    fn parse<U: Record>(
        self,
        id: &str,
        bad_records: BadRecords,
        parse: impl Fn(&str) -> Result<U> + Send + Sync + 'static,
    ) -> Stream<U> {
        let operator = id.to_owned();
        let parse = Arc::new(parse);
        let make = move |metrics: &Arc<OperatorMetrics>| {
            let parse = Arc::clone(&parse);
            let mut bad = BadLines {
                policy: bad_records.clone(),
                operator: operator.clone(),
                metrics: Arc::clone(metrics),
                handler: None,
            };
            let mut line_count = 0_u64;
            move |line: &str, output: &mut Output<U>| {
                line_count += 1;
                match parse(line) {
                    Ok(record) => {
                        output.emit(&record);
                        Ok(())
                    }
                    Err(problem) => bad.treat(line_count, &problem, line),
                }
            }
        };
        self.flat_map_with(make).named(id)
    }
}

/// Bad lines of one subtask.
struct BadLines {
    policy: BadRecords,
    operator: String,
    metrics: Arc<OperatorMetrics>,
    /// Made at the first bad line, since making it can fail.
    handler: Option<BadRecordHandler>,
}

impl BadLines {
    fn treat(&mut self, line_count: u64, problem: &BoxError, line: &str) -> Result<()> {
        let handler = match &mut self.handler {
            Some(handler) => handler,
            none => {
                let metrics = Arc::clone(&self.metrics);
                none.insert(BadRecordHandler::new(
                    &self.policy,
                    &self.operator,
                    metrics,
                )?)
            }
        };
        let place = format!("line {line_count} since the start");
        handler.bad(&place, &problem.to_string(), line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(policy: BadRecords) -> BadLines {
        BadLines {
            policy,
            operator: "parse".to_owned(),
            metrics: Arc::default(),
            handler: None,
        }
    }

    #[test]
    fn a_bad_line_is_counted_under_skip_and_named_under_fail() {
        let problem: BoxError = "there is no comma".into();
        let mut skipped = bad(BadRecords::Skip);
        skipped.treat(1, &problem, "a;1").unwrap();
        skipped.treat(2, &problem, "b;2").unwrap();
        assert_eq!(skipped.metrics.skipped_records.get(), 2);

        let error = bad(BadRecords::Fail)
            .treat(7, &problem, "a;1")
            .unwrap_err()
            .to_string();
        for part in ["parse", "line 7", "there is no comma", "a;1"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
}
