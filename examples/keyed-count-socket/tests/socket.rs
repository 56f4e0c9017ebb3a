//! The program against a real socket.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use tempfile::TempDir;

/// Two that nobody can parse, and one that is no text.
const LINES: &[u8] = b"a,1\nb,10\nnonsense\na,2\nb,many\n\xff\xfe,3\na,-4\n";
const COUNTED: [&str; 4] = [
    r#"{"key":"a","count":1,"sum":1}"#,
    r#"{"key":"b","count":1,"sum":10}"#,
    r#"{"key":"a","count":2,"sum":3}"#,
    r#"{"key":"a","count":3,"sum":-1}"#,
];

/// Only one is bad, and it is no text: a line that nobody can parse would end the job as well, and
/// which of two is met first is not settled.
const ONE_BAD_LINE: &[u8] = b"a,1\nb,10\n\xff\xfe,3\na,-4\n";

/// Runs the program against a server that sends the lines and closes.
fn run(folder: &Path, bad_lines: &str, lines: &'static [u8]) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Waits in `accept` for ever should the program never connect; the test then fails without it.
    thread::spawn(move || listener.accept().unwrap().0.write_all(lines).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyed-count-socket"));
    command.args(["--socket", &address, "--bad-lines", bad_lines]);
    command.current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn each_line_is_counted_by_its_key_and_bad_ones_are_skipped() {
    let folder = TempDir::new().unwrap();
    let output = run(folder.path(), "skip", LINES);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(printed, COUNTED);
    assert!(
        said.contains("warning: source `lines` cannot be read again"),
        "{said}"
    );
    assert!(said.contains("records read | skipped 3\n"), "{said}");
}

#[test]
fn bad_lines_go_to_the_file_that_is_named() {
    let folder = TempDir::new().unwrap();
    let output = run(folder.path(), "bad.jsonl", LINES);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(printed, COUNTED);
    let letters = fs::read_to_string(folder.path().join("bad.jsonl")).unwrap();
    assert_eq!(letters.lines().count(), 3, "{letters}");
    assert!(
        letters.contains("nonsense") && letters.contains("no comma"),
        "{letters}"
    );
}

#[test]
fn under_fail_the_job_ends_and_names_the_line() {
    let folder = TempDir::new().unwrap();
    let output = run(folder.path(), "fail", ONE_BAD_LINE);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("line 3: the text is no UTF-8"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyed-count-socket"));
    command
        .args(["--socket", "127.0.0.1:1"])
        .current_dir(folder.path());
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("127.0.0.1:1") && said.contains("nc -lk"),
        "{said}"
    );
}
