//! `tidegate run` with small programs that stand for a job process.

#![allow(clippy::unwrap_used)]

mod harness;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use harness::{MANIFEST, output, script, stderr, stdout, tidegate};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a manifest and its program, which is a shell's lines.
fn job(lines: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.yaml"), MANIFEST).unwrap();
    script(&folder.path().join("word-count"), lines);
    folder
}

/// Starts a job and waits until it prints that it is ready.
fn start(folder: &Path, more: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let arguments: Vec<&str> = ["run", "job.yaml"]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    let mut child = tidegate(folder, &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, lines)
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn rest(mut lines: impl Read) -> String {
    let mut text = String::new();
    lines.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_program_gets_its_settings_arguments_and_environment() {
    let folder = job("cat \"$TIDEGATE_JOB_CONFIG\"; echo; echo \"$GREETING\" \"$@\"");
    let output = output(
        folder.path(),
        &["run", "job.yaml", "--listen", "127.0.0.1:0", "--", "-x"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let (config, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(last, "hello --input text -x");
    let config: Value = serde_json::from_str(config).unwrap();
    assert_eq!(config["name"], "word-count");
    assert_eq!(config["parallelism"], 2);
    assert_eq!(config["listenAddress"], "127.0.0.1:0");
    assert_eq!(config["output"]["format"], "Text");
    assert!(config["parentProcessId"].is_u64());
    let state = folder.path().canonicalize().unwrap().join("tidegate-data");
    assert_eq!(config["storage"]["url"], state.to_str().unwrap());
}

#[test]
fn an_option_says_where_to_start_from() {
    let folder = job("cat \"$TIDEGATE_JOB_CONFIG\"");
    let start_from = "s3://bucket/default/other?region=eu#4";
    let output = output(
        folder.path(),
        &["run", "job.yaml", "--start-from", start_from],
    );
    let config: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        config["startFrom"]["folder"],
        "s3://bucket/default/other?region=eu"
    );
    assert_eq!(config["startFrom"]["checkpointId"], 4);
}

#[test]
fn the_settings_are_gone_when_the_job_is_over() {
    let folder = job("echo \"$TIDEGATE_JOB_CONFIG\"");
    let path = stdout(&output(folder.path(), &["run", "job.yaml"]));
    assert!(path.ends_with(".json\n"), "{path}");
    assert!(!Path::new(path.trim_end()).exists(), "{path}");
}

#[test]
fn a_supervision_that_is_meant_for_pods_is_kept_from_the_job() {
    let folder = job("echo \"${TIDEGATE_SUPERVISE-not set}\"");
    let mut command = tidegate(folder.path(), &["run", "job.yaml"]);
    let output = command.env("TIDEGATE_SUPERVISE", "1").output().unwrap();
    assert_eq!(stdout(&output), "not set\n", "{}", stderr(&output));
}

#[test]
fn the_exit_code_passes_through() {
    let folder = job("exit 7");
    assert_eq!(
        output(folder.path(), &["run", "job.yaml"]).status.code(),
        Some(7)
    );
}

#[test]
fn a_job_that_was_killed_is_told_with_where_its_checkpoints_are() {
    let folder = job("kill -9 $$");
    let output = output(folder.path(), &["run", "job.yaml", "--state-dir", "state"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(137), "{text}");
    assert!(
        text.contains("the job process was ended by signal 9; run it again"),
        "{text}"
    );
    assert!(text.contains("state/default/word-count"), "{text}");
}

#[test]
fn the_first_interrupt_reaches_the_job_once_and_lets_it_end() {
    let folder = job("trap 'echo savepoint; exit 0' INT\necho ready\nwhile :; do sleep 0.05; done");
    let (mut child, lines) = start(folder.path(), &[]);
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(rest(lines), "savepoint\n");
}

#[test]
fn a_termination_passes_through() {
    let folder = job("trap 'exit 5' TERM\necho ready\nwhile :; do sleep 0.05; done");
    let (mut child, _lines) = start(folder.path(), &[]);
    send(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn a_second_interrupt_ends_a_job_that_does_not_listen() {
    let folder = job("trap 'echo heard' INT TERM\necho ready\nwhile :; do sleep 0.05; done");
    let (mut child, mut lines) = start(folder.path(), &[]);
    send(&child, Signal::INT);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "heard\n");
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

#[test]
fn programs_are_told_the_last_lines_of_error_as_json() {
    let folder = job("echo '{\"event\":\"started\"}'\necho one >&2\necho two >&2\nexit 3");
    let output = output(folder.path(), &["run", "job.yaml", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stderr(&output), "one\ntwo\n");
    let text = stdout(&output);
    let documents: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = serde_json::json!({
        "event": "processEnded", "exitCode": 3, "signal": null, "lastErrorLines": ["one", "two"],
    });
    assert_eq!(
        documents,
        [serde_json::json!({"event": "started"}), expected]
    );
}

#[test]
fn a_program_that_cannot_be_started_is_told() {
    let folder = job("");
    std::fs::write(folder.path().join("word-count"), "#!/no/such/shell\n").unwrap();
    let output = output(folder.path(), &["run", "job.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("word-count cannot be started: No such file"),
        "{text}"
    );
}
