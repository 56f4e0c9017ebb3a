//! Events as JSON lines on standard output.

use std::io::{self, Write};

use serde::Serialize;

use crate::clock::system_ms;
use crate::job_event::JobEvent;

/// Prints for programs.
pub(super) struct JsonPrinter;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time_ms: i64,
    #[serde(flatten)]
    event: &'a JobEvent,
}

impl JsonPrinter {
    pub(super) const fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "both printers are used alike")]
    pub(super) fn print(&mut self, event: &JobEvent) {
        let time_ms = system_ms();
        let mut line = serde_json::to_vec(&Line { time_ms, event })
            .expect("an event has string keys and plain values");
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        // A reader that has gone away must not end the job.
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    }
}
