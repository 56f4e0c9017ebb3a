//! From a deployment to running subtasks.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures::FutureExt;
use tidegate_protocol::{
    ChainId, Deployment, OperatorId, OperatorRestore, SubtaskDeployment, SubtaskId, SubtaskIndex,
};
use tokio::sync::{mpsc, watch};

use super::launch::{InletPlan, Launch, OutletPlan};
use super::{DeployError, Office, Running, SubtaskMetrics, splits};
use crate::chunk::MAX_WATERMARK;
use crate::error::{PermanentError, Result, panic_message};
use crate::graph::{Exchange, NodeBody};
use crate::metrics::OperatorMetrics;
use crate::sink::{SinkJob, SinkRecovery};
use crate::source::SplitState;
use crate::task::{CHANNEL_CHUNKS, Channel, Control};

/// The ends of all channels between chains.
struct Channels {
    /// For each subtask the receiving ends.
    inlets: HashMap<SubtaskId, InletPlan>,
    /// For each subtask, for each of its chain's outputs in order, the sending ends.
    senders: HashMap<SubtaskId, VecDeque<Vec<Channel>>>,
}

/// For each source, the splits of each of its subtasks.
type AssignedSplits = HashMap<OperatorId, Vec<Vec<SplitState>>>;

impl Office {
    /// Commits what the restored checkpoint holds, finds splits, and starts every subtask.
    pub(super) async fn deploy(&mut self, deployment: Deployment) -> Result<(), DeployError> {
        let parallelism = deployment.parallelism.get();
        if parallelism > self.config.slot_count {
            return Err(DeployError {
                operator: None,
                error: PermanentError::new(format!(
                    "parallelism {parallelism} needs as many slots, but this worker has {}",
                    self.config.slot_count
                ))
                .into(),
            });
        }
        self.clear_gauges_of_others(&deployment);
        self.start_threads(parallelism)?;
        self.recover_sinks(&deployment).await?;
        let mut splits = self.assign_splits(&deployment).await?;
        let mut channels = self.connect(parallelism);
        let (cancel, cancelled) = watch::channel(());
        let (alive_guard, alive) = mpsc::channel(1);
        let waiting = Arc::new(AtomicUsize::new(deployment.subtasks.len()));
        let mut running = Running {
            attempt: deployment.attempt,
            cancel,
            alive,
            sources: Vec::new(),
            sinks: Vec::new(),
            _others: Vec::new(),
        };
        for subtask in deployment.subtasks {
            let (control, control_queue) = mpsc::unbounded_channel();
            self.file_control(&mut running, subtask.subtask.chain, control);
            let launch = Launch {
                graph: Arc::clone(&self.graph),
                attempt: deployment.attempt,
                parallelism: deployment.parallelism,
                is_over: deployment.is_final,
                splits: self.take_splits(&mut splits, subtask.subtask),
                inlet: channels.inlets.remove(&subtask.subtask).unwrap_or_default(),
                outlets: self.outlets(&mut channels, subtask.subtask),
                metrics: self.metrics_of(subtask.subtask),
                restores: restores(&subtask),
                subtask: subtask.subtask,
                control: control_queue,
                events: self.events.clone(),
                io: self.config.io.clone(),
                folder: self.config.folder.clone(),
                cancelled: cancelled.clone(),
                waiting: Arc::clone(&waiting),
                alive: alive_guard.clone(),
            };
            let slot = usize::try_from(launch.subtask.index.0).unwrap_or_default();
            self.slots.spawn(slot, launch.into_task());
        }
        self.running = Some(running);
        Ok(())
    }

    fn start_threads(&mut self, parallelism: u32) -> Result<(), DeployError> {
        let count = usize::try_from(parallelism).unwrap_or(usize::MAX);
        self.slots.ensure(count).map_err(|error| DeployError {
            operator: None,
            error: format!(
                "the system does not start {count} compute threads: {error}; lower the \
                 parallelism, or raise what limits threads (`ulimit -u`, the pod's pids limit, \
                 memory)"
            )
            .into(),
        })
    }

    fn file_control(
        &self,
        running: &mut Running,
        chain: ChainId,
        control: mpsc::UnboundedSender<Control>,
    ) {
        let nodes = &self.graph.chains[chain.0 as usize].nodes;
        let is_sink = nodes
            .last()
            .is_some_and(|node| matches!(self.graph.nodes[*node].body, NodeBody::Sink(_)));
        if matches!(self.graph.head(chain).body, NodeBody::Source(_)) {
            running.sources.push(control.clone());
        }
        if is_sink {
            running.sinks.push(control.clone());
        }
        running._others.push(control);
    }

    async fn recover_sinks(&self, deployment: &Deployment) -> Result<(), DeployError> {
        for node in &self.graph.nodes {
            let NodeBody::Sink(sink) = &node.body else {
                continue;
            };
            let own = restores_of(deployment).filter(|restore| restore.operator == node.id);
            let transactions = own
                .flat_map(|restore| restore.items.iter().cloned())
                .collect();
            let recovery = SinkRecovery {
                job: SinkJob::of(self.config.folder.as_ref()),
                operator: node.id.to_string(),
                attempt: deployment.attempt,
            };
            let recovery = async { sink.recover(recovery, transactions).await };
            let recovered = AssertUnwindSafe(recovery).catch_unwind().await;
            recovered
                .unwrap_or_else(|panic| Err(panic_message(&*panic).into()))
                .map_err(|error| DeployError::of(&node.id, error))?;
        }
        Ok(())
    }

    async fn assign_splits(&self, deployment: &Deployment) -> Result<AssignedSplits, DeployError> {
        let mut assigned = AssignedSplits::new();
        // Where operators know that input is over, what is new would be late.
        let mut restores = restores_of(deployment);
        let is_over = restores.any(|restore| restore.watermark_ms == Some(MAX_WATERMARK));
        for node in &self.graph.nodes {
            let NodeBody::Source(source) = &node.body else {
                continue;
            };
            let failed = |error| DeployError::of(&node.id, error);
            let known = known_splits(deployment, &node.id).map_err(|error| failed(error.into()))?;
            // What has been read to its end is only asked to end: what is new is not its any more.
            let found = if deployment.is_final || is_over && has_ended(&known) {
                Vec::new()
            } else {
                let source = Arc::clone(source);
                let known = known.clone();
                let discovery = tokio::task::spawn_blocking(move || source.discover(&known));
                discovery
                    .await
                    .unwrap_or_else(|error| match error.try_into_panic() {
                        Ok(panic) => Err(panic_message(&*panic).into()),
                        Err(error) => Err(error.into()),
                    })
                    .map_err(failed)?
            };
            let splits = splits::assign(known, found, deployment.parallelism.get());
            assigned.insert(node.id.clone(), splits);
        }
        Ok(assigned)
    }

    fn take_splits(&self, splits: &mut AssignedSplits, subtask: SubtaskId) -> Vec<SplitState> {
        let index = subtask.index.0 as usize;
        let of_source = splits.get_mut(&self.graph.head(subtask.chain).id);
        of_source
            .and_then(|all| all.get_mut(index))
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Makes the channels of every edge between chains. Chains list their inputs in the order in
    /// which the sending chains list their outputs.
    fn connect(&self, parallelism: u32) -> Channels {
        let mut channels = Channels {
            inlets: HashMap::new(),
            senders: HashMap::new(),
        };
        let subtask = |chain, index| SubtaskId {
            chain,
            index: SubtaskIndex(index),
        };
        for (chain, to) in self.graph.chains.iter().zip(0..) {
            for (from, is_all_to_all) in &chain.inputs {
                for sender in 0..parallelism {
                    let targets = if *is_all_to_all {
                        0..parallelism
                    } else {
                        sender..sender + 1
                    };
                    let mut ends = Vec::new();
                    for target in targets {
                        let (sender, receiver) = mpsc::channel(CHANNEL_CHUNKS);
                        let target = subtask(ChainId(to), target);
                        let inlet = channels.inlets.entry(target).or_default();
                        inlet.channels.push(receiver);
                        let wanted = inlet.wanted.clone();
                        ends.push(Channel { sender, wanted });
                    }
                    let sending = subtask(*from, sender);
                    channels.senders.entry(sending).or_default().push_back(ends);
                }
            }
        }
        channels
    }

    fn outlets(&self, channels: &mut Channels, subtask: SubtaskId) -> Vec<OutletPlan> {
        let mut senders = channels.senders.remove(&subtask).unwrap_or_default();
        let outputs = &self.graph.chains[subtask.chain.0 as usize].outputs;
        let plan = |(_, exchange): &(ChainId, Exchange)| OutletPlan {
            channels: senders.pop_front().unwrap_or_default(),
            exchange: exchange.clone(),
        };
        outputs.iter().map(plan).collect()
    }

    /// The counts of a subtask's operators, in the order of its chain; the same ones as in an
    /// earlier attempt.
    fn metrics_of(&self, subtask: SubtaskId) -> Vec<Arc<OperatorMetrics>> {
        let mut metrics = self
            .metrics
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let nodes = &self.graph.chains[subtask.chain.0 as usize].nodes;
        let index = subtask.index.0;
        let mut of_node = |node: &usize| {
            let node = &self.graph.nodes[*node];
            let entry = metrics
                .entry((node.id.clone(), index))
                .or_insert_with(|| SubtaskMetrics {
                    operator: node.id.clone(),
                    kind: node.kind(),
                    subtask_index: index,
                    metrics: Arc::default(),
                });
            Arc::clone(&entry.metrics)
        };
        nodes.iter().map(&mut of_node).collect()
    }

    /// Zeroes the gauges of subtasks that are none of the deployment's, as after a rescale to
    /// fewer: nobody would set them any more.
    fn clear_gauges_of_others(&self, deployment: &Deployment) {
        let deployed = deployment.subtasks.iter().flat_map(|deployed| {
            let SubtaskId { chain, index } = deployed.subtask;
            let nodes = self.graph.chains[chain.0 as usize].nodes.iter();
            nodes.map(move |node| (&self.graph.nodes[*node].id, index.0))
        });
        let deployed: HashSet<_> = deployed.collect();
        let metrics = self.metrics.lock();
        let metrics = metrics.unwrap_or_else(std::sync::PoisonError::into_inner);
        for subtask in metrics.values() {
            if !deployed.contains(&(&subtask.operator, subtask.subtask_index)) {
                subtask.metrics.clear_gauges();
            }
        }
    }
}

/// The splits that the restored checkpoint knows; every subtask is given all of them.
fn has_ended(known: &[SplitState]) -> bool {
    !known.is_empty() && known.iter().all(|split| split.is_ended)
}

fn restores_of(deployment: &Deployment) -> impl Iterator<Item = &OperatorRestore> {
    let subtasks = deployment.subtasks.iter();
    subtasks.flat_map(|subtask| &subtask.operators)
}

fn known_splits(
    deployment: &Deployment,
    source: &OperatorId,
) -> Result<Vec<SplitState>, PermanentError> {
    let own = restores_of(deployment).find(|restore| restore.operator == *source);
    let items = own
        .map(|restore| restore.items.as_slice())
        .unwrap_or_default();
    let parse = |item: &serde_json::Value| {
        serde_json::from_value(item.clone()).map_err(|error| {
            let message = format!(
                "the restored checkpoint's position `{item}` is not one of source `{source}`; \
                 restore it with the program that wrote it"
            );
            PermanentError::with_source(message, error)
        })
    };
    items.iter().map(parse).collect()
}

fn restores(subtask: &SubtaskDeployment) -> HashMap<OperatorId, OperatorRestore> {
    let own = subtask.operators.iter();
    own.map(|restore| (restore.operator.clone(), restore.clone()))
        .collect()
}
