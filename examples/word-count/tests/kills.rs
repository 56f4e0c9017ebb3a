//! The promise of the README: killed at any moment and started again, the counts are exact, byte
//! for byte those of `tr`, `sort` and `uniq`.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/kjv.txt");
/// Runs that are killed.
const KILL_COUNT: u32 = 100;
/// Lines a second: a whole run takes some seconds, in which it is killed many times.
const RATE: &str = "20000";
/// What a run says of its start.
const WITHOUT_STATE: &str = "starts without state";
const GOES_ON: &str = "goes on from checkpoint";

/// Numbers that look random, the same in every run of the test (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What programs that know nothing of us count.
fn independent_count() -> String {
    let script = "tr -cs A-Za-z '\\n' < \"$0\" | tr A-Z a-z | sort | uniq -c | \
                  sed 's/^ *//' | sort";
    let output = Command::new("sh")
        .args(["-c", script, TEXT])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// What the job has committed, sorted, in one text.
fn result(folder: &Path) -> String {
    let script = "find \"$0\" -name '*.txt' -print0 | xargs -0 cat | sort";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(folder)
        .env("LC_ALL", "C")
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

fn start(folder: &Path, parallelism: u64, rate: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_word-count"));
    command.args(["--state-dir", "state", "--output", "result", "--rate", rate]);
    command.args(["--checkpoint-interval-ms", "30"]);
    command.args(["--parallelism", &parallelism.to_string()]);
    command
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Runs to the end and gives what was said.
fn finish(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

/// What the next run is to say of its start, by the files that stand in the checkpoint log.
fn to_say_of_start(folder: &Path) -> &'static str {
    let script = "cat state/default/word-count/log/*.json 2>/dev/null";
    let mut command = Command::new("sh");
    let command = command.args(["-c", script]).current_dir(folder);
    let log = String::from_utf8(command.output().unwrap().stdout).unwrap();
    if log.contains("\"checkpoint\":{") {
        GOES_ON
    } else {
        WITHOUT_STATE
    }
}

/// Whether a run has said what it starts from.
fn is_started(said: &str) -> bool {
    said.contains(WITHOUT_STATE) || said.contains(GOES_ON)
}

/// Reads what a run says of its start; it says little more, which waits in the pipe meanwhile.
fn await_start(stderr: &mut BufReader<ChildStderr>) -> String {
    let mut said = String::new();
    while !is_started(&said) && stderr.read_line(&mut said).unwrap() > 0 {}
    said
}

#[test]
fn a_hundred_kills_at_changing_parallelism_leave_the_exact_count() {
    let expected = independent_count();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut folder = TempDir::new().unwrap();
    let (mut kill_count, mut went_on_count) = (0, 0);
    while kill_count < KILL_COUNT {
        let to_say = to_say_of_start(folder.path());
        let mut child = start(folder.path(), 1 + random.below(4), RATE);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        // Every second one may be killed while it starts, however long that takes, and the others
        // are at work.
        if kill_count % 2 == 0 {
            said = await_start(&mut stderr);
        }
        thread::sleep(Duration::from_millis(20 + random.below(400)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        if status.signal().is_none() {
            assert!(status.success(), "{said}");
            assert!(
                result(&folder.path().join("result")) == expected,
                "after {kill_count} kills"
            );
            folder = TempDir::new().unwrap();
            continue;
        }
        kill_count += 1;
        if is_started(&said) {
            assert!(said.contains(to_say), "not `{to_say}`: {said}");
            went_on_count += u32::from(to_say == GOES_ON);
        }
    }
    assert!(went_on_count > 0, "no run was killed that went on");
    let to_say = to_say_of_start(folder.path());
    let said = finish(start(folder.path(), 2, "0"));
    assert!(said.contains(to_say), "not `{to_say}`: {said}");
    assert!(
        result(&folder.path().join("result")) == expected,
        "after the last kill"
    );
}

#[test]
fn a_finished_job_says_so_and_how_to_run_it_afresh() {
    let folder = TempDir::new().unwrap();
    let said = finish(start(folder.path(), 2, "0"));
    assert!(said.contains("the result of `result` is in"), "{said}");
    let first = result(&folder.path().join("result"));
    let said = finish(start(folder.path(), 2, "0"));
    assert!(said.contains("has finished before"), "{said}");
    assert!(said.contains("--start-from Empty"), "{said}");
    assert!(result(&folder.path().join("result")) == first);
}

#[test]
fn a_text_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_word-count"));
    let command = command
        .args(["--input", "missing.txt"])
        .current_dir(folder.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no file matches `missing.txt`"), "{said}");
}
