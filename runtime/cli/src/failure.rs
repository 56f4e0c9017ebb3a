//! Why a command failed, and the exit code that says so.

use std::io::{self, Write};
use std::process::ExitCode;
use std::{env, fs};

use serde_json::json;

/// The command did not do what it was asked to, or found damage.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line or the manifest is wrong; trying again changes nothing.
pub(crate) const EXIT_INVALID: u8 = 2;

/// Names the file that takes the errors as well.
const TERMINATION_MESSAGE_ENV: &str = "TIDEGATE_TERMINATION_MESSAGE";
/// As much as Kubernetes reads of such a file.
const TERMINATION_MESSAGE_LIMIT_BYTES: usize = 4096;

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

    /// Tells it, for people on standard error and for programs on standard output as well; and in
    /// the file that the environment names, which Kubernetes shows of a pod that has ended.
    pub(crate) fn report(&self, is_json: bool) -> ExitCode {
        let mut text = String::new();
        for message in &self.messages {
            text += &format!("error: {message}\n");
        }
        // There is nobody to tell that standard error is gone.
        let _ = io::stderr().write_all(text.as_bytes());
        if let Some(path) = env::var_os(TERMINATION_MESSAGE_ENV) {
            let shown = text.floor_char_boundary(TERMINATION_MESSAGE_LIMIT_BYTES);
            if let Err(error) = fs::write(&path, &text[..shown]) {
                let path = path.display();
                let _ = writeln!(io::stderr(), "error: cannot write {path}: {error}");
            }
        }
        if is_json {
            let document = json!({"event": "error", "messages": self.messages});
            if let Err(failure) = print(&format!("{document}\n")) {
                let _ = writeln!(io::stderr(), "error: {}", failure.messages.join(": "));
            }
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
///
/// # Errors
/// Standard output cannot be written: what was asked for is not there, or cut off.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "standard output cannot be written: {error}; the output is cut off: free space where \
             it goes, or send it elsewhere"
        ))),
        _ => Ok(()),
    }
}
