//! Runs the `tidegate` binary as a user does.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod folder;
pub mod golden;

use std::os::unix::fs::PermissionsExt;
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

/// Writes a program of a shell's lines.
pub fn script(path: &Path, lines: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}
