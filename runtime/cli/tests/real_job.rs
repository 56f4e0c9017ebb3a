//! `tidegate run` with a real job: stopped, continued, rescaled, killed, and looked at.
//!
//! Each test starts this very binary as the job's process, by [`job_process`].

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod harness;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use harness::{MANIFEST, output, stderr, stdout, tidegate};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tidegate::Exit;
use tidegate::connectors::{Discard, Generator};
use tidegate::engine::SourceOutput;
use tidegate::job_config::{JOB_CONFIG_ENV, JobConfig};
use tidegate::prelude::*;

const RECORD_COUNT: u64 = 200_000;
const KEY_COUNT: u64 = 100;
/// Records a second of a run that its test ends: all of them would take a minute and a half.
const RATE: u64 = 2_000;
/// The variable with the job's rate, in records a second.
const RATE_ENV: &str = "RATE";

#[derive(Clone)]
struct Count;

impl KeyedProcess for Count {
    type Key = u64;
    type Input = u64;
    type Output = u64;
    type State = ValueState<u64>;

    fn process(
        &mut self,
        _: u64,
        context: &mut KeyedContext<'_, u64, ValueState<u64>>,
        _: &mut Output<u64>,
    ) -> Result<()> {
        context.state.update(|count| *count += 1);
        Ok(())
    }
}

fn build(pipeline: &mut Pipeline) {
    let rate = std::env::var(RATE_ENV).unwrap().parse().unwrap();
    let numbers = Generator::new(|index, output: &mut SourceOutput<u64>| output.push(index));
    pipeline
        .source("numbers", numbers.with_count(RECORD_COUNT).with_rate(rate))
        .key_by::<u64>(|number: u64| number % KEY_COUNT)
        .process("count", Count)
        .sink("nowhere", Discard::new());
}

/// No test, but the job's process itself, which tests start.
#[test]
#[ignore = "started by other tests"]
fn job_process() {
    let config = std::fs::read_to_string(std::env::var(JOB_CONFIG_ENV).unwrap()).unwrap();
    let config = JobConfig::from_json(&config).unwrap();
    let mut pipeline = Pipeline::new();
    build(&mut pipeline);
    let outcome = tidegate::run_job(&config, pipeline.build().unwrap()).unwrap();
    std::process::exit(Exit::of_outcome(&outcome) as i32);
}

/// A folder with the job's manifest.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = MANIFEST
        .replace("args: [--input, text]", "args: []")
        .replace(
            "parallelism: 2",
            "parallelism: 2\n  checkpoint: {intervalMilliseconds: 50}",
        );
    std::fs::write(folder.path().join("job.yaml"), manifest).unwrap();
    folder
}

/// `tidegate run` of this binary, told as JSON.
fn run(folder: &Path, rate: u64, more: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let own = ["run", "job.yaml", "--json", "--program", program];
    let test = ["--", "job_process", "--exact", "--ignored", "--nocapture"];
    let mut command = tidegate(folder, &[&own[..], more, &test[..]].concat());
    command
        .env(RATE_ENV, rate.to_string())
        .stdout(Stdio::piped());
    command
}

/// The next event of a name; what the test's own frame prints is passed over.
fn wait_for(lines: &mut BufReader<ChildStdout>, event: &str) -> Value {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        let length = lines.read_line(&mut line).unwrap();
        assert!(length > 0, "the job ended without {event}; it told\n{seen}");
        seen += &line;
        match serde_json::from_str::<Value>(&line) {
            Ok(document) if document["event"] == event => return document,
            _ => {}
        }
    }
}

fn start(folder: &Path, rate: u64) -> (Child, BufReader<ChildStdout>) {
    let mut child = run(folder, rate, &[]).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn json_of(folder: &Path, arguments: &[&str]) -> Value {
    let output = output(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

fn newest(folder: &Path) -> Value {
    let list = json_of(folder, &["checkpoints", "list", "tidegate-data", "--json"]);
    list["checkpoints"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone()
}

/// Runs the job to its end at another parallelism, and checks that every record was counted once.
fn finish_and_check(folder: &Path, parallelism: u32) {
    let set = format!("spec.parallelism={parallelism}");
    let output = run(folder, 100_000_000, &["--set", &set]).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    let newest = newest(folder);
    assert_eq!(newest["isFinal"], true);
    assert_eq!(newest["parallelism"], parallelism);
    let dump = json_of(folder, &["state", "dump", "tidegate-data", "--json"]);
    let rows = dump["rows"].as_array().unwrap();
    assert_eq!(rows.len() as u64, KEY_COUNT);
    for row in rows {
        assert_eq!(row["state"]["value"], RECORD_COUNT / KEY_COUNT, "{row}");
    }
    let verified = json_of(
        folder,
        &["checkpoints", "verify", "tidegate-data", "--json"],
    );
    assert_eq!(verified["isWhole"], true, "{verified:#}");
}

#[test]
fn an_interrupted_job_takes_a_savepoint_and_the_next_run_goes_on_from_it() {
    let folder = folder();
    let (mut child, mut lines) = start(folder.path(), RATE);
    wait_for(&mut lines, "checkpointCompleted");
    send(&child, Signal::INT);
    let ended = wait_for(&mut lines, "ended");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let savepoint = newest(folder.path());
    assert_eq!(savepoint["kind"], "Savepoint");
    assert_eq!(savepoint["id"], ended["checkpoint"]);
    finish_and_check(folder.path(), 3);
}

#[test]
fn a_job_is_killed_with_tidegate_run_and_the_next_run_goes_on_from_its_checkpoint() {
    let folder = folder();
    let (mut child, mut lines) = start(folder.path(), RATE);
    wait_for(&mut lines, "checkpointCompleted");
    send(&child, Signal::KILL);
    child.wait().unwrap();
    // The job holds the other end of the pipe for as long as it lives.
    let rest: Vec<_> = lines.lines().collect();
    assert!(
        !rest
            .iter()
            .flatten()
            .any(|line| line.contains("\"event\":\"ended\"")),
        "{rest:?}"
    );
    finish_and_check(folder.path(), 1);
}

/// Waits for the job that is fenced to end.
fn ends_fenced(child: &mut Child, lines: BufReader<ChildStdout>) {
    let rest: Vec<_> = lines.lines().map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{rest:#?}");
}

#[test]
fn a_release_beside_a_running_job_fences_it_and_the_next_run_goes_on_exactly_once() {
    let folder = folder();
    // Enough are kept that those to be released do not go by themselves meanwhile.
    let manifest = folder.path().join("job.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let keeps_all = text.replace("checkpoint: {", "checkpoint: {retention: {count: 1000}, ");
    assert_ne!(keeps_all, text);
    std::fs::write(manifest, keeps_all).unwrap();
    let (mut child, mut lines) = start(folder.path(), RATE);
    for _ in 0..3 {
        wait_for(&mut lines, "checkpointCompleted");
    }
    let list = json_of(
        folder.path(),
        &["checkpoints", "list", "tidegate-data", "--json"],
    );
    let id = list["checkpoints"][0]["id"].to_string();
    let release = ["checkpoints", "release", "tidegate-data", &id, "--json"];
    let released = json_of(folder.path(), &release);
    assert_eq!(released["isReleasedNow"], true);
    ends_fenced(&mut child, lines);
    // And the one that the next run would go on from.
    let newest = newest(folder.path())["id"].to_string();
    let release = ["checkpoints", "release", "tidegate-data", &newest, "--json"];
    let released = json_of(folder.path(), &release);
    assert_eq!(released["isReleasedNow"], true);
    finish_and_check(folder.path(), 3);
}

#[test]
fn a_running_job_is_fenced_by_a_purge_and_nothing_of_it_is_left() {
    let folder = folder();
    let (mut child, mut lines) = start(folder.path(), RATE);
    wait_for(&mut lines, "checkpointCompleted");
    let job = json_of(
        folder.path(),
        &["checkpoints", "list", "tidegate-data", "--json"],
    );
    let url = job["folder"].as_str().unwrap();
    json_of(folder.path(), &["checkpoints", "purge", url, "--json"]);
    ends_fenced(&mut child, lines);
    // What its writers had under way when it was fenced goes with a second purge.
    json_of(folder.path(), &["checkpoints", "purge", url, "--json"]);
    assert!(
        !folder
            .path()
            .join("tidegate-data/default/word-count")
            .exists()
    );
    finish_and_check(folder.path(), 2);
}

/// A killed job with three checkpoints, as `list` tells them, the oldest of which is broken.
fn killed(break_it: fn(&Path)) -> (TempDir, Vec<Value>) {
    let folder = folder();
    let (mut child, mut lines) = start(folder.path(), RATE);
    for _ in 0..4 {
        wait_for(&mut lines, "checkpointCompleted");
    }
    send(&child, Signal::KILL);
    child.wait().unwrap();
    // The job holds the other end of the pipe for as long as it lives.
    lines.lines().for_each(drop);
    let list = ["checkpoints", "list", "tidegate-data", "--json"];
    let list = json_of(folder.path(), &list);
    let checkpoints = list["checkpoints"].as_array().unwrap().clone();
    assert_eq!(checkpoints.len(), 3, "{list:#}");
    let number = checkpoints[0]["logNumber"].as_u64().unwrap();
    let log = folder.path().join("tidegate-data/default/word-count/log");
    break_it(&log.join(format!("{number:020}.json")));
    (folder, checkpoints)
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[rstest]
#[case::damaged_and_latest(flip, "Latest")]
#[case::damaged_and_by_name(flip, "NAME")]
#[case::damaged_and_by_folder(flip, "FOLDER")]
#[case::damaged_and_empty(flip, "Empty")]
#[case::missing_and_latest(remove, "Latest")]
#[case::missing_and_by_name(remove, "NAME")]
fn a_job_starts_beside_a_damaged_old_checkpoint_and_loses_nothing(
    #[case] break_it: fn(&Path),
    #[case] start_from: &str,
) {
    let (folder, checkpoints) = killed(break_it);
    let middle = &checkpoints[1];
    let start_from = match start_from {
        "NAME" => format!("word-count-{}", middle["id"]),
        "FOLDER" => middle["startFrom"].as_str().unwrap().to_owned(),
        other => other.to_owned(),
    };
    let more = ["--start-from", &start_from];
    let output = run(folder.path(), 100_000_000, &more).output().unwrap();
    let text = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let name = format!("entry-{}", checkpoints[0]["logNumber"]);
    assert!(
        text.contains("a retained checkpoint cannot be read"),
        "{text}"
    );
    // It is kept beside the newer ones until it is given up.
    let release = ["checkpoints", "release", "tidegate-data", &name, "--json"];
    assert_eq!(json_of(folder.path(), &release)["isReleasedNow"], true);
    finish_and_check(folder.path(), 2);
}

#[test]
fn the_damaged_checkpoint_itself_is_refused_by_name() {
    let (folder, checkpoints) = killed(flip);
    let oldest = format!("word-count-{}", checkpoints[0]["id"]);
    let more = ["--start-from", &oldest];
    let mut child = run(folder.path(), 100_000_000, &more);
    let output = child.output().unwrap();
    assert_ne!(output.status.code(), Some(0));
    let text = stdout(&output) + &stderr(&output);
    let name = format!(
        "`entry-{}` of its log may be it",
        checkpoints[0]["logNumber"]
    );
    assert!(text.contains(&name), "{text}");
    assert!(text.contains("(retained are "), "{text}");
}
