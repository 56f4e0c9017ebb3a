//! What a job process prints about itself: sentences for people on standard error, or JSON lines
//! for programs on standard output.
//!
//! A thread of its own prints, so that a full pipe or a slow terminal holds up nothing but the
//! printing.

mod json;
mod number;
mod screen;
mod text;

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tidegate_api::job_config::{JobConfig, OutputFormat};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::job_event::JobEvent;
use json::JsonPrinter;
pub(crate) use screen::{LogWriter, Screen};
use text::TextPrinter;

/// How long the end of a job waits for its last lines to be printed.
const LAST_LINES_LIMIT: Duration = Duration::from_secs(2);

/// The thread that prints.
pub(crate) struct Output {
    done: mpsc::Receiver<Option<io::Error>>,
}

enum Printer {
    Text(TextPrinter),
    Json(JsonPrinter),
}

impl Output {
    /// Prints every event until the job has ended; without progress where lines are kept rather
    /// than watched, since metrics tell it there.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn start(
        config: &JobConfig,
        screen: Arc<Screen>,
        mut events: broadcast::Receiver<Arc<JobEvent>>,
    ) -> std::io::Result<Self> {
        let mut printer = match config.output.format {
            OutputFormat::Text => Printer::Text(TextPrinter::new(screen)),
            OutputFormat::Json => Printer::Json(JsonPrinter::stdout()),
        };
        let is_kept = config.linger;
        let (finished, done) = mpsc::channel();
        thread::Builder::new()
            .name("tidegate-output".into())
            .spawn(move || {
                loop {
                    match events.blocking_recv() {
                        Ok(event) if is_kept && matches!(*event, JobEvent::Progress { .. }) => {}
                        Ok(event) => {
                            printer.print(&event);
                            if matches!(*event, JobEvent::Ended { .. }) {
                                break;
                            }
                        }
                        // Whoever reads our output is slow; the newest events matter most.
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => break,
                    }
                }
                // The main thread may have given up waiting.
                let _ = finished.send(printer.into_failure());
            })?;
        Ok(Self { done })
    }

    /// Waits until the end of the job is printed, but not for ever. Gives why programs that read
    /// what happens miss some of it, if they do.
    pub(crate) fn finish(self) -> Option<io::Error> {
        // Printing that takes longer is given up, whatever would have come of it.
        self.done.recv_timeout(LAST_LINES_LIMIT).unwrap_or_default()
    }
}

impl Printer {
    fn print(&mut self, event: &JobEvent) {
        match self {
            Self::Text(printer) => printer.print(event),
            Self::Json(printer) => printer.print(event),
        }
    }

    fn into_failure(self) -> Option<io::Error> {
        match self {
            // There is nobody to tell that standard error is gone.
            Self::Text(_) => None,
            Self::Json(printer) => printer.into_failure(),
        }
    }
}
