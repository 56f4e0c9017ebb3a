//! The benchmark of the runtime.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_engine::state::ValueState;
use tidegate_engine::*;
use tidegate_protocol::*;
use tidegate_storage::{JobFolder, StorageUrl, Store, StoreOptions};

struct Gen { keys: u64 }
struct GenReader { splits: Vec<SplitState>, seed: u64, next: u64, keys: u64 }

#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Source for Gen {
    type Item = u64;
    type Reader = GenReader;
    fn discover(&self, _: &[SplitState]) -> Result<Vec<Split>> {
        Ok((0..2).map(|i| Split { id: i.to_string(), weight: 1, spec: i.into() }).collect())
    }
    fn reader(&self, splits: Vec<SplitState>, context: SourceContext) -> Result<GenReader> {
        Ok(GenReader { splits, seed: u64::from(context.subtask_index) << 40, next: 0, keys: self.keys })
    }
}

impl SourceReader for GenReader {
    type Item = u64;
    async fn read(&mut self, output: &mut SourceOutput<u64>) -> Result<ReadStatus> {
        let (seed, next, keys) = (self.seed, self.next, self.keys);
        for index in next..next + 4096 {
            let random = mix((seed + index).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let key = ((u128::from(random) * u128::from(keys)) >> 64) as u64;
            output.push(key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        self.next += 4096;
        Ok(ReadStatus::More)
    }
    fn snapshot(&self) -> Vec<SplitState> {
        self.splits.clone()
    }
}

struct Discard;
struct DiscardWriter(u64);
impl Sink for Discard {
    type Item = (u64, u64);
    type Writer = DiscardWriter;
    fn writer(&self, _: SinkContext) -> Result<DiscardWriter> { Ok(DiscardWriter(0)) }
}
impl SinkWriter for DiscardWriter {
    type Item = (u64, u64);
    async fn write(&mut self, rows: &Rows<(u64, u64)>) -> Result<()> {
        self.0 += rows.len() as u64;
        Ok(())
    }
}

#[derive(Clone)]
struct Count;
impl KeyedProcess for Count {
    type Key = u64;
    type Input = u64;
    type Output = (u64, u64);
    type State = ValueState<u64>;
    #[inline]
    fn process(&mut self, record: u64, context: &mut KeyedContext<'_, u64, ValueState<u64>>, output: &mut Output<(u64, u64)>) -> Result<()> {
        let count = context.state.get().unwrap_or(0) + 1;
        context.state.set(count);
        output.push((record, count));
        Ok(())
    }
}

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let (keys, parallelism, interval_ms, seconds) = (arguments[0], arguments[1] as u32, arguments[2], arguments[3]);
    let io = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let pipeline = Pipeline::new();
    pipeline.source("gen", Gen { keys }).key_by::<u64>(|key| key).process("count", Count).sink("out", Discard);
    let graph = Arc::new(pipeline.build().unwrap());
    let plan = graph.plan();
    let dir = tempfile::tempdir_in("/work").unwrap();
    let url = StorageUrl::parse(dir.path().to_str().unwrap()).unwrap();
    io.block_on(async {
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let folder = Arc::new(JobFolder::new(store, "bench", "count").unwrap());
        let (events, mut queue) = tokio::sync::mpsc::unbounded_channel();
        let config = WorkerConfig { slot_count: parallelism, io: tokio::runtime::Handle::current(), folder: Some(folder) };
        let worker = Worker::start(graph, config, events).unwrap();
        let p = Parallelism::new(parallelism).unwrap();
        let attempt = Attempt::new(1).unwrap();
        let subtasks: Vec<_> = plan.chains.iter().flat_map(|chain| (0..parallelism).map(move |index| SubtaskDeployment {
            subtask: SubtaskId { chain: chain.id, index: SubtaskIndex(index) }, worker: WorkerId::FIRST, operators: Vec::new() })).collect();
        let total = subtasks.len();
        worker.send(ToWorker::Deploy(Box::new(Deployment { attempt, parallelism: p, restored: None, is_final: false, subtasks })));
        let mut checkpoint = CheckpointId::FIRST;
        let mut acks = 0; let mut bytes = 0; let mut freeze = 0;
        let start = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        let mut next = Duration::from_millis(interval_ms); let mut triggered = None; let mut completed = None;
        let (mut last, mut last_at) = (0, Instant::now());
        while start.elapsed() < Duration::from_secs(seconds) {
            tokio::select! {
                event = queue.recv() => match event.unwrap() {
                    FromWorker::Acknowledged { snapshot, .. } => { acks += 1; bytes += snapshot.written_bytes; freeze = freeze.max(snapshot.freeze_micros);
                        if acks == total {
                            eprintln!("  checkpoint {checkpoint}: {} ms, {:.1} MB, freeze {freeze} us", triggered.map(|t: Instant| t.elapsed().as_millis()).unwrap(), bytes as f64 / 1e6);
                            worker.send(ToWorker::CheckpointCompleted { attempt, checkpoint }); completed = Some(checkpoint); triggered = None;
                            checkpoint = checkpoint.next(); acks = 0; bytes = 0; freeze = 0; } }
                    FromWorker::Committed { .. } | FromWorker::Running { .. } => {}
                    other => panic!("{other:?}"),
                },
                _ = tick.tick() => {
                    let metrics = worker.metrics();
                    let records: u64 = metrics.iter().filter(|m| m.operator.as_str() == "count").map(|m| m.metrics.records_in.get()).sum();
                    let state: u64 = metrics.iter().map(|m| m.metrics.state_keys.get()).sum();
                    eprintln!("{:.1} M/s, {state} keys", (records - last) as f64 / last_at.elapsed().as_secs_f64() / 1e6);
                    last = records; last_at = Instant::now();
                }
            }
            if interval_ms > 0 && triggered.is_none() && start.elapsed() >= next {
                next = start.elapsed() + Duration::from_millis(interval_ms); triggered = Some(Instant::now());
                worker.send(ToWorker::TriggerCheckpoint { attempt, checkpoint, kind: CheckpointKind::Checkpoint, is_last: false, last_completed: completed });
            }
        }
        worker.shutdown().await;
    });
}
