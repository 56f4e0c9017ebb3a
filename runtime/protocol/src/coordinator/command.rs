//! What users ask for, until it is done.

use std::collections::VecDeque;

use super::checkpoint::Purpose;
use super::placement::{place, slot_count};
use super::running::Stage;
use super::{Coordinator, Phase};
use crate::{Action, CheckpointId, CheckpointKind, Command, JobOutcome, Parallelism, StopMode};

/// How many savepoints, and how many releases, may wait.
const MAX_WAITING: usize = 64;

/// A stop that was asked for.
#[derive(Debug)]
pub(super) struct Stop {
    requests: Vec<u64>,
    mode: StopMode,
    /// The last checkpoint, once it counts.
    pub(super) savepoint: Option<CheckpointId>,
}

/// A savepoint that was asked for.
#[derive(Debug)]
pub(super) struct SavepointWish {
    request: u64,
    name: Option<String>,
}

/// Commands that wait for the job to be able to carry them out.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) savepoints: VecDeque<SavepointWish>,
    pub(super) releases: VecDeque<(u64, CheckpointId)>,
    pub(super) rescale: Option<(u64, Parallelism)>,
    pub(super) stop: Option<Stop>,
}

impl Wishes {
    /// Takes the savepoint wishes that one savepoint can fulfil, and its name: all without a name,
    /// and those with the first name.
    pub(super) fn take_savepoints(&mut self) -> (Option<String>, Vec<u64>) {
        let name = self.savepoints.iter().find_map(|wish| wish.name.clone());
        let waiting = std::mem::take(&mut self.savepoints).into_iter();
        let (taken, left): (Vec<_>, Vec<_>) =
            waiting.partition(|wish| wish.name.is_none() || wish.name == name);
        self.savepoints = left.into();
        (name, taken.into_iter().map(|wish| wish.request).collect())
    }

    pub(super) fn stops_with_savepoint(&self) -> bool {
        let stop = self.stop.as_ref();
        stop.is_some_and(|stop| stop.mode == StopMode::Savepoint)
    }
}

impl Coordinator {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Savepoint { request, name } => {
                if self.wishes.savepoints.len() < MAX_WAITING {
                    let wish = SavepointWish { request, name };
                    self.wishes.savepoints.push_back(wish);
                } else {
                    self.refuse(request, format!("{MAX_WAITING} savepoints wait already"));
                }
            }
            Command::Release {
                request,
                checkpoint,
            } => {
                if self.wishes.releases.len() < MAX_WAITING {
                    self.wishes.releases.push_back((request, checkpoint));
                } else {
                    self.refuse(request, format!("{MAX_WAITING} releases wait already"));
                }
            }
            Command::Stop { request, mode } => self.command_stop(request, mode),
            Command::Rescale {
                request,
                parallelism,
            } => self.command_rescale(request, parallelism),
            Command::Reconfigure {
                checkpoint_interval_ms,
                retained_checkpoints,
            } => {
                self.config.checkpoint_interval_ms = checkpoint_interval_ms;
                self.config.retained_checkpoints = retained_checkpoints;
            }
        }
    }

    fn refuse(&mut self, request: u64, reason: String) {
        let result = Err(reason);
        self.out.push(Action::CommandDone { request, result });
    }

    /// Answers those who ask for a savepoint of a name that a retained one has already.
    pub(super) fn answer_named_savepoints(&mut self) {
        let Phase::Running(running) = &self.phase else {
            return;
        };
        let out = &mut self.out;
        self.wishes.savepoints.retain(|wish| {
            let name = wish.name.as_deref();
            match name.and_then(|name| running.log.savepoint_named(name)) {
                Some(checkpoint) => {
                    let (request, result) = (wish.request, Ok(Some(checkpoint)));
                    out.push(Action::CommandDone { request, result });
                    false
                }
                None => true,
            }
        });
    }

    fn command_stop(&mut self, request: u64, mode: StopMode) {
        let is_in_flight = match &self.phase {
            Phase::Running(running) => running.is_stopping_with(CheckpointKind::Checkpoint),
            _ => false,
        };
        match &mut self.wishes.stop {
            Some(stop) if stop.requests.len() >= MAX_WAITING => {
                self.refuse(request, "the job is stopping already".to_owned());
            }
            Some(_) if mode == StopMode::Savepoint && is_in_flight => {
                let reason = "the job is stopping already, with a checkpoint".to_owned();
                self.refuse(request, reason);
            }
            Some(stop) => {
                stop.requests.push(request);
                stop.mode = stop.mode.max(mode);
            }
            None => {
                self.wishes.stop = Some(Stop {
                    requests: vec![request],
                    mode,
                    savepoint: None,
                });
            }
        }
    }

    fn command_rescale(&mut self, request: u64, parallelism: Parallelism) {
        let max = self.plan.max_parallelism;
        if parallelism.get() > max.get() {
            let reason = format!("parallelism {parallelism} is greater than max parallelism {max}");
            return self.refuse(request, reason);
        }
        if let Some((replaced, _)) = self.wishes.rescale.replace((request, parallelism)) {
            self.refuse(replaced, "a later rescale replaced this one".to_owned());
        }
        let is_deployed = match &self.phase {
            Phase::Running(running) => running.stage != Stage::WaitingForSlots,
            Phase::Cancelling(_) | Phase::BackingOff(_) => true,
            Phase::Idle | Phase::Reading(_) | Phase::Fencing(_) | Phase::Over => false,
        };
        if !is_deployed {
            // Nothing runs that a checkpoint would have to be taken of first; and a job that waits
            // for slots must be able to ask for fewer.
            self.parallelism = parallelism;
        }
    }

    /// Stops as far as no savepoint is needed or possible.
    pub(super) fn advance_stop(&mut self) {
        let Some(stop) = &self.wishes.stop else {
            return;
        };
        let has_savepoint = stop.savepoint.is_some();
        // A rescale under way ends in running subtasks soon, whose savepoint is worth the wait.
        let is_rescaling = self.wishes.rescale.is_some();
        let is_deployed = match &self.phase {
            Phase::Running(running) if running.stage == Stage::WaitingForSlots => {
                is_rescaling && place(self.parallelism, &self.workers).is_some()
            }
            Phase::Running(_) => true,
            Phase::Reading(_) | Phase::Fencing(_) | Phase::Cancelling(_) => is_rescaling,
            Phase::Idle | Phase::BackingOff(_) => false,
            Phase::Over => return,
        };
        // Without running subtasks the newest checkpoint holds everything that counts. One that is
        // complete is restored first, so that its transactions are committed.
        if stop.mode == StopMode::Immediate || (!is_deployed && !has_savepoint) {
            self.finish(JobOutcome::Stopped { savepoint: None });
        }
    }

    /// The sources have stopped behind the barrier, so only a new attempt can go on.
    pub(super) fn stop_failed(&mut self, checkpoint: CheckpointId, reason: &str) {
        self.refuse_stop(checkpoint, reason);
        self.begin_cancelling_to_reopen();
    }

    /// Gives the stop up, since its checkpoint has failed.
    pub(super) fn refuse_stop(&mut self, checkpoint: CheckpointId, reason: &str) {
        if let Some(stop) = self.wishes.stop.take() {
            for request in stop.requests {
                let reason = format!(
                    "checkpoint {checkpoint} failed, so the job goes on from its latest \
                     checkpoint: {reason}"
                );
                self.refuse(request, reason);
            }
        }
    }

    /// Takes the checkpoint that the new parallelism starts from, if there are slots for it.
    pub(super) fn trigger_rescale(&mut self) {
        let Some((request, parallelism)) = self.wishes.rescale else {
            return;
        };
        if parallelism == self.parallelism {
            self.wishes.rescale = None;
            let result = Ok(None);
            self.out.push(Action::CommandDone { request, result });
        } else if place(parallelism, &self.workers).is_none() {
            self.wishes.rescale = None;
            let slots = slot_count(&self.workers);
            let reason =
                format!("parallelism {parallelism} needs as many slots; there are {slots}");
            self.refuse(request, reason);
        } else {
            self.trigger(Purpose::Rescale);
        }
    }

    pub(super) fn rescale_failed(&mut self, checkpoint: CheckpointId, reason: &str) {
        if let Some((request, _)) = self.wishes.rescale.take() {
            let reason = format!("checkpoint {checkpoint} before the rescale failed: {reason}");
            self.refuse(request, reason);
        }
    }

    pub(super) fn rescale_from_checkpoint(&mut self) {
        self.begin_cancelling_to_reopen();
    }

    /// Every new attempt takes up a parallelism that waits, if there are slots for it.
    pub(super) fn take_up_parallelism(&mut self) {
        if let Some((_, parallelism)) = self.wishes.rescale
            && place(parallelism, &self.workers).is_some()
        {
            self.parallelism = parallelism;
        }
    }

    /// An attempt runs: a rescale that waited for it is done.
    pub(super) fn rescaled(&mut self, checkpoint: Option<CheckpointId>) {
        let is_done = |wish: &mut (u64, Parallelism)| wish.1 == self.parallelism;
        if let Some((request, _)) = self.wishes.rescale.take_if(is_done) {
            let result = Ok(checkpoint);
            self.out.push(Action::CommandDone { request, result });
        }
    }

    /// The job ends: every command that still waits gets its answer.
    pub(super) fn settle_wishes(&mut self, outcome: &JobOutcome) {
        let wishes = std::mem::take(&mut self.wishes);
        for request in wishes.stop.into_iter().flat_map(|stop| stop.requests) {
            let result = match outcome {
                JobOutcome::Stopped { savepoint } => Ok(*savepoint),
                JobOutcome::Finished { checkpoint } => Ok(*checkpoint),
                JobOutcome::Fenced { by } => {
                    Err(format!("entry {by} of another attempt fenced it"))
                }
                JobOutcome::Failed { reason, .. } => Err(reason.clone()),
            };
            self.out.push(Action::CommandDone { request, result });
        }
        let releases = wishes.releases.into_iter().map(|(request, _)| request);
        let rescales = wishes.rescale.into_iter().map(|(request, _)| request);
        let savepoints = wishes.savepoints.into_iter().map(|wish| wish.request);
        for request in savepoints.chain(releases).chain(rescales) {
            self.refuse(request, "the job ended first".to_owned());
        }
    }
}
