//! Runs the `tidegate` binary as a user does.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod folder;
pub mod golden;

use std::path::Path;
use std::process::{Command, Output};

pub const MANIFEST: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata:
  name: word-count
spec:
  program:
    image: registry.example/team/word-count:1.0
    args: [--input, text]
    env:
      - {name: GREETING, value: hello}
  parallelism: 2
";

/// The command with these arguments, in a folder, with nothing of Tidegate's in its environment.
pub fn tidegate(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).current_dir(folder);
    command
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("TIDEGATE_JOB_CONFIG");
    command
}

/// What the command printed and its exit code.
pub fn output(folder: &Path, arguments: &[&str]) -> Output {
    tidegate(folder, arguments).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A run as a text for a golden file, the folder's name replaced.
pub fn transcript(folder: &Path, arguments: &[&str]) -> String {
    let output = output(folder, arguments);
    let folder = folder.display().to_string();
    let text = format!(
        "$ tidegate {}\nexit code {}\n--- standard output\n{}--- standard error\n{}",
        arguments.join(" "),
        output.status.code().unwrap_or(-1),
        stdout(&output),
        stderr(&output),
    );
    text.replace(&folder, "FOLDER")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

/// Makes a program of a shell's lines.
///
/// Another process writes the file: what this one has open to write, a child that a test beside
/// forks meanwhile has open as well, and the system runs no file that somebody writes (ETXTBSY).
pub fn script(path: &Path, lines: &str) {
    let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
    let mut command = Command::new("sh");
    let status = command.args(["-c", write]).arg(path).arg(lines).status();
    assert!(status.unwrap().success());
}
