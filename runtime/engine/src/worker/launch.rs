//! Making one subtask on its compute thread, restoring its state, and reporting how it ends.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use tidegate_protocol::{
    Attempt, FailureCategory, FromWorker, KeyGroupRange, OperatorId, OperatorRestore, Parallelism,
    StateFile, SubtaskId,
};
use tidegate_storage::JobFolder;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

use crate::chunk::Element;
use crate::error::{BoxError, PermanentError, RestoreFailure, Result, panic_message};
use crate::graph::{Exchange, JobGraph, Node, NodeBody};
use crate::metrics::OperatorMetrics;
use crate::operator::{OperatorContext, misfit};
use crate::sink::{SinkContext, SinkJob};
use crate::source::{SourceContext, SplitState};
use crate::task::{
    Channel, ChannelOutlet, Control, Head, InputGate, Intake, Outlet, Reporter, SinkOutlet,
    SinkSnapshots, Stage, Subtask, SubtaskProgress, Task, WantedRows,
};

/// Batches of a state file read ahead of the task that applies them.
const RESTORE_BATCHES: usize = 2;

/// The channels that lead to a subtask, and how much it wants from each at a time.
#[derive(Default)]
pub(super) struct InletPlan {
    pub(super) channels: Vec<Receiver<Element>>,
    pub(super) wanted: WantedRows,
}

/// The channels of one output.
pub(super) struct OutletPlan {
    pub(super) channels: Vec<Channel>,
    pub(super) exchange: Exchange,
}

/// Everything a subtask is made of, on its way to its thread.
pub(super) struct Launch {
    pub(super) graph: Arc<JobGraph>,
    pub(super) attempt: Attempt,
    pub(super) parallelism: Parallelism,
    /// Whether the restored checkpoint is the one after all input was read.
    pub(super) is_over: bool,
    pub(super) subtask: SubtaskId,
    pub(super) splits: Vec<SplitState>,
    pub(super) inlet: InletPlan,
    pub(super) outlets: Vec<OutletPlan>,
    pub(super) metrics: Vec<Arc<OperatorMetrics>>,
    pub(super) restores: HashMap<OperatorId, OperatorRestore>,
    pub(super) control: UnboundedReceiver<Control>,
    pub(super) events: UnboundedSender<FromWorker>,
    pub(super) io: tokio::runtime::Handle,
    pub(super) folder: Option<Arc<JobFolder>>,
    pub(super) cancelled: watch::Receiver<()>,
    /// Subtasks that are not ready yet.
    pub(super) waiting: Arc<AtomicUsize>,
    /// Dropped with the task.
    pub(super) alive: Sender<()>,
}

impl Launch {
    /// The task that runs the subtask until it is cancelled or fails.
    pub(super) fn into_task(self) -> Task {
        Box::new(move || {
            let mut cancelled = self.cancelled.clone();
            let alive = self.alive.clone();
            let reporter = Reporter {
                attempt: self.attempt,
                subtask: self.subtask,
                events: self.events.clone(),
            };
            let names = self.names();
            let at_work = Rc::new(Cell::new(0));
            let running = AssertUnwindSafe(self.run(Rc::clone(&at_work))).catch_unwind();
            Box::pin(async move {
                let result = tokio::select! {
                    biased;
                    _ = cancelled.changed() => Ok(Ok(())),
                    result = running => result,
                };
                let operator = || names.get(at_work.get()).or(names.last()).cloned();
                match result {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        reporter.fail(operator(), &*error);
                    }
                    Err(panic) => {
                        let message = panic_message(&*panic);
                        reporter.fail_with(
                            operator(),
                            message,
                            false,
                            FailureCategory::ProgramFailed,
                        );
                    }
                }
                drop(alive);
            })
        })
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        let nodes = &self.graph.chains[self.subtask.chain.0 as usize].nodes;
        nodes.iter().map(|node| &self.graph.nodes[*node])
    }

    /// The names of the chain's operators that can be at work; then, for each output, of the one
    /// it leads to, whose key selector is at work there.
    fn names(&self) -> Vec<String> {
        let works = self
            .nodes()
            .filter(|node| !matches!(node.body, NodeBody::Union));
        let outputs = &self.graph.chains[self.subtask.chain.0 as usize].outputs;
        let heads = outputs.iter().map(|(to, _)| self.graph.head(*to));
        works.chain(heads).map(|node| node.id.to_string()).collect()
    }

    async fn run(self, at_work: Rc<Cell<usize>>) -> Result<()> {
        let (waiting, events) = (Arc::clone(&self.waiting), self.events.clone());
        let (attempt, io, folder) = (self.attempt, self.io.clone(), self.folder.clone());
        let restores = self.restores.clone();
        let mut subtask = self.build(Rc::clone(&at_work))?;
        let head = usize::from(matches!(subtask.head, Head::Source { .. }));
        for (index, stage) in subtask.stages.iter_mut().enumerate() {
            at_work.set(index + head);
            let restore = OperatorId::new(stage.name.as_str()).ok();
            let restore = restore.and_then(|operator| restores.get(&operator));
            if let Some(restore) = restore {
                for file in &restore.files {
                    let folder = folder.clone().ok_or_else(no_folder)?;
                    let reading = Reading { io: &io, folder };
                    let applied = apply(stage, file, restore.key_groups, reading).await;
                    applied.map_err(RestoreFailure::new)?;
                }
            }
            stage.transform.restored();
        }
        if waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = events.send(FromWorker::Running { attempt });
        }
        subtask.run().await
    }

    fn build(mut self, at_work: Rc<Cell<usize>>) -> Result<Subtask> {
        let graph = Arc::clone(&self.graph);
        let split_count = u32::try_from(self.splits.len()).unwrap_or(u32::MAX);
        let nodes = graph.chains[self.subtask.chain.0 as usize].nodes.iter();
        let nodes = nodes.map(|node| &graph.nodes[*node]);
        let mut head = None;
        let mut head_metrics = None;
        let mut stages = Vec::new();
        let mut sink = None;
        for (node, metrics) in nodes.zip(self.metrics.clone()) {
            match &node.body {
                NodeBody::Source(source) => {
                    let context = self.source_context(node, &metrics);
                    let begun_splits = begun(&self.splits);
                    let reader = source.head(std::mem::take(&mut self.splits), context)?;
                    head = Some(Head::Source {
                        operator: node.id.clone(),
                        head: reader,
                        begun_splits,
                    });
                    head_metrics = Some(metrics);
                }
                NodeBody::Union => {}
                NodeBody::Transform(factory) => {
                    at_work.set(stages.len() + usize::from(head.is_some()));
                    let transform = factory(&self.operator_context(node, &metrics));
                    stages.push(Stage {
                        name: node.id.to_string(),
                        transform,
                        metrics,
                    });
                }
                NodeBody::Sink(any) => {
                    at_work.set(stages.len() + usize::from(head.is_some()));
                    let writer = any.writer(self.sink_context(node))?;
                    sink = Some(SinkOutlet {
                        operator: node.id.to_string(),
                        writer,
                        snapshots: SinkSnapshots::new(Arc::clone(any)),
                    });
                }
            }
        }
        let InletPlan { channels, wanted } = std::mem::take(&mut self.inlet);
        let outlet = match sink {
            Some(sink) => Outlet::Sink(sink),
            None => {
                let first = stages.len() + usize::from(head.is_some());
                Outlet::Channels(self.channel_outlets(&at_work, first))
            }
        };
        let intake = Intake::new(wanted, channels.len());
        Ok(Subtask {
            head: head.unwrap_or_else(|| Head::Gate(InputGate::new(channels))),
            stages,
            outlet,
            intake,
            control: self.control,
            reporter: Reporter {
                attempt: self.attempt,
                subtask: self.subtask,
                events: self.events,
            },
            io: self.io,
            folder: self.folder,
            head_metrics,
            outlet_metrics: self.metrics.pop().unwrap_or_default(),
            progress: SubtaskProgress::new(at_work, self.is_over, split_count),
        })
    }

    fn source_context(&self, node: &Node, metrics: &Arc<OperatorMetrics>) -> SourceContext {
        SourceContext {
            operator: node.id.to_string(),
            subtask_index: self.subtask.index.0,
            parallelism: self.parallelism.get(),
            io: self.io.clone(),
            metrics: Arc::clone(metrics),
        }
    }

    fn sink_context(&self, node: &Node) -> SinkContext {
        SinkContext {
            job: SinkJob::of(self.folder.as_ref()),
            operator: node.id.to_string(),
            subtask_index: self.subtask.index.0,
            parallelism: self.parallelism.get(),
            attempt: self.attempt,
            io: self.io.clone(),
        }
    }

    fn operator_context(&self, node: &Node, metrics: &Arc<OperatorMetrics>) -> OperatorContext {
        let (max, index) = (self.graph.max, self.subtask.index);
        OperatorContext {
            operator: node.id.to_string(),
            key_groups: KeyGroupRange::of_subtask(max, self.parallelism, index),
            max,
            metrics: Arc::clone(metrics),
            restore: self.restores.get(&node.id).cloned(),
        }
    }

    /// The outputs, whose places among the names begin with `first`.
    fn channel_outlets(&mut self, at_work: &Rc<Cell<usize>>, first: usize) -> Vec<ChannelOutlet> {
        let (parallelism, max) = (self.parallelism, self.graph.max);
        let outlet = |(plan, place): (OutletPlan, usize)| ChannelOutlet {
            at_work: Rc::clone(at_work),
            place,
            channels: plan.channels,
            partitioner: match plan.exchange {
                Exchange::Forward => None,
                Exchange::Hash(factory) => Some(factory(parallelism, max)),
            },
            ready: Vec::new(),
            wanted_rows: Vec::new(),
        };
        std::mem::take(&mut self.outlets)
            .into_iter()
            .zip(first..)
            .map(outlet)
            .collect()
    }
}

/// The splits that go on in their middle.
fn begun(splits: &[SplitState]) -> Vec<u32> {
    let states = splits.iter().zip(0..);
    states
        .filter(|(state, _)| state.position.is_some() && !state.is_ended)
        .map(|(_, index)| index)
        .collect()
}

fn no_folder() -> BoxError {
    PermanentError::new("state is to be restored, but the worker was given no storage").into()
}

/// Where state files are read.
struct Reading<'a> {
    io: &'a tokio::runtime::Handle,
    folder: Arc<JobFolder>,
}

/// Applies one state file: read on the I/O runtime, a few batches ahead of the compute thread.
async fn apply(
    stage: &mut Stage,
    file: &StateFile,
    key_groups: KeyGroupRange,
    reading: Reading<'_>,
) -> Result<()> {
    let (batches, mut queue) = mpsc::channel(RESTORE_BATCHES);
    let Reading { io, folder } = reading;
    let opened = file.clone();
    io.spawn(async move {
        let mut reader = match folder.open_state_file(&opened, key_groups).await {
            Ok(reader) => reader,
            Err(error) => return drop(batches.send(Err(error)).await),
        };
        while let Some(batch) = reader.next().await.transpose() {
            let is_failed = batch.is_err();
            if batches.send(batch).await.is_err() || is_failed {
                return;
            }
        }
    });
    while let Some(batch) = queue.recv().await {
        let batch = batch?;
        let applied = stage.transform.restore(file, &batch);
        applied.ok_or_else(|| misfit(file, &stage.name))?;
    }
    Ok(())
}
