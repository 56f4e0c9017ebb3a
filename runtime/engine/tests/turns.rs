//! Subtasks that share a thread, records that share a chunk, and barriers behind records do not
//! wait for each other long.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::{Collect, Committed, Job};
use tidegate_engine::chunk::CHUNK_ROWS;
use tidegate_engine::state::ValueState;
use tidegate_engine::{
    KeyedContext, KeyedProcess, Output, Pipeline, ReadStatus, Result, Source, SourceContext,
    SourceOutput, SourceReader, Split, SplitState,
};

/// A source of one split that is never ended, whose reads a function makes.
struct Reads<F>(F);

struct Reader<F> {
    read: F,
    states: Vec<SplitState>,
    read_count: u64,
}

/// What one read gives.
enum Given {
    /// The numbers from 0 on.
    Numbers(u64),
    /// The read's number.
    Own,
    /// As many as are wanted.
    Wanted,
    /// Nothing, but others on the thread have their turn.
    Turn,
    /// Nothing, ever.
    Silence,
}

impl<F: Fn(u64) -> Given + Clone + Send + Sync + 'static> Source for Reads<F> {
    type Item = u64;
    type Reader = Reader<F>;

    fn discover(&self, _: &[SplitState]) -> Result<Vec<Split>> {
        Ok(vec![Split {
            id: "one".to_owned(),
            weight: 1,
            spec: serde_json::Value::Null,
        }])
    }

    fn reader(&self, states: Vec<SplitState>, _: SourceContext) -> Result<Reader<F>> {
        Ok(Reader {
            read: self.0.clone(),
            states,
            read_count: 0,
        })
    }
}

impl<F: Fn(u64) -> Given + 'static> SourceReader for Reader<F> {
    type Item = u64;

    async fn read(&mut self, output: &mut SourceOutput<u64>) -> Result<ReadStatus> {
        match (self.read)(self.read_count) {
            Given::Numbers(count) => (0..count).for_each(|number| output.push(number)),
            Given::Own => output.push(self.read_count),
            Given::Wanted => {
                (0..output.wanted_rows() as u64).for_each(|number| output.push(number))
            }
            Given::Turn => tokio::task::yield_now().await,
            Given::Silence => std::future::pending().await,
        }
        self.read_count += 1;
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<SplitState> {
        self.states.clone()
    }
}

fn collect() -> Collect<u64> {
    Collect {
        committed: Committed::default(),
        show: u64::to_string,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_chunk_is_at_slow_code_others_on_the_thread_have_their_turns() {
    const RECORDS: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let turns = Arc::new(AtomicU64::new(0));
    let (at_first, at_last) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let pipeline = Pipeline::new();
    let once = Reads(|read| match read {
        0 => Given::Numbers(RECORDS),
        _ => Given::Silence,
    });
    let slow = {
        let (turns, at_first, at_last) = (turns.clone(), at_first.clone(), at_last.clone());
        move |number: u64| {
            let so_far = turns.load(Ordering::Relaxed);
            match number {
                0 => at_first.store(so_far, Ordering::Relaxed),
                _ => at_last.store(so_far, Ordering::Relaxed),
            }
            std::thread::sleep(Duration::from_millis(1));
            number
        }
    };
    pipeline
        .source("once", once)
        .map(slow)
        .sink("slow", collect());
    let counted = turns.clone();
    let other = Reads(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Given::Turn
    });
    pipeline.source("other", other).sink("none", collect());
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    // Of parallelism one, so that both sources are on one thread.
    job.deploy(None, 1).await;
    job.wait_records("slow", RECORDS).await;
    let (first, last) = (
        at_first.load(Ordering::Relaxed),
        at_last.load(Ordering::Relaxed),
    );
    assert!(
        last >= first + 4,
        "turn {first} at the first, {last} at the last record"
    );
    job.cancel().await;
    job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_records_of_a_steady_trickle_do_not_wait_for_a_chunk_to_fill() {
    let folder = tempfile::tempdir().unwrap();
    let read = Arc::new(AtomicU64::new(0));
    let read_at_first = Arc::new(AtomicU64::new(0));
    let pipeline = Pipeline::new();
    let trickle = {
        let read = read.clone();
        Reads(move |number| {
            std::thread::sleep(Duration::from_micros(200));
            read.store(number, Ordering::Relaxed);
            Given::Own
        })
    };
    let note = {
        let (read, read_at_first) = (read.clone(), read_at_first.clone());
        move |number: u64| {
            if number == 0 {
                read_at_first.store(read.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            number
        }
    };
    pipeline
        .source("trickle", trickle)
        .map(note)
        .sink("noted", collect());
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    job.deploy(None, 1).await;
    job.wait_records("noted", 1).await;
    let waited = read_at_first.load(Ordering::Relaxed);
    assert!(
        waited < 100,
        "the first record came after {waited} further ones"
    );
    job.cancel().await;
    job.shutdown().await;
}

/// Takes a millisecond a record, and gives one once few are under way to it.
#[derive(Clone)]
struct Slow {
    sent: Arc<AtomicU64>,
    taken: Arc<AtomicU64>,
}

/// A fraction of a chunk: two sources, two subtasks, and four channels between them.
const FEW: u64 = 600;

impl KeyedProcess for Slow {
    type Key = u64;
    type Input = u64;
    type Output = u64;
    type State = ValueState<u64>;

    fn process(
        &mut self,
        _: u64,
        _: &mut KeyedContext<'_, u64, ValueState<u64>>,
        output: &mut Output<u64>,
    ) -> Result<()> {
        std::thread::sleep(Duration::from_millis(1));
        let taken = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        let under_way = self.sent.load(Ordering::Relaxed) - taken;
        // All channels are full by then.
        if taken > 1000 && under_way < FEW {
            output.push(under_way);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_records_are_under_way_to_slow_code() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Slow {
        sent: Arc::default(),
        taken: Arc::default(),
    };
    let sent = slow.sent.clone();
    let count = move |number: u64| {
        sent.fetch_add(1, Ordering::Relaxed);
        number
    };
    let pipeline = Pipeline::new();
    pipeline
        .source("wanted", Reads(|_| Given::Wanted))
        .map(count)
        .key_by::<u64>(|number| number)
        .process("slow", slow)
        .sink("few", collect());
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    job.deploy(None, 2).await;
    job.wait_records("few", 1).await;
    job.cancel().await;
    job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fast_code_is_given_whole_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = Pipeline::new();
    pipeline
        .source("wanted", Reads(|_| Given::Wanted))
        .filter(|number| number == CHUNK_ROWS as u64 - 1)
        .sink("last", collect());
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    job.deploy(None, 1).await;
    job.wait_records("last", 1).await;
    job.cancel().await;
    job.shutdown().await;
}
