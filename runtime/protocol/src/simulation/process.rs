//! A process: the production coordinator, its clock, its workers; and what its actions lead to.

use std::collections::BTreeMap;

use super::collector::Collector;
use super::dataflow::Dataflow;
use super::world::{Happening, World};
use crate::{
    Action, Attempt, Coordinator, CoordinatorConfig, Deployment, Event, FromWorker, JobOutcome,
    Parallelism, RestartPolicy, ToWorker, WorkerId,
};

/// One worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    /// What it was told to run last.
    pub(super) deployment: Option<Box<Deployment>>,
    /// Messages keep their order, each way.
    last_told_ms: i64,
    last_said_ms: i64,
}

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    coordinator: Coordinator,
    /// Its clock, against the world's.
    skew_ms: i64,
    asleep_until_ms: i64,
    timer: u64,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    next_worker: u64,
    pub(super) dataflows: BTreeMap<Attempt, Dataflow>,
    pub(super) is_stepping: bool,
}

/// How far a clock may be set at once, in steps of work.
const CLOCK_STEPS: i64 = 200;
/// The greatest parallelism of a process's job.
pub(super) const MAX_PARALLELISM_USED: i64 = 4;

impl World {
    /// A process that runs the job.
    pub(super) fn start_process(&mut self, generation: u64) {
        let id = self.add_process(generation);
        for _ in 0..self.random.between(1, 2) {
            let wait_ms = self.moment();
            self.after(wait_ms, Happening::Join { process: id });
        }
    }

    /// A process that has no workers yet.
    pub(super) fn add_process(&mut self, generation: u64) -> u32 {
        let id = self.next_process;
        self.next_process += 1;
        let parallelism = self.random.between(1, MAX_PARALLELISM_USED) as u32;
        let scale = self.scale_ms as u64;
        let config = CoordinatorConfig {
            parallelism: Parallelism::new(parallelism).unwrap(),
            checkpoint_interval_ms: Some(scale * self.random.between(3, 12) as u64),
            checkpoint_timeout_ms: scale * 40,
            min_pause_ms: scale * self.random.between(0, 3) as u64,
            retained_checkpoints: self.random.between(1, 3) as u32,
            restart: RestartPolicy {
                initial_backoff_ms: scale,
                max_backoff_ms: scale * 4,
                max_restarts: None,
                reset_after_ms: scale * 20,
            },
            start_from: self.start_from.clone(),
            start_from_generation: None,
            start_generation: generation,
            writer: format!("process {id} of start {generation}"),
            nonce_seed: self.random.next(),
        };
        let process = Process {
            coordinator: Coordinator::new(config, self.plan.clone()),
            skew_ms: self.random.between(-3_600_000, 3_600_000),
            asleep_until_ms: 0,
            timer: 0,
            workers: BTreeMap::new(),
            next_worker: 1,
            dataflows: BTreeMap::new(),
            is_stepping: false,
        };
        self.processes.insert(id, process);
        self.tell_after(0, id, Event::Start);
        id
    }

    /// A worker with slots for every subtask, so that one is enough.
    pub(super) fn join(&mut self, id: u32) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let worker = WorkerId::new(process.next_worker).unwrap();
        process.next_worker += 1;
        process.workers.insert(worker, Worker::default());
        let event = Event::WorkerJoined {
            worker,
            slot_count: MAX_PARALLELISM_USED as u32,
        };
        self.tell_after(0, id, event);
    }

    pub(super) fn lose_worker(&mut self, id: u32, worker: WorkerId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if process.workers.remove(&worker).is_none() {
            return;
        }
        for dataflow in process.dataflows.values_mut() {
            dataflow.drop_worker(worker);
        }
        let wait_ms = self.moment();
        let event = Event::WorkerLost {
            worker,
            reason: "connection lost".to_owned(),
        };
        self.tell_after(wait_ms, id, event);
        let wait_ms = wait_ms + self.moment();
        self.after(wait_ms, Happening::Join { process: id });
    }

    pub(super) fn kill(&mut self, id: u32) {
        self.note(format!("process {id} dies"));
        self.processes.remove(&id);
    }

    /// Whether a process sleeps now; what would have happened to it happens when it wakes.
    pub(super) fn asleep_until(&mut self, id: u32) -> Option<i64> {
        let falls_asleep = self.random.chance(self.faults.sleep);
        let wait_ms = if falls_asleep { self.long_while() } else { 0 };
        let now_ms = self.now_ms;
        let process = self.processes.get_mut(&id)?;
        // Who sleeps already sleeps on, so that nothing overtakes what waits for it.
        if falls_asleep && process.asleep_until_ms <= now_ms {
            process.asleep_until_ms = now_ms + wait_ms;
        }
        (process.asleep_until_ms > now_ms).then_some(process.asleep_until_ms)
    }

    pub(super) fn tell_after(&mut self, wait_ms: i64, process: u32, event: Event) {
        let timer = None;
        self.after(
            wait_ms,
            Happening::Tell {
                process,
                event,
                timer,
            },
        );
    }

    pub(super) fn tell(&mut self, id: u32, event: Event, timer: Option<u64>) -> Result<(), String> {
        if let Some(until_ms) = self.asleep_until(id) {
            self.at(
                until_ms,
                Happening::Tell {
                    process: id,
                    event,
                    timer,
                },
            );
            return Ok(());
        }
        let now_ms = self.now_ms;
        let Some(process) = self.processes.get_mut(&id) else {
            return Ok(());
        };
        if timer.is_some_and(|timer| timer != process.timer) {
            return Ok(());
        }
        if self.random.chance(self.faults.clock) {
            let most_ms = CLOCK_STEPS * self.scale_ms;
            process.skew_ms += self.random.between(-most_ms, most_ms);
        }
        let actions = process.coordinator.handle(now_ms + process.skew_ms, event);
        for action in actions {
            // A crash may come between any two actions.
            if self.random.chance(self.faults.crash) {
                self.kill(id);
                return Ok(());
            }
            self.act(id, action)?;
        }
        Ok(())
    }

    fn act(&mut self, id: u32, action: Action) -> Result<(), String> {
        match action {
            Action::ListLog { request } => {
                let wait_ms = self.log_wait();
                self.after(
                    wait_ms,
                    Happening::List {
                        process: id,
                        request,
                    },
                );
            }
            Action::ReadEntry { request, number } => {
                let wait_ms = self.log_wait();
                self.after(
                    wait_ms,
                    Happening::Read {
                        process: id,
                        request,
                        number,
                    },
                );
            }
            Action::Append { request, entry } => self.append(id, request, &entry),
            Action::Send { worker, message } => self.send(id, worker, message),
            Action::SetTimer { at_ms } => self.set_timer(id, at_ms),
            Action::CollectGarbage {
                request,
                entries,
                keep_files,
                keep_from,
                attempt,
                keep_before,
            } => {
                let collector = Collector {
                    process: id,
                    request,
                    entries,
                    keep_files,
                    keep_from,
                    attempt,
                    keep_before,
                    files: None,
                };
                let wait_ms = self.moment();
                self.after(wait_ms, Happening::Collect(Box::new(collector)));
            }
            Action::CheckpointCompleted { entry } => {
                self.note(format!("process {id} reports entry {}", entry.number));
                return self.oracle.report(&entry, &self.store);
            }
            Action::Finish(outcome) => return self.finished(id, &outcome),
            Action::Report(_)
            | Action::CheckpointsReleased { .. }
            | Action::CheckpointFailed { .. }
            | Action::LogUnavailable { .. }
            | Action::CommandDone { .. } => {}
        }
        Ok(())
    }

    fn set_timer(&mut self, id: u32, at_ms: i64) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        process.timer += 1;
        let timer = Some(process.timer);
        let at_ms = at_ms - process.skew_ms;
        self.at(
            at_ms,
            Happening::Tell {
                process: id,
                event: Event::Tick,
                timer,
            },
        );
    }

    fn send(&mut self, id: u32, worker: WorkerId, message: ToWorker) {
        let wait_ms = self.moment();
        let now_ms = self.now_ms;
        let found = self
            .processes
            .get_mut(&id)
            .and_then(|it| it.workers.get_mut(&worker));
        if let Some(link) = found {
            link.last_told_ms = link.last_told_ms.max(now_ms + wait_ms);
            let at_ms = link.last_told_ms;
            self.at(
                at_ms,
                Happening::Work {
                    process: id,
                    worker,
                    message,
                },
            );
        }
    }

    /// A worker says something to its coordinator.
    pub(super) fn say(&mut self, id: u32, worker: WorkerId, message: FromWorker) {
        let wait_ms = self.moment();
        let now_ms = self.now_ms;
        let found = self
            .processes
            .get_mut(&id)
            .and_then(|it| it.workers.get_mut(&worker));
        if let Some(link) = found {
            link.last_said_ms = link.last_said_ms.max(now_ms + wait_ms);
            let at_ms = link.last_said_ms;
            let event = Event::Worker { worker, message };
            self.at(
                at_ms,
                Happening::Tell {
                    process: id,
                    event,
                    timer: None,
                },
            );
        }
    }

    fn finished(&mut self, id: u32, outcome: &JobOutcome) -> Result<(), String> {
        self.note(format!("process {id} ends: {outcome:?}"));
        self.processes.remove(&id);
        match outcome {
            JobOutcome::Finished { .. } => {
                self.is_finished = true;
                self.oracle.check_end(&self.store, &self.input)
            }
            JobOutcome::Stopped {
                savepoint: Some(savepoint),
            } => self.oracle.check_stop(&self.store, *savepoint),
            JobOutcome::Stopped { savepoint: None } | JobOutcome::Fenced { .. } => Ok(()),
            JobOutcome::Failed { reason, .. } => {
                // A process may give up a log that is slow or moves on all the time; that the job
                // itself does not is what the bound on the whole run shows.
                let is_expected = reason.contains("could not be asked")
                    || reason.contains("no worker dropped its tasks");
                if is_expected {
                    Ok(())
                } else {
                    Err(format!("the job failed: {reason}"))
                }
            }
        }
    }
}
