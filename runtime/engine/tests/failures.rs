//! Panics, errors, damaged state and full disks: told by name, and nothing lost.
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use harness::{Collect, Collecting, Committed, Job, Numbers, NumbersReader};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;
use tidegate_engine::state::ValueState;
use tidegate_engine::{
    JobGraph, KeyedContext, KeyedProcess, Output, PermanentError, Pipeline, Result, Sink,
    SinkContext, SinkRecovery, Source, SourceContext, Split, SplitState,
};
use tidegate_protocol::{FailureCategory, FromWorker, Manifest};
use tokio::sync::watch;

/// Counts numbers by their last digit, and fails at one of them as told.
#[derive(Clone)]
struct Count {
    fails_at: Arc<AtomicU64>,
    how: Failure,
}

#[derive(Clone, Copy, PartialEq)]
enum Failure {
    Panic,
    Error,
    Permanent,
}

impl KeyedProcess for Count {
    type Key = u64;
    type Input = u64;
    type Output = (u64, u64);
    type State = ValueState<u64>;

    fn process(
        &mut self,
        number: u64,
        context: &mut KeyedContext<'_, u64, ValueState<u64>>,
        output: &mut Output<(u64, u64)>,
    ) -> Result<()> {
        if number == self.fails_at.load(Ordering::Relaxed) {
            match self.how {
                Failure::Panic => panic!("number {number} is unlucky"),
                Failure::Error => return Err(format!("number {number} is refused").into()),
                Failure::Permanent => return Err(PermanentError::new("no more of this").into()),
            }
        }
        let count = context.state.get().unwrap_or(0) + 1;
        context.state.set(count);
        output.push((number % 10, count));
        Ok(())
    }
}

struct Run {
    job: Job,
    limit: watch::Sender<u64>,
    fails_at: Arc<AtomicU64>,
    committed: Committed,
    folder: tempfile::TempDir,
}

fn graph(count: Count, limit: watch::Receiver<u64>, committed: &Committed) -> JobGraph {
    let pipeline = Pipeline::new();
    let show = |(digit, count): &(u64, u64)| format!("{digit} {count:04}");
    pipeline
        .source(
            "numbers",
            Numbers {
                limit,
                total: 100,
                split_count: 4,
            },
        )
        .key_by::<u64>(|number| number % 10)
        .process("count", count)
        .sink(
            "collect",
            Collect {
                committed: committed.clone(),
                show,
            },
        );
    pipeline.build().unwrap()
}

async fn start(how: Failure) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let committed = Committed::default();
    let fails_at = Arc::new(AtomicU64::new(u64::MAX));
    let (limit, limited) = watch::channel(0);
    let count = Count {
        fails_at: Arc::clone(&fails_at),
        how,
    };
    let job = Job::new(graph(count, limited, &committed), folder.path()).await;
    Run {
        job,
        limit,
        fails_at,
        committed,
        folder,
    }
}

/// Every count from 1 to 10 for each digit, each once.
fn expected() -> Vec<String> {
    (0..10)
        .flat_map(|digit| (1..=10).map(move |count| format!("{digit} {count:04}")))
        .collect()
}

async fn finish(mut run: Run, manifest: &Manifest, parallelism: u32) {
    run.fails_at.store(u64::MAX, Ordering::Relaxed);
    run.job.cancel().await;
    run.job.deploy(Some(manifest), parallelism).await;
    run.limit.send_replace(u64::MAX);
    run.job.wait_ended().await;
    let last = run.job.trigger(false).await;
    run.job.complete(&last).await;
    assert_eq!(run.committed.records(), expected());
    run.job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_in_user_code_names_operator_and_message_and_the_job_goes_on_exactly() {
    let cases = [
        (Failure::Panic, "panicked: number 77 is unlucky", false),
        (Failure::Error, "number 77 is refused", false),
        (Failure::Permanent, "no more of this", true),
    ];
    for (how, expected_message, expected_permanent) in cases {
        let mut run = start(how).await;
        run.job.deploy(None, 2).await;
        run.limit.send_replace(50);
        run.job.wait_records("count", 50).await;
        let manifest = run.job.trigger(false).await;
        run.job.complete(&manifest).await;
        run.fails_at.store(77, Ordering::Relaxed);
        run.limit.send_replace(90);
        match run.job.event().await {
            FromWorker::Failed {
                operator,
                message,
                is_permanent,
                subtask,
                ..
            } => {
                assert_eq!(operator.as_deref(), Some("count"));
                assert_eq!(message, expected_message);
                assert_eq!(is_permanent, expected_permanent);
                assert!(subtask.is_some());
            }
            other => panic!("{other:?}"),
        }
        finish(run, &manifest, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_read_everything_reads_nothing_that_came_since() {
    let mut run = start(Failure::Error).await;
    run.job.deploy(None, 2).await;
    run.limit.send_replace(50);
    run.job.wait_records("count", 50).await;
    let manifest = run.job.trigger(false).await;
    run.job.complete(&manifest).await;
    run.job.cancel().await;
    let finished = Manifest {
        is_final: true,
        ..manifest
    };
    run.limit.send_replace(u64::MAX);
    run.job.begin(Some(&finished), 3).await;
    run.job.wait_ended().await;
    let last = run.job.trigger(false).await;
    run.job.complete(&last).await;
    assert_eq!(run.committed.records().len(), 50);
    run.job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_state_is_refused_by_the_file_s_name() {
    let mut run = start(Failure::Error).await;
    run.job.deploy(None, 2).await;
    run.limit.send_replace(50);
    run.job.wait_records("count", 50).await;
    let manifest = run.job.trigger(false).await;
    run.job.complete(&manifest).await;
    run.job.cancel().await;
    let damaged = manifest.files().next().unwrap().path.clone();
    let path = run.folder.path().join("test/job").join(&damaged);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&path, &bytes).unwrap();
    run.job.begin(Some(&manifest), 1).await;
    match run.job.event().await {
        FromWorker::Failed {
            operator,
            message,
            category,
            ..
        } => {
            assert_eq!(operator.as_deref(), Some("count"));
            assert_eq!(category, FailureCategory::CheckpointUnreadable);
            assert!(message.contains(&damaged), "{message}");
        }
        other => panic!("{other:?}"),
    }
    bytes[middle] ^= 0x40;
    std::fs::write(&path, &bytes).unwrap();
    finish(run, &manifest, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_writes_fails_the_checkpoint_and_not_the_job() {
    let mut run = start(Failure::Error).await;
    run.job.deploy(None, 2).await;
    run.limit.send_replace(50);
    run.job.wait_records("count", 50).await;
    let manifest = run.job.trigger(false).await;
    run.job.complete(&manifest).await;
    // A file stands where the next checkpoint's folder would be.
    let next = manifest.checkpoint.next();
    let state = run
        .folder
        .path()
        .join(format!("test/job/state/{}", manifest.attempt));
    std::fs::write(state.join(next.to_string()), "").unwrap();
    run.limit.send_replace(80);
    run.job.wait_records("count", 80).await;
    run.job.trigger_only(false);
    let mut failed = 0;
    while failed < 2 {
        if let FromWorker::SnapshotFailed {
            reason, checkpoint, ..
        } = run.job.event().await
        {
            assert_eq!(checkpoint, next);
            assert!(reason.contains("operator `count`"), "{reason}");
            failed += 1;
        }
    }
    let after = run.job.trigger(false).await;
    run.job.complete(&after).await;
    finish(run, &after, 4).await;
}

/// Bytes of address space that this process has.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    pages * u64::try_from(rustix::param::page_size()).unwrap()
}

fn limit_address_space(bytes: Option<u64>) {
    let limits = Rlimit {
        current: bytes,
        maximum: None,
    };
    setrlimit(Resource::As, limits).unwrap();
}

#[test]
#[ignore = "limits its whole process: the next test runs it in one of its own"]
fn a_process_without_room_for_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut run = start(Failure::Error).await;
        run.job.deploy(None, 1).await;
        run.limit.send_replace(50);
        run.job.wait_records("count", 50).await;
        let manifest = run.job.trigger(false).await;
        run.job.complete(&manifest).await;
        run.job.cancel().await;
        // Room for a few stacks of 2 MiB, but not for fifteen.
        limit_address_space(Some(address_space() + (8 << 20)));
        run.job.begin(Some(&manifest), 16).await;
        let event = run.job.event().await;
        limit_address_space(None);
        match event {
            FromWorker::Failed {
                message,
                is_permanent,
                ..
            } => {
                let start = "the system does not start 16 compute threads: ";
                assert!(message.starts_with(start), "{message}");
                assert!(message.contains("lower the parallelism"), "{message}");
                assert!(!is_permanent);
            }
            other => panic!("{other:?}"),
        }
        finish(run, &manifest, 2).await;
    });
}

#[test]
fn a_thread_that_the_system_refuses_fails_the_attempt_and_not_the_worker() {
    let itself = std::env::current_exe().unwrap();
    let name = "a_process_without_room_for_threads";
    let ran = std::process::Command::new(itself)
        .args(["--exact", name, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("1 passed"), "{said}{errors}");
}

/// Where the user's code panics outside of its subtasks.
#[derive(Clone, Copy, PartialEq, Debug)]
enum At {
    Discover,
    Recover,
    Commit,
    Nowhere,
}

#[derive(Clone)]
struct PanicsAt(Arc<Mutex<At>>);

impl PanicsAt {
    fn set(&self, at: At) {
        *self.0.lock().unwrap() = at;
    }

    fn pass(&self, at: At) {
        let set = *self.0.lock().unwrap();
        assert!(set != at, "unlucky at {at:?}");
    }
}

struct UnluckySource(PanicsAt, Numbers);

impl Source for UnluckySource {
    type Item = u64;
    type Reader = NumbersReader;

    fn discover(&self, known: &[SplitState]) -> Result<Vec<Split>> {
        self.0.pass(At::Discover);
        self.1.discover(known)
    }

    fn reader(&self, splits: Vec<SplitState>, context: SourceContext) -> Result<NumbersReader> {
        self.1.reader(splits, context)
    }
}

struct UnluckySink(PanicsAt, Collect<u64>);

impl Sink for UnluckySink {
    type Item = u64;
    type Writer = Collecting<u64>;

    fn writer(&self, context: SinkContext) -> Result<Self::Writer> {
        self.1.writer(context)
    }

    fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        self.0.pass(At::Commit);
        self.1.commit(transactions)
    }

    fn recover(&self, _: SinkRecovery, items: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        self.0.pass(At::Recover);
        self.1.commit(items)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_outside_of_subtasks_fails_the_attempt_by_the_operator_s_name() {
    let folder = tempfile::tempdir().unwrap();
    let (panics, committed) = (
        PanicsAt(Arc::new(Mutex::new(At::Discover))),
        Committed::default(),
    );
    let (limit, limited) = watch::channel(50);
    let numbers = Numbers {
        limit: limited,
        total: 100,
        split_count: 4,
    };
    let collect = Collect {
        committed: committed.clone(),
        show: |number: &u64| format!("{number:04}"),
    };
    let pipeline = Pipeline::new();
    pipeline
        .source("numbers", UnluckySource(panics.clone(), numbers))
        .sink("collect", UnluckySink(panics.clone(), collect));
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    for (at, expected_operator) in [(At::Discover, "numbers"), (At::Recover, "collect")] {
        panics.set(at);
        job.begin(None, 2).await;
        assert_unlucky(job.event().await, at, expected_operator);
    }
    panics.set(At::Nowhere);
    job.deploy(None, 2).await;
    job.wait_records("collect", 50).await;
    let manifest = job.trigger(false).await;
    panics.set(At::Commit);
    job.begin_commit(&manifest);
    assert_unlucky(job.event().await, At::Commit, "collect");
    panics.set(At::Nowhere);
    job.cancel().await;
    job.deploy(Some(&manifest), 3).await;
    limit.send_replace(u64::MAX);
    job.wait_ended().await;
    let last = job.trigger(false).await;
    job.complete(&last).await;
    let all: Vec<_> = (0..100).map(|number| format!("{number:04}")).collect();
    assert_eq!(committed.records(), all);
    job.shutdown().await;
}

fn assert_unlucky(event: FromWorker, at: At, expected_operator: &str) {
    match event {
        FromWorker::Failed {
            operator, message, ..
        } => {
            assert_eq!(operator.as_deref(), Some(expected_operator), "{message}");
            assert_eq!(message, format!("panicked: unlucky at {at:?}"));
        }
        other => panic!("{other:?}"),
    }
}
