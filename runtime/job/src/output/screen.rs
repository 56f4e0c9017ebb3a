//! Standard error as several writers share it: sentences, log lines, and one line that is redrawn.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing_subscriber::fmt::MakeWriter;

/// Returns to the line's begin and clears it.
const CLEAR_LINE: &str = "\r\x1b[2K";
/// Has the terminal cut what is too long for it; in a second row it could not be cleared.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// How long those wait whom a standard error that nobody reads must not hold up.
const MOMENT: Duration = Duration::from_millis(200);

/// Standard error.
pub(crate) struct Screen {
    /// Whether a person watches, so that one line may be redrawn in place.
    is_terminal: bool,
    state: Mutex<State>,
}

struct State {
    writer: Box<dyn Write + Send>,
    /// What stands on the line that is redrawn; empty where there is none.
    status: String,
}

impl Screen {
    pub(crate) fn stderr(is_terminal: bool) -> Arc<Self> {
        Arc::new(Self::new(is_terminal, Box::new(io::stderr())))
    }

    pub(super) fn new(is_terminal: bool, writer: Box<dyn Write + Send>) -> Self {
        Self {
            is_terminal,
            state: Mutex::new(State {
                writer,
                status: String::new(),
            }),
        }
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Prints whole lines above the one that is redrawn.
    pub(crate) fn print(&self, text: &str) {
        let mut state = self.lock();
        let clear = if state.status.is_empty() {
            ""
        } else {
            CLEAR_LINE
        };
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let shown = format!("{clear}{text}{end}{}", unwrapped(&state.status));
        // There is nobody to tell that standard error is gone.
        let _ = state.writer.write_all(shown.as_bytes());
        let _ = state.writer.flush();
    }

    /// The same, but waits no longer than a moment for it: standard error may be a full pipe that
    /// nobody reads.
    pub(crate) async fn print_within_a_moment(self: &Arc<Self>, text: String) {
        let (printed, is_printed) = oneshot::channel();
        let screen = Arc::clone(self);
        let printing = thread::Builder::new().name("tidegate-print".into());
        let printing = printing.spawn(move || {
            screen.print(&text);
            let _ = printed.send(());
        });
        // Without a thread nothing is printed, and there is nobody to tell.
        if printing.is_ok() {
            let _ = tokio::time::timeout(MOMENT, is_printed).await;
        }
    }

    /// Redraws the last line; empty text removes it. Only for terminals.
    pub(crate) fn set_status(&self, text: String) {
        let mut state = self.lock();
        let shown = format!("{CLEAR_LINE}{}", unwrapped(&text));
        let _ = state.writer.write_all(shown.as_bytes());
        let _ = state.writer.flush();
        state.status = text;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Both fields are whole whatever panicked beside them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unwrapped(status: &str) -> String {
    match status {
        "" => String::new(),
        status => format!("{NO_WRAP}{status}{WRAP}"),
    }
}

/// Log lines by way of the screen.
#[derive(Clone)]
pub(crate) struct LogWriter(pub(crate) Arc<Screen>);

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.print(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
