//! Running programs to their end, with what they printed in the error.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use super::{Error, Result};

/// Runs a program to its end with `input` on its standard input; its success is the caller's
/// to judge.
pub(crate) fn run(command: &mut Command, input: Option<&[u8]>) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| Error::Run {
        program: program.clone(),
        source,
    };
    command.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    thread::scope(|scope| {
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), input) {
            // One that does not read its input to the end says so by its exit status.
            scope.spawn(move || drop(pipe.write_all(bytes)));
        }
        child.wait_with_output().map_err(failed)
    })
}

/// Runs a program that must succeed.
pub(crate) fn output(command: &mut Command, input: Option<&[u8]>) -> Result<Output> {
    let output = run(command, input)?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Error::Command {
        command: shown(command),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_string(),
    })
}

/// Runs `line`, split at spaces.
pub(crate) fn line(line: &str) -> Result<Output> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    output(command.args(words), None)
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let arguments = command.get_args().map(|a| a.to_string_lossy());
    let mut words = vec![name];
    words.extend(arguments);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_larger_than_a_pipe_comes_back() {
        let input = vec![b'x'; 1 << 20];
        let answer = output(&mut Command::new("cat"), Some(&input)).unwrap();
        assert_eq!(answer.stdout, input);
    }

    #[test]
    fn a_failure_shows_the_command_and_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such thing >&2; exit 3"]);
        let message = output(&mut command, None).unwrap_err().to_string();
        assert!(message.contains("sh -c") && message.contains("no such thing"));
        assert!(message.contains('3'));
    }
}
