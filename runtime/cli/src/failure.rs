//! Why a command failed, and the exit code that says so.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;

/// The command did not do what it was asked to, or found damage.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line or the manifest is wrong; trying again changes nothing.
pub(crate) const EXIT_INVALID: u8 = 2;

/// Why a command failed: one message or several, and an exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) messages: Vec<String>,
    pub(crate) exit_code: u8,
}

impl Failure {
    /// The user's input is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            messages: vec![message.into()],
            exit_code: EXIT_INVALID,
        }
    }

    /// The command could not do its work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            messages: vec![message.into()],
            exit_code: EXIT_FAILED,
        }
    }

    /// Tells it, for people on standard error and for programs on standard output as well.
    pub(crate) fn report(&self, is_json: bool) -> ExitCode {
        for message in &self.messages {
            // There is nobody to tell that standard error is gone.
            let _ = writeln!(io::stderr(), "error: {message}");
        }
        if is_json {
            print(&format!(
                "{}\n",
                json!({"event": "error", "messages": self.messages})
            ));
        }
        ExitCode::from(self.exit_code)
    }
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Prints to standard output. A reader that has seen enough, as in `| head`, is no error.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}
