//! A job without a coordinator: tests deploy, trigger and complete checkpoints themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use serde_json::Value;
use tidegate_engine::{
    JobGraph, ReadStatus, Record, Result, Rows, Sink, SinkContext, SinkWriter, Source,
    SourceContext, SourceOutput, SourceReader, Split, SplitState, SubtaskMetrics, Worker,
    WorkerConfig,
};
use tidegate_protocol::{
    Attempt, CheckpointId, CheckpointKind, FromWorker, Manifest, OperatorSnapshot, OperatorState,
    Parallelism, SubtaskId, SubtaskState, ToWorker, WorkerId, plan_restore,
};
use tidegate_storage::{JobFolder, StorageUrl, Store, StoreOptions};
use tokio::sync::{mpsc, watch};

/// The numbers 0, 1, 2, … up to `total`, dealt out to splits, and no further than `limit` says.
pub(crate) struct Numbers {
    pub(crate) limit: watch::Receiver<u64>,
    pub(crate) total: u64,
    pub(crate) split_count: u64,
}

pub(crate) struct NumbersReader {
    limit: watch::Receiver<u64>,
    total: u64,
    step: u64,
    splits: Vec<SplitState>,
    next: Vec<u64>,
}

impl Source for Numbers {
    type Item = u64;
    type Reader = NumbersReader;

    fn discover(&self, _: &[SplitState]) -> Result<Vec<Split>> {
        let split = |index: u64| Split {
            id: index.to_string(),
            weight: 1,
            spec: index.into(),
        };
        Ok((0..self.split_count).map(split).collect())
    }

    fn reader(&self, splits: Vec<SplitState>, _: SourceContext) -> Result<NumbersReader> {
        let next = |state: &SplitState| {
            let position = state.position.as_ref().unwrap_or(&state.split.spec);
            position.as_u64().ok_or_else(|| "no number".into())
        };
        Ok(NumbersReader {
            limit: self.limit.clone(),
            total: self.total,
            step: self.split_count,
            next: splits.iter().map(next).collect::<Result<_>>()?,
            splits,
        })
    }
}

impl SourceReader for NumbersReader {
    type Item = u64;

    async fn read(&mut self, output: &mut SourceOutput<u64>) -> Result<ReadStatus> {
        loop {
            let limit = (*self.limit.borrow_and_update()).min(self.total);
            for (index, next) in self.next.iter_mut().enumerate() {
                if *next < limit {
                    output.begin_split(index as u32);
                    for _ in 0..10 {
                        if *next < limit {
                            output.push(*next);
                            *next += self.step;
                        }
                    }
                    return Ok(ReadStatus::More);
                }
            }
            if self.next.iter().all(|next| *next >= self.total) {
                return Ok(ReadStatus::Ended);
            }
            self.limit.changed().await?;
        }
    }

    fn snapshot(&self) -> Vec<SplitState> {
        let states = self.splits.iter().zip(&self.next);
        states
            .map(|(state, next)| state.read_to(Some((*next).into()), *next >= self.total))
            .collect()
    }
}

/// What readers of the sink see: the records of committed transactions, each transaction once.
#[derive(Clone, Default)]
pub(crate) struct Committed(Arc<Mutex<BTreeMap<String, Value>>>);

impl Committed {
    /// All records, as text, sorted.
    pub(crate) fn records(&self) -> Vec<String> {
        let transactions = self.0.lock().unwrap();
        let records = transactions
            .values()
            .flat_map(|values| values.as_array().unwrap().clone());
        let mut records: Vec<_> = records
            .map(|record| record.as_str().unwrap().to_owned())
            .collect();
        records.sort();
        records
    }

    fn commit(&self, transactions: Vec<Value>) {
        for transaction in transactions {
            let id = transaction["id"].as_str().unwrap().to_owned();
            self.0
                .lock()
                .unwrap()
                .insert(id, transaction["records"].clone());
        }
    }
}

/// A sink whose transactions carry their records.
pub(crate) struct Collect<R> {
    pub(crate) committed: Committed,
    pub(crate) show: fn(&R) -> String,
}

pub(crate) struct Collecting<R> {
    show: fn(&R) -> String,
    context: SinkContext,
    records: Vec<String>,
}

impl<R: Record> Sink for Collect<R> {
    type Item = R;
    type Writer = Collecting<R>;

    fn writer(&self, context: SinkContext) -> Result<Collecting<R>> {
        Ok(Collecting {
            show: self.show,
            context,
            records: Vec::new(),
        })
    }

    fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        self.committed.commit(transactions);
        Box::pin(async { Ok(()) })
    }
}

impl<R: Record> SinkWriter for Collecting<R> {
    type Item = R;

    async fn write(&mut self, rows: &Rows<R>) -> Result<()> {
        self.records
            .extend(rows.iter().map(|view| (self.show)(&R::from_view(view))));
        Ok(())
    }

    fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        let SinkContext {
            attempt,
            subtask_index,
            ..
        } = self.context;
        let records = std::mem::take(&mut self.records);
        let id = format!("{attempt}-{checkpoint}-{subtask_index}");
        let transaction = serde_json::json!({ "id": id, "records": records });
        Ok(Box::pin(async move { Ok(vec![transaction]) }))
    }
}

/// A running job of one worker.
pub(crate) struct Job {
    graph: Arc<JobGraph>,
    worker: Worker,
    events: mpsc::UnboundedReceiver<FromWorker>,
    attempt: Attempt,
    next_checkpoint: CheckpointId,
    parallelism: Parallelism,
    last_completed: Option<CheckpointId>,
    ended: BTreeSet<SubtaskId>,
}

impl Job {
    pub(crate) async fn new(graph: JobGraph, folder: &std::path::Path) -> Self {
        let url = StorageUrl::parse(folder.to_str().unwrap()).unwrap();
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let folder = Arc::new(JobFolder::new(store, "test", "job").unwrap());
        let graph = Arc::new(graph);
        let (sender, events) = mpsc::unbounded_channel();
        let config = WorkerConfig {
            slot_count: 16,
            io: tokio::runtime::Handle::current(),
            folder: Some(folder),
        };
        let worker = Worker::start(Arc::clone(&graph), config, sender).unwrap();
        Self {
            graph,
            worker,
            events,
            attempt: Attempt::FIRST,
            next_checkpoint: CheckpointId::FIRST,
            parallelism: Parallelism::new(1).unwrap(),
            last_completed: None,
            ended: BTreeSet::new(),
        }
    }

    /// Starts a new attempt and waits until it runs.
    pub(crate) async fn deploy(&mut self, manifest: Option<&Manifest>, parallelism: u32) {
        self.begin(manifest, parallelism).await;
        loop {
            match self.event().await {
                FromWorker::Running { .. } => return,
                FromWorker::Ended { subtask, .. } => {
                    self.ended.insert(subtask);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Starts a new attempt.
    pub(crate) async fn begin(&mut self, manifest: Option<&Manifest>, parallelism: u32) {
        self.attempt = self.attempt.next();
        self.parallelism = Parallelism::new(parallelism).unwrap();
        self.ended.clear();
        self.last_completed = manifest.map(|manifest| manifest.checkpoint);
        if let Some(manifest) = manifest {
            self.next_checkpoint = manifest.checkpoint.next();
        }
        let plan = self.graph.plan();
        let placement = vec![WorkerId::FIRST; usize::try_from(parallelism).unwrap()];
        let deployment = plan_restore(&plan, manifest, self.attempt, &placement).unwrap();
        self.worker.send(ToWorker::Deploy(Box::new(deployment)));
    }

    /// The next event of this attempt.
    pub(crate) async fn event(&mut self) -> FromWorker {
        let deadline = std::time::Duration::from_secs(60);
        loop {
            let event = tokio::time::timeout(deadline, self.events.recv()).await;
            let event = event.expect("an event within a minute").unwrap();
            // The second subtask that fails may be heard of when the next attempt runs.
            if event.attempt() == self.attempt {
                return event;
            }
        }
    }

    /// What every subtask that ever ran counts.
    pub(crate) fn metrics(&self) -> Vec<SubtaskMetrics> {
        self.worker.metrics()
    }

    /// Waits until an operator has taken so many records in all attempts together.
    pub(crate) async fn wait_records(&self, operator: &str, count: u64) {
        let taken = || -> u64 {
            let metrics = self.metrics();
            let own = metrics
                .iter()
                .filter(|metrics| metrics.operator.as_str() == operator);
            own.map(|own| own.metrics.records_in.get()).sum()
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while taken() < count {
            assert!(
                std::time::Instant::now() < deadline,
                "{} of {count} records",
                taken()
            );
            tokio::task::yield_now().await;
        }
    }

    /// Triggers a checkpoint.
    pub(crate) fn trigger_only(&mut self, is_last: bool) -> CheckpointId {
        let checkpoint = self.next_checkpoint;
        self.next_checkpoint = checkpoint.next();
        self.worker.send(ToWorker::TriggerCheckpoint {
            attempt: self.attempt,
            checkpoint,
            kind: CheckpointKind::Checkpoint,
            is_last,
            last_completed: self.last_completed,
        });
        checkpoint
    }

    /// Triggers a checkpoint and collects the acknowledgements of all subtasks.
    pub(crate) async fn trigger(&mut self, is_last: bool) -> Manifest {
        let checkpoint = self.trigger_only(is_last);
        let subtask_count =
            self.graph.plan().chains.len() * usize::try_from(self.parallelism.get()).unwrap();
        let mut snapshots: BTreeMap<SubtaskId, Vec<OperatorSnapshot>> = BTreeMap::new();
        while snapshots.len() < subtask_count {
            match self.event().await {
                FromWorker::Acknowledged {
                    checkpoint: of,
                    subtask,
                    snapshot,
                    ..
                } => {
                    if of == checkpoint {
                        snapshots.insert(subtask, snapshot.operators);
                    }
                }
                FromWorker::Ended { subtask, .. } => {
                    self.ended.insert(subtask);
                }
                FromWorker::Committed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        self.manifest(checkpoint, snapshots)
    }

    fn manifest(
        &self,
        checkpoint: CheckpointId,
        snapshots: BTreeMap<SubtaskId, Vec<OperatorSnapshot>>,
    ) -> Manifest {
        let plan = self.graph.plan();
        let mut operators: Vec<OperatorState> = Vec::new();
        for (subtask, own) in snapshots {
            for snapshot in own {
                let operator = plan
                    .operators()
                    .find(|plan| plan.id == snapshot.operator)
                    .unwrap();
                let position = operators
                    .iter()
                    .position(|state| state.operator == snapshot.operator);
                let position = position.unwrap_or_else(|| {
                    operators.push(OperatorState {
                        operator: operator.id.clone(),
                        name: operator.name.clone(),
                        schema: operator.state.clone(),
                        subtasks: Vec::new(),
                    });
                    operators.len() - 1
                });
                operators[position].subtasks.push(SubtaskState {
                    subtask: subtask.index,
                    key_groups: snapshot.key_groups,
                    files: snapshot.files,
                    items: snapshot.items,
                    watermark_ms: snapshot.watermark_ms,
                });
            }
        }
        Manifest {
            name: None,
            checkpoint,
            kind: CheckpointKind::Checkpoint,
            attempt: self.attempt,
            triggered_ms: 0,
            completed_ms: 0,
            parallelism: self.parallelism,
            max_parallelism: plan.max_parallelism,
            plan_fingerprint: plan.fingerprint(),
            is_final: false,
            operators,
        }
    }

    /// Tells the worker that a checkpoint is complete.
    pub(crate) fn begin_commit(&mut self, manifest: &Manifest) {
        self.last_completed = Some(manifest.checkpoint);
        self.worker.send(ToWorker::CheckpointCompleted {
            attempt: self.attempt,
            checkpoint: manifest.checkpoint,
        });
    }

    /// Tells the worker that a checkpoint is complete, and waits for the commit.
    pub(crate) async fn complete(&mut self, manifest: &Manifest) {
        let checkpoint = manifest.checkpoint;
        self.begin_commit(manifest);
        loop {
            match self.event().await {
                FromWorker::Committed { checkpoint: of, .. } if of == checkpoint => return,
                FromWorker::Ended { subtask, .. } => {
                    self.ended.insert(subtask);
                }
                FromWorker::Committed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until every subtask has ended.
    pub(crate) async fn wait_ended(&mut self) {
        let subtask_count =
            self.graph.plan().chains.len() * usize::try_from(self.parallelism.get()).unwrap();
        while self.ended.len() < subtask_count {
            match self.event().await {
                FromWorker::Running { .. } => {}
                FromWorker::Ended { subtask, .. } => {
                    self.ended.insert(subtask);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Cancels the attempt; whatever it still said is dropped.
    pub(crate) async fn cancel(&mut self) {
        let attempt = self.attempt;
        self.worker.send(ToWorker::Cancel { attempt });
        while self.event().await != (FromWorker::Cancelled { attempt }) {}
    }

    pub(crate) async fn shutdown(self) {
        self.worker.shutdown().await;
    }
}
