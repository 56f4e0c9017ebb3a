//! What a worker does: deploy, restore, work, snapshot, commit, cancel.

use super::dataflow::{Dataflow, Step, WorldView, take_pending};
use super::store::transaction_of;
use super::task::{Barrier, Body};
use super::world::{Happening, World};
use crate::{Attempt, CheckpointId, Deployment, FromWorker, SubtaskId, ToWorker, WorkerId};

impl World {
    pub(super) fn work(
        &mut self,
        id: u32,
        worker: WorkerId,
        message: ToWorker,
    ) -> Result<(), String> {
        if let Some(until_ms) = self.asleep_until(id) {
            self.at(
                until_ms,
                Happening::Work {
                    process: id,
                    worker,
                    message,
                },
            );
            return Ok(());
        }
        let is_there = |world: &Self| {
            world
                .processes
                .get(&id)
                .is_some_and(|it| it.workers.contains_key(&worker))
        };
        if !is_there(self) {
            return Ok(());
        }
        match message {
            ToWorker::Deploy(deployment) => self.deploy(id, worker, deployment),
            ToWorker::TriggerCheckpoint {
                attempt,
                checkpoint,
                last_completed,
                is_last,
                ..
            } => {
                let barrier = Barrier {
                    checkpoint,
                    last_completed,
                    is_last,
                };
                self.inject((id, worker, attempt), barrier);
            }
            ToWorker::CheckpointCompleted {
                attempt,
                checkpoint,
            } => {
                let wait_ms = self.moment();
                let commit = Happening::Commit {
                    process: id,
                    worker,
                    attempt,
                    checkpoint,
                };
                self.after(wait_ms, commit);
            }
            ToWorker::CheckpointAborted { .. } => {}
            // It hangs in user code; its coordinator will count it as lost.
            ToWorker::Cancel { .. } if self.random.chance(self.faults.hang) => {}
            ToWorker::Cancel { attempt } => {
                if let Some(process) = self.processes.get_mut(&id) {
                    if let Some(dataflow) = process.dataflows.get_mut(&attempt) {
                        dataflow.drop_worker(worker);
                    }
                    if let Some(link) = process.workers.get_mut(&worker) {
                        link.deployment = None;
                    }
                }
                self.say(id, worker, FromWorker::Cancelled { attempt });
            }
        }
        Ok(())
    }

    fn deploy(&mut self, id: u32, worker: WorkerId, deployment: Box<Deployment>) {
        let attempt = deployment.attempt;
        if let Some(process) = self.processes.get_mut(&id) {
            for dataflow in process.dataflows.values_mut() {
                dataflow.drop_worker(worker);
            }
            process
                .dataflows
                .retain(|_, dataflow| !dataflow.tasks.is_empty());
            let parallelism = deployment.parallelism.get();
            let new = || Dataflow::new(parallelism);
            process.dataflows.entry(attempt).or_insert_with(new);
            if let Some(link) = process.workers.get_mut(&worker) {
                link.deployment = Some(deployment);
            }
        }
        let wait_ms = self.moment();
        self.after(
            wait_ms,
            Happening::Restored {
                process: id,
                worker,
                attempt,
            },
        );
    }

    /// The state is read: what was pre-committed is committed, then the tasks run.
    pub(super) fn restored(
        &mut self,
        id: u32,
        worker: WorkerId,
        attempt: Attempt,
    ) -> Result<(), String> {
        if let Some(until_ms) = self.asleep_until(id) {
            self.at(
                until_ms,
                Happening::Restored {
                    process: id,
                    worker,
                    attempt,
                },
            );
            return Ok(());
        }
        let link = self
            .processes
            .get(&id)
            .and_then(|it| it.workers.get(&worker));
        let deployment = link.and_then(|link| link.deployment.clone());
        let Some(deployment) = deployment.filter(|it| it.attempt == attempt) else {
            return Ok(());
        };
        let parallelism = deployment.parallelism.get();
        let mut tasks = Vec::new();
        for deployed in deployment.subtasks.iter().filter(|it| it.worker == worker) {
            for restore in &deployed.operators {
                if deployed.subtask.chain.0 == 2 {
                    for item in &restore.items {
                        if self.random.chance(self.faults.crash) {
                            self.kill(id);
                            return Ok(());
                        }
                        self.make_visible(transaction_of(item))?;
                    }
                }
                match self.build_task(deployed.subtask, restore, parallelism) {
                    Ok(task) => tasks.push(task),
                    Err(reason) => {
                        self.fail(id, worker, attempt, reason);
                        return Ok(());
                    }
                }
            }
        }
        if let Some(process) = self.processes.get_mut(&id) {
            let new = || Dataflow::new(parallelism);
            let dataflow = process.dataflows.entry(attempt).or_insert_with(new);
            for task in tasks {
                dataflow.tasks.insert(task.subtask, (worker, task));
            }
        }
        self.say(id, worker, FromWorker::Running { attempt });
        self.keep_stepping(id);
        Ok(())
    }

    pub(super) fn make_visible(
        &mut self,
        name: super::store::TransactionName,
    ) -> Result<(), String> {
        self.note(format!("commit of {name:?}"));
        self.oracle.check_commit(name)?;
        self.store.commit(name, &self.input)
    }

    fn fail(&mut self, id: u32, worker: WorkerId, attempt: Attempt, message: String) {
        if let Some(process) = self.processes.get_mut(&id)
            && let Some(dataflow) = process.dataflows.get_mut(&attempt)
        {
            dataflow.drop_worker(worker);
        }
        let message = FromWorker::Failed {
            attempt,
            subtask: None,
            operator: None,
            message,
            is_permanent: false,
            category: crate::FailureCategory::ProgramFailed,
        };
        self.say(id, worker, message);
    }

    pub(super) fn keep_stepping(&mut self, id: u32) {
        let wait_ms = self.moment();
        if let Some(process) = self.processes.get_mut(&id)
            && !process.is_stepping
        {
            process.is_stepping = true;
            self.after(wait_ms, Happening::Step { process: id });
        }
    }

    /// All tasks of a process do a little, in some order, as long as there is something to do.
    pub(super) fn step(&mut self, id: u32) {
        if let Some(until_ms) = self.asleep_until(id) {
            self.at(until_ms, Happening::Step { process: id });
            return;
        }
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        process.is_stepping = false;
        let subtasks: Vec<(Attempt, SubtaskId)> = process
            .dataflows
            .iter()
            .flat_map(|(attempt, dataflow)| dataflow.tasks.keys().map(|task| (*attempt, *task)))
            .collect();
        if subtasks.is_empty() {
            return;
        }
        let workers: Vec<WorkerId> = process.workers.keys().copied().collect();
        let rotation = self.random.index(subtasks.len());
        let mut has_worked = false;
        for offset in 0..subtasks.len() {
            let (attempt, subtask) = subtasks[(rotation + offset) % subtasks.len()];
            for _ in 0..self.random.below(4) {
                let is_done = self.step_task(id, attempt, subtask);
                has_worked |= !is_done;
                if is_done {
                    break;
                }
            }
        }
        if self.random.chance(self.faults.worker_loss) && !workers.is_empty() {
            let worker = workers[self.random.index(workers.len())];
            self.lose_worker(id, worker);
        }
        // Sources may have stood still for this step only.
        if has_worked || !self.is_calm || self.has_open_source(id) {
            self.keep_stepping(id);
        }
    }

    fn has_open_source(&self, id: u32) -> bool {
        let Some(process) = self.processes.get(&id) else {
            return false;
        };
        let tasks = process
            .dataflows
            .values()
            .flat_map(|dataflow| dataflow.tasks.values());
        tasks.into_iter().any(|(_, task)| match &task.body {
            Body::Source(source) => !source.has_ended && !source.has_stopped,
            Body::Keyed(_) | Body::Sink(_) => false,
        })
    }

    /// One item of work; whether there was none.
    fn step_task(&mut self, id: u32, attempt: Attempt, subtask: SubtaskId) -> bool {
        let choice = self.random.index(16);
        // While things go wrong, the input flows slowly enough to last.
        let is_open = self.is_calm || self.random.below(12) == 0;
        let fails = self.random.chance(self.faults.task_failure) && self.random.below(10) == 0;
        let view = WorldView {
            input: &self.input,
            is_open,
        };
        let Some(process) = self.processes.get_mut(&id) else {
            return true;
        };
        let Some(dataflow) = process.dataflows.get_mut(&attempt) else {
            return true;
        };
        let Some((worker, _)) = dataflow.tasks.get(&subtask) else {
            return true;
        };
        let worker = *worker;
        if fails {
            self.fail(id, worker, attempt, "a bad record".to_owned());
            return true;
        }
        let step = dataflow.step(subtask, choice, &view);
        let late = match dataflow.tasks.get_mut(&subtask) {
            Some((_, task)) if !matches!(step, Step::Barrier(_)) => task.take_late_freeze(),
            _ => None,
        };
        if let Some(barrier) = late {
            self.freeze((id, worker, attempt), subtask, barrier);
        }
        match step {
            Step::Nothing => return true,
            Step::Worked => {}
            Step::Ended => self.say(id, worker, FromWorker::Ended { attempt, subtask }),
            Step::Barrier(barrier) => {
                self.pass((id, worker, attempt), subtask, barrier);
            }
        }
        false
    }

    /// The sinks of a worker commit, one transaction after the other.
    pub(super) fn commit(
        &mut self,
        id: u32,
        worker: WorkerId,
        attempt: Attempt,
        checkpoint: CheckpointId,
    ) -> Result<(), String> {
        if let Some(until_ms) = self.asleep_until(id) {
            self.at(
                until_ms,
                Happening::Commit {
                    process: id,
                    worker,
                    attempt,
                    checkpoint,
                },
            );
            return Ok(());
        }
        let Some(process) = self.processes.get_mut(&id) else {
            return Ok(());
        };
        let Some(dataflow) = process.dataflows.get_mut(&attempt) else {
            return Ok(());
        };
        let mut names = Vec::new();
        for (on, task) in dataflow.tasks.values_mut() {
            if let Body::Sink(sink) = &mut task.body
                && *on == worker
            {
                names.extend(take_pending(sink, checkpoint));
            }
        }
        for name in names {
            if self.random.chance(self.faults.crash) {
                self.kill(id);
                return Ok(());
            }
            self.make_visible(name)?;
        }
        self.say(
            id,
            worker,
            FromWorker::Committed {
                attempt,
                checkpoint,
            },
        );
        Ok(())
    }
}
