//! Where the files of a job's sink lie when the next job that is to commit them writes elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tidegate::JobGraph;
use tidegate::engine::{Result, Sink, SinkContext, SinkRecovery};
use tidegate::prelude::{FileSink, Lines, Pipeline};

use crate::numbers::Numbers;
use crate::support::{TestJob, end, named};

/// What a process does that writes each number to a file as it comes.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Files {
    /// Dies at this commit, counted from 1, as by `kill -9`: its checkpoint is in the log.
    dies_at_commit: Option<u32>,
}

pub(crate) fn graph(
    pipeline: Pipeline,
    source: Numbers,
    folder: PathBuf,
    files: &Files,
) -> JobGraph {
    let sink = Dying {
        sink: FileSink::new(folder, Lines),
        dies_at: files.dies_at_commit,
        commit_count: AtomicU32::new(0),
    };
    let numbers = pipeline.source("numbers", source);
    numbers
        .map(|number: u64| number.to_string())
        .sink("files", sink);
    pipeline.build().unwrap()
}

/// The sink of users, in a process that dies.
struct Dying {
    sink: FileSink<String, Lines>,
    dies_at: Option<u32>,
    commit_count: AtomicU32,
}

impl Sink for Dying {
    type Item = String;
    type Writer = <FileSink<String, Lines> as Sink>::Writer;

    fn writer(&self, context: SinkContext) -> Result<Self::Writer> {
        self.sink.writer(context)
    }

    fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        let count = 1 + self.commit_count.fetch_add(1, Ordering::SeqCst);
        if self.dies_at == Some(count) {
            process::abort();
        }
        self.sink.commit(transactions)
    }

    fn recover(
        &self,
        recovery: SinkRecovery,
        transactions: Vec<Value>,
    ) -> BoxFuture<'static, Result<()>> {
        self.sink.recover(recovery, transactions)
    }
}

/// A job that writes to `first`.
fn job() -> TestJob {
    let mut job = TestJob::new();
    job.plan.output = job.path("first");
    job.plan.count = 5_000;
    job.plan.pause_us = 2_000;
    job.plan.files = Some(Files {
        dies_at_commit: None,
    });
    job
}

/// The same after it was killed between a checkpoint and the end of its commit.
fn killed_job() -> TestJob {
    let mut job = job();
    job.plan.files = Some(Files {
        dies_at_commit: Some(2),
    });
    let (code, events) = job.run();
    assert_eq!(code, -1, "{events:#?}");
    assert!(pending_count(&job.plan.output) > 0);
    job.plan.files = Some(Files {
        dies_at_commit: None,
    });
    job.plan.pause_us = 0;
    job
}

/// Makes it another job, that starts from the newest checkpoint of what it was, and writes to
/// `second`.
fn start_from_it(job: &mut TestJob) {
    let folder = job.path("state").join("default/numbers");
    job.config["startFrom"] = json!({"kind": "Checkpoint", "folder": folder});
    job.config["name"] = json!("other");
    job.plan.output = job.path("second");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

fn pending_count(folder: &Path) -> usize {
    let jobs = fs::read_dir(folder.join(".pending")).into_iter().flatten();
    jobs.map(|job| files(&job.unwrap().path()).len()).sum()
}

/// The committed numbers, ascending.
fn numbers(folder: &Path) -> Vec<u64> {
    let texts = files(folder).into_iter().map(fs::read_to_string);
    let text: String = texts.map(|text| text.unwrap()).collect();
    let mut numbers: Vec<_> = text.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn all(job: &TestJob) -> Vec<u64> {
    (0..job.plan.count).collect()
}

/// Each number is in one of the two folders, once, and nothing is pending in the first.
fn assert_exact(job: &TestJob) {
    let (first, second) = (job.path("first"), job.path("second"));
    let mut found = [numbers(&first), numbers(&second)].concat();
    found.sort_unstable();
    assert!(found == all(job), "{} numbers", found.len());
    assert_eq!(pending_count(&first), 0);
}

#[test]
fn a_finished_job_whose_sink_got_another_folder_ends_well() {
    let mut job = job();
    assert_eq!(job.run().0, 0);
    job.plan.output = job.path("second");
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    assert_eq!(end(&events)["phase"], "Finished");
    assert_eq!(numbers(&job.path("second")), [0; 0]);
    assert_exact(&job);
}

#[test]
fn what_a_killed_job_had_not_committed_appears_where_it_was_written() {
    let mut job = killed_job();
    job.plan.output = job.path("second");
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    assert_exact(&job);
}

#[test]
fn what_a_killed_job_had_not_committed_appears_in_the_folder_that_was_moved() {
    let mut job = killed_job();
    job.plan.output = job.path("second");
    fs::rename(job.path("first"), &job.plan.output).unwrap();
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    assert!(numbers(&job.plan.output) == all(&job));
    assert!(!job.path("first").exists());
}

#[test]
fn what_a_killed_job_had_not_committed_is_committed_by_the_one_that_starts_from_its_checkpoint() {
    let mut job = killed_job();
    start_from_it(&mut job);
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    assert_exact(&job);
}

#[test]
fn a_job_that_starts_from_the_end_of_another_one_says_that_nothing_is_left_to_read() {
    let mut job = job();
    assert_eq!(job.run().0, 0);
    start_from_it(&mut job);
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    let notices = named(&events, "notice");
    let message = notices[0]["message"].as_str().unwrap();
    let is_told = message.contains("default/numbers` was taken when that job had finished");
    assert!(is_told, "{message}");
    assert_eq!(end(&events)["progress"]["recordsRead"], 0);
    // By then it has an end of its own.
    job.config["startFrom"] = json!({"kind": "Latest"});
    let (_, events) = job.run();
    let again = named(&events, "notice")[0]["message"].clone();
    assert!(
        again.as_str().unwrap().contains("this job has finished"),
        "{again}"
    );
}

#[test]
fn a_job_starts_from_another_one_whose_results_were_deleted_with_it() {
    let mut job = killed_job();
    fs::remove_dir_all(&job.plan.output).unwrap();
    start_from_it(&mut job);
    let (code, events, stderr) = job.start().wait_with_stderr();
    assert_eq!(code, 0, "{events:#?}");
    assert!(
        stderr.contains("the place that another job wrote to"),
        "{stderr}"
    );
    assert!(!job.path("first").exists());
}

#[test]
fn a_job_that_goes_on_is_not_disturbed_by_one_that_starts_from_its_checkpoint() {
    let mut other = job();
    other.config["checkpoint"]["retainedCount"] = json!(1000);
    other.plan.pause_us = 10_000;
    let mut going_on = other.start();
    let checkpoint = going_on.wait_for_checkpoint();
    start_from_it(&mut other);
    other.config["startFrom"]["checkpointId"] = json!(checkpoint);
    other.plan.pause_us = 0;
    let (code, events) = other.run();
    assert_eq!(code, 0, "{events:#?}");
    let (code, events) = going_on.wait();
    assert_eq!(code, 0, "{events:#?}");
    assert!(numbers(&other.path("first")) == all(&other));
    let own = numbers(&other.path("second"));
    assert!(own.is_sorted_by(|a, b| a < b), "one is there twice");
    assert!(!own.is_empty());
}
