//! The event loop around the coordinator: facts in, decisions out, and nothing in it ever waits for
//! a store, a worker or a terminal.
//!
//! ```text
//! worker's words  ─┐
//! store's answers ─┼─▶ Coordinator::handle ─▶ actions ─┬▶ store requests (tasks of their own)
//! commands, clock ─┘                                   ├▶ messages to the worker
//!                                                      └▶ JobStatus: events for all who ask
//! ```

mod report;
mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_engine::Worker;
use tidegate_protocol::{
    Action, CheckpointId, Command, Coordinator, Event, FromWorker, JobOutcome, Parallelism,
    ToWorker, WorkerId,
};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::command::{Ask, CommandError, JobCommand, Reply};
use crate::job_event::JobEvent;
use crate::model::SettingsChange;
use crate::progress::ProgressMeter;
use crate::status::JobStatus;
use store::StoreTasks;

/// How often progress is told and the driver shows that it is alive.
const BEAT: Duration = Duration::from_secs(1);

/// How long a job that is over waits for deletions under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// The only worker of a job of one process.
const WORKER: WorkerId = WorkerId::FIRST;

/// What comes into the loop.
pub(crate) struct Inputs<'a> {
    /// Bounded by subtasks × running checkpoints.
    pub(crate) worker: mpsc::UnboundedReceiver<FromWorker>,
    pub(crate) commands: &'a mut mpsc::Receiver<JobCommand>,
}

/// Carries out what the coordinator decides.
pub(crate) struct Driver {
    pub(crate) coordinator: Coordinator,
    pub(crate) worker: Worker,
    pub(crate) slot_count: u32,
    pub(crate) status: Arc<JobStatus>,
    store: StoreTasks,
    clock: Clock,
    timer_ms: Option<i64>,
    replies: HashMap<u64, Reply>,
    request: u64,
    meter: ProgressMeter,
    is_asked_to_stop: bool,
    /// Restarts of the job in this process before this driver.
    earlier_restarts: u32,
    outcome: Option<JobOutcome>,
}

impl Driver {
    /// A driver, and the answers of its store for [`Driver::run`].
    pub(crate) fn new(
        coordinator: Coordinator,
        worker: Worker,
        slot_count: u32,
        folder: Arc<tidegate_storage::JobFolder>,
        status: Arc<JobStatus>,
    ) -> Self {
        let earlier_restarts = status.view().phase.restart_count;
        Self {
            coordinator,
            worker,
            slot_count,
            status,
            store: StoreTasks::new(folder),
            clock: Clock::new(),
            timer_ms: None,
            replies: HashMap::new(),
            request: 0,
            meter: ProgressMeter::new(),
            earlier_restarts,
            is_asked_to_stop: false,
            outcome: None,
        }
    }

    /// Runs the job to its end; gives back the worker, for its threads to be joined.
    pub(crate) async fn run(mut self, mut inputs: Inputs<'_>) -> (JobOutcome, Worker) {
        self.handle(Event::Start);
        self.handle(Event::WorkerJoined {
            worker: WORKER,
            slot_count: self.slot_count,
        });
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let outcome = loop {
            if let Some(outcome) = self.outcome.take() {
                break outcome;
            }
            let until_timer = self.until_timer();
            tokio::select! {
                Some(message) = inputs.worker.recv() => self.worker_says(message),
                event = self.store.answer() => self.answered(event),
                Some(command) = inputs.commands.recv() => self.command(command),
                () = tokio::time::sleep(until_timer), if self.timer_ms.is_some() => {
                    self.timer_ms = None;
                    self.handle(Event::Tick);
                }
                _ = beat.tick() => self.beat(),
            }
        };
        self.report_progress(Instant::now());
        self.store.drain(DRAIN_LIMIT).await;
        (outcome, self.worker)
    }

    fn until_timer(&mut self) -> Duration {
        let now_ms = self.clock.now_ms();
        let due_ms = self
            .timer_ms
            .map_or(0, |at_ms| at_ms.saturating_sub(now_ms));
        Duration::from_millis(u64::try_from(due_ms).unwrap_or(0))
    }

    fn handle(&mut self, event: Event) {
        let now_ms = self.clock.now_ms();
        for action in self.coordinator.handle(now_ms, event) {
            self.carry_out(action);
        }
    }

    fn worker_says(&mut self, message: FromWorker) {
        self.report_failure(&message);
        let worker = WORKER;
        self.handle(Event::Worker { worker, message });
    }

    fn answered(&mut self, event: Event) {
        self.note_entry(&event);
        self.handle(event);
    }

    fn command(&mut self, command: JobCommand) {
        self.request += 1;
        let request = self.request;
        self.is_asked_to_stop |= matches!(command.ask, Ask::Stop { .. });
        let JobCommand { ask, reply } = command;
        let command = match ask {
            Ask::Start => {
                // It runs or is about to: whoever asks again is told the same.
                let restored = self.status.view().phase.restored_checkpoint;
                let restored = restored.and_then(|id| CheckpointId::new(id).ok());
                return JobCommand { ask, reply }.answer(Ok(restored));
            }
            Ask::Reconfigure(change) => {
                self.reconfigure(&change);
                let _ = reply.send(Ok(None));
                return;
            }
            Ask::Savepoint { name } => Command::Savepoint { request, name },
            Ask::Stop { mode } => Command::Stop { request, mode },
            Ask::Rescale { parallelism } => Command::Rescale {
                request,
                parallelism,
            },
            Ask::Release { checkpoint } => Command::Release {
                request,
                checkpoint,
            },
        };
        self.replies.insert(request, reply);
        // Requests whose asker has gone need no answer.
        self.replies.retain(|_, reply| !reply.is_closed());
        self.handle(Event::Command(command));
    }

    fn reconfigure(&mut self, change: &SettingsChange) {
        let status = &self.status;
        let settings = status.change_settings(|settings| change.apply(settings));
        self.handle(Event::Command(Command::Reconfigure {
            checkpoint_interval_ms: settings.checkpoint_interval_ms,
            retained_checkpoints: settings.retained_checkpoints,
        }));
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { message, .. } => self.send(message),
            Action::SetTimer { at_ms } => self.timer_ms = Some(at_ms),
            Action::Append { ref entry, .. } => {
                self.note_fence(entry);
                self.store.begin(action);
            }
            Action::ListLog { .. } | Action::ReadEntry { .. } | Action::CollectGarbage { .. } => {
                self.store.begin(action)
            }
            Action::Report(state) => self.report_state(&state),
            Action::CheckpointCompleted { entry } => self.report_completed(*entry),
            Action::CheckpointsReleased { retained } => self.status.set_retained(&retained),
            Action::CheckpointFailed {
                checkpoint,
                kind,
                reason,
                failure_count,
            } => self.publish(JobEvent::CheckpointFailed {
                id: checkpoint.get(),
                kind: kind.into(),
                reason,
                failure_count,
            }),
            Action::LogUnavailable {
                reason,
                failure_count,
            } => self.publish(JobEvent::StoreUnavailable {
                reason,
                failure_count,
            }),
            Action::CommandDone { request, result } => {
                if let Some(reply) = self.replies.remove(&request) {
                    // The asker may have gone meanwhile.
                    let _ = reply.send(result.map_err(|reason| CommandError::Refused { reason }));
                }
            }
            Action::Finish(outcome) => self.outcome = Some(outcome),
        }
    }

    fn send(&mut self, message: ToWorker) {
        let parallelism: Option<Parallelism> = match &message {
            ToWorker::Deploy(deployment) => Some(deployment.parallelism),
            _ => None,
        };
        self.worker.send(message);
        if let Some(parallelism) = parallelism {
            self.status.set_parallelism(parallelism.get());
        }
    }

    fn publish(&mut self, event: JobEvent) {
        let now_ms = self.clock.now_ms();
        self.status.publish(now_ms, event);
    }

    fn beat(&mut self) {
        let now_ms = self.clock.now_ms();
        self.status.set_alive(now_ms);
        self.report_progress(Instant::now());
    }
}
