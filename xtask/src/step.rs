//! Running other programs, one visible step after another.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Why a chore failed: one message for the person who ran it.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Prints a failure where a person sees it.
pub fn report(failure: &Failure) {
    eprintln!("xtask: {failure}");
}

/// The folder that holds the workspace's `Cargo.toml`.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent()
        .expect("xtask lies in the workspace's folder")
        .to_path_buf()
}

/// `cargo` with these arguments, in the workspace's folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root()).args(arguments);
    command
}

/// Runs a command that shows its own output, and says on stderr what runs and how long it took.
///
/// # Errors
/// When it cannot be started or does not succeed; `advice` says what to do then.
pub(crate) fn run(name: &str, mut command: Command, advice: &str) -> Result<(), Failure> {
    eprintln!("xtask: {name} …");
    let start = Instant::now();
    let status = command.status().map_err(|e| cannot_start(&command, &e))?;
    if !status.success() {
        return Err(Failure::new(format!("{name} failed ({status}); {advice}")));
    }
    eprintln!("xtask: {name} took {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command and returns its standard output.
///
/// # Errors
/// When it cannot be started, does not succeed, or prints what is not UTF-8.
pub(crate) fn output(mut command: Command) -> Result<String, Failure> {
    let output = command.output().map_err(|e| cannot_start(&command, &e))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("{command:?} failed:\n{errors}")));
    }
    let text = String::from_utf8(output.stdout);
    text.map_err(|_| Failure::new(format!("{command:?} printed what is not UTF-8")))
}

pub(crate) fn cannot_start(command: &Command, error: &std::io::Error) -> Failure {
    let program = command.get_program().to_string_lossy();
    Failure::new(format!("cannot run {program}: {error}; is it installed?"))
}

/// Refuses arguments other than these flags.
pub(crate) fn flags(arguments: &[String], known: &[&str]) -> Result<(), Failure> {
    let is_known = |argument: &&String| known.contains(&argument.as_str());
    match arguments.iter().find(|argument| !is_known(argument)) {
        None => Ok(()),
        Some(unknown) if known.is_empty() => Err(Failure::new(format!(
            "unknown argument `{unknown}`: this chore takes none"
        ))),
        Some(unknown) => {
            let known = known.join(" ");
            Err(Failure::new(format!(
                "unknown argument `{unknown}`; this chore knows {known}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_flag_is_refused_by_name() {
        let arguments = ["--chek".to_string()];
        let failure = flags(&arguments, &["--check"]).unwrap_err().to_string();
        assert!(failure.contains("--chek") && failure.contains("--check"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure = output(Command::new("no-such-program"))
            .unwrap_err()
            .to_string();
        assert!(failure.contains("no-such-program"));
    }
}
