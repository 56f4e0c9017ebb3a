//! The program killed at any moment, its state and its results in a bucket behind a network that
//! fails: what can be seen there is whole at any time, and exact in the end.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_testkit::{Counts, FaultPlan, FaultProxy, Random, S3Flavour, S3Server};

const BUCKET: &str = "tidegate";
const RESULTS: &str = "s3://tidegate/results";
const RECORDS: u64 = 60_000;
const KILLS: usize = 10;
/// Records a second in a run that is killed: all of them last two minutes, so that none comes to
/// its end before.
const KILLED_RATE: &str = "500";
/// Of a thousand requests, so many meet each kind of fault.
const FAULTS_PER_MILLE: u64 = 10;
/// The longest that a whole run may take.
const LIMIT: Duration = Duration::from_secs(120);

struct Fixture {
    server: S3Server,
    folder: TempDir,
}

impl Fixture {
    fn new(flavour: S3Flavour) -> Self {
        let server = S3Server::start(flavour).unwrap();
        server.create_bucket(BUCKET).unwrap();
        Self {
            server,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("AWS_ACCESS_KEY_ID", self.server.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.server.secret_key())
            .env_remove("AWS_ENDPOINT_URL");
        command
    }

    /// The settings of a job as the operator gives them: only its storage says which server.
    fn config(&self, endpoint: &str, parallelism: u64) -> PathBuf {
        let region = self.server.region();
        let config = format!(
            r#"{{"version": 1, "namespace": "default", "name": "counting",
            "parallelism": {parallelism}, "maxParallelism": 16,
            "checkpoint": {{"intervalMs": 50, "timeoutMs": 60000, "mode": "Aligned",
                "retainedCount": 2}},
            "storage": {{"url": "s3://{BUCKET}/jobs", "endpoint": "{endpoint}",
                "region": "{region}"}},
            "startFrom": {{"kind": "Latest"}},
            "restart": {{"initialDelayMs": 10, "maxDelayMs": 1000, "attempts": 20,
                "resetAfterMs": 60000}},
            "logLevel": "Warn", "output": {{"format": "Json", "isTerminal": false}}}}"#
        );
        let path = self.folder.path().join("job.json");
        std::fs::write(&path, config).unwrap();
        path
    }

    fn start(&self, endpoint: &str, parallelism: u64, arguments: &[&str]) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_job-under-test"));
        command
            .env("TIDEGATE_JOB_CONFIG", self.config(endpoint, parallelism))
            .args(["--output", RESULTS, "--keys", "50", "--count"])
            .arg(RECORDS.to_string())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// What the program that prints results says.
    fn results(&self, arguments: &[&str]) -> String {
        let mut command = self.command(env!("CARGO_BIN_EXE_results"));
        let endpoint = self.server.endpoint();
        let output = command
            .args(arguments)
            .arg(format!("{RESULTS}?endpoint={endpoint}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Looks at the bucket again and again: what is there is whole, and stays as it is.
fn watch(fixture: &Fixture, stop: &AtomicBool) {
    let mut sizes: HashMap<String, String> = HashMap::new();
    while !stop.load(Ordering::SeqCst) {
        for line in fixture.results(&["--files"]).lines() {
            let (size, name) = line.split_once(' ').unwrap();
            let first = sizes
                .entry(name.to_owned())
                .or_insert_with(|| size.to_owned());
            assert_eq!(first, size, "`{name}` has changed");
        }
        let mut counts = Counts::new(50, 0);
        counts.add(&fixture.results(&[])).unwrap();
    }
}

/// Waits until the job has completed so many checkpoints.
fn await_checkpoints(child: &mut Child, count: u64) {
    let (sender, completed) = mpsc::channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains("\"checkpointCompleted\"") {
                let _ = sender.send(());
            }
        }
    });
    for _ in 0..count {
        completed.recv_timeout(LIMIT).unwrap();
    }
}

fn wait(mut child: Child) -> String {
    // It must not wait for somebody to read what it tells.
    if child.stdout.is_some() {
        await_checkpoints(&mut child, 0);
    }
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn kills_on(flavour: S3Flavour, seed: u64) {
    let fixture = Fixture::new(flavour);
    let plan = FaultPlan::hostile(seed, FAULTS_PER_MILLE);
    let proxy = FaultProxy::start(fixture.server.address(), plan).unwrap();
    let (endpoint, mut random) = (proxy.endpoint(), Random::seeded(seed));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&fixture, &stop));
        for _ in 0..KILLS {
            let rate = ["--rate", KILLED_RATE];
            let mut child = fixture.start(&endpoint, 1 + random.below(4), &rate);
            await_checkpoints(&mut child, random.below(4));
            thread::sleep(Duration::from_millis(random.below(100)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        wait(fixture.start(&endpoint, 2, &["--rate", "0", "--label", "v2"]));
        stop.store(true, Ordering::SeqCst);
        watching.join().unwrap();
    });
    let mut counts = Counts::new(50, 0);
    counts.add(&fixture.results(&[])).unwrap();
    counts.check_exactly(RECORDS).unwrap();
    let labels: Vec<_> = counts.labels().iter().map(String::as_str).collect();
    assert_eq!(labels, ["v1", "v2"], "both before and after the upgrade");
    assert!(proxy.counts().injected() > 0, "the network never failed");
}

#[test]
fn kills_at_any_moment_leave_an_exact_result_in_minio() {
    kills_on(S3Flavour::Minio, 11);
}

#[test]
fn kills_at_any_moment_leave_an_exact_result_in_versitygw() {
    kills_on(S3Flavour::Versitygw, 12);
}

#[test]
fn two_jobs_with_one_prefix_leave_each_other_s_files_alone() {
    let fixture = Fixture::new(S3Flavour::Versitygw);
    let endpoint = fixture.server.endpoint();
    let first = fixture.start(&endpoint, 2, &["--rate", "20000"]);
    let config = fixture.folder.path().join("other.json");
    let other = std::fs::read_to_string(fixture.folder.path().join("job.json")).unwrap();
    std::fs::write(&config, other.replace("\"counting\"", "\"other\"")).unwrap();
    let mut command = fixture.command(env!("CARGO_BIN_EXE_job-under-test"));
    let count = RECORDS.to_string();
    command.env("TIDEGATE_JOB_CONFIG", config);
    command.args([
        "--output", RESULTS, "--keys", "50", "--label", "other", "--count", &count, "--rate",
        "20000",
    ]);
    let second = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait(first);
    wait(second);
    let text = fixture.results(&[]);
    for label in ["v1", "other"] {
        let own: Vec<_> = text.lines().filter(|line| line.ends_with(label)).collect();
        let mut counts = Counts::new(50, 0);
        counts.add(&(own.join("\n") + "\n")).unwrap();
        counts.check_exactly(RECORDS).unwrap();
    }
}

#[test]
fn a_program_that_gives_up_or_panics_at_its_start_says_so() {
    let fixture = Fixture::new(S3Flavour::Versitygw);
    let endpoint = fixture.server.endpoint();
    for (mode, code, text) in [
        ("exit-at-start", Some(3), "giving up on request"),
        ("panic-at-start", Some(101), "failing on request"),
        ("abort-at-start", None, ""),
    ] {
        let child = fixture.start(&endpoint, 1, &["--fail", mode]);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), code, "{said}");
        assert!(said.contains(text), "{said}");
    }
}
