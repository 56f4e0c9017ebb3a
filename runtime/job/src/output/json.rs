//! Events as JSON lines on standard output.

use std::io::{self, Write};

use serde::Serialize;

use crate::clock::system_ms;
use crate::job_event::JobEvent;

/// Prints for programs.
pub(super) struct JsonPrinter {
    writer: Box<dyn Write + Send>,
    /// What went wrong first.
    failure: Option<io::Error>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time_ms: i64,
    #[serde(flatten)]
    event: &'a JobEvent,
}

impl JsonPrinter {
    pub(super) fn stdout() -> Self {
        Self::new(Box::new(io::stdout()))
    }

    fn new(writer: Box<dyn Write + Send>) -> Self {
        Self {
            writer,
            failure: None,
        }
    }

    pub(super) fn print(&mut self, event: &JobEvent) {
        let time_ms = system_ms();
        let mut line = serde_json::to_vec(&Line { time_ms, event })
            .expect("an event has string keys and plain values");
        line.push(b'\n');
        let written = self.writer.write_all(&line);
        let written = written.and_then(|()| self.writer.flush());
        // Nothing that happens here ends the job, but its end tells of it.
        if let Err(error) = written {
            self.failure.get_or_insert(error);
        }
    }

    /// Why a line is missing; a reader that has seen enough and gone away is no failure.
    pub(super) fn into_failure(self) -> Option<io::Error> {
        let is_failure = |error: &io::Error| error.kind() != io::ErrorKind::BrokenPipe;
        self.failure.filter(is_failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_a_failure_and_a_reader_that_has_gone_is_none() {
        let failure = |kind| {
            let mut printer = JsonPrinter::new(Box::new(Broken(kind)));
            let message = String::new();
            printer.print(&JobEvent::Notice { message });
            printer.into_failure().map(|error| error.kind())
        };
        let full = io::ErrorKind::StorageFull;
        assert_eq!(failure(full), Some(full));
        assert_eq!(failure(io::ErrorKind::BrokenPipe), None);
    }
}
