//! The life of a job process: prepare, wait to be let go, run, and, where it shall stay, tell how
//! it ended.
//!
//! ```text
//! prepare ─┬─▶ held ─▶ runs ─┬─▶ over ─▶ lingers until the process is told to end
//!    ↑     │                 │
//!    └─ blocked ◀── failed, but may heal
//! ```
//! The job API is served all the while; in whatever state, commands get an answer.

mod over;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::job_config::JobConfig;
use tidegate_engine::{JobGraph, Worker, WorkerConfig, describe};
use tidegate_protocol::{
    CheckpointId, Coordinator, FailureCategory, FromWorker, JobOutcome, Parallelism, StartFrom,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::clock::system_ms;
use crate::command::{Commands, JobCommand};
use crate::driver::{Driver, Inputs};
use crate::error::{Exit, StartError};
use crate::job::coordinator_config;
use crate::job_event::JobEvent;
use crate::model::{Phase, PhaseView};
use crate::output::Screen;
use crate::signals::Interrupts;
use crate::start::{Prepared, prepare};
use crate::status::JobStatus;
use crate::stop::stop_at_interrupt;
use crate::supervised::SupervisorLink;
use wait::Waited;

/// The wait before a blocked job tries again; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest such wait.
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// A job that ran this long before it failed is tried again after the shortest wait.
const STABLE: Duration = Duration::from_secs(60);
/// How long user code may take to give its threads back.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);
/// A store that has not answered for this long is told of, while it is still asked.
const SILENCE: Duration = Duration::from_secs(5);

/// Everything that a life needs.
pub(crate) struct Life<'a> {
    pub(crate) config: &'a JobConfig,
    pub(crate) graph: Arc<JobGraph>,
    pub(crate) status: Arc<JobStatus>,
    pub(crate) sender: Commands,
    pub(crate) commands: mpsc::Receiver<JobCommand>,
    pub(crate) interrupts: Interrupts,
    pub(crate) screen: Arc<Screen>,
    pub(crate) supervisor: SupervisorLink,
    /// Which start of the job this is, once it is known. However often the process or its
    /// supervisor tries again, it is the same one: what it starts from is honoured once.
    pub(crate) start_generation: Option<u64>,
    /// What the next attempt runs with.
    pub(crate) parallelism: Parallelism,
}

/// What came of preparing.
enum Preparation {
    Done(Box<Prepared>),
    /// Told to stop meanwhile.
    Stopped,
}

impl Life<'_> {
    /// Lives to the end.
    ///
    /// # Errors
    /// The job could not start, and shall not be tried again.
    pub(crate) async fn run(
        mut self,
        announce: impl Fn(&Prepared, &JobStatus),
    ) -> Result<JobOutcome, StartError> {
        let mut retry = FIRST_RETRY;
        let outcome = loop {
            let Preparation::Done(mut prepared) = self.prepare(&mut retry).await? else {
                break JobOutcome::Stopped { savepoint: None };
            };
            announce(&prepared, &self.status);
            if let Some(by) = prepared.newer {
                break JobOutcome::Fenced { by };
            }
            if self.config.hold && !prepared.is_known {
                match self.hold(prepared, &mut retry).await? {
                    Preparation::Done(let_go) => prepared = let_go,
                    Preparation::Stopped => break JobOutcome::Stopped { savepoint: None },
                }
            }
            let began = tokio::time::Instant::now();
            let outcome = self.drive(*prepared).await?;
            if began.elapsed() > STABLE {
                retry = FIRST_RETRY;
            }
            let JobOutcome::Failed { category, reason } = &outcome else {
                break outcome;
            };
            let is_tried_again =
                self.config.linger && category.may_heal() && !self.interrupts.is_any();
            if !is_tried_again {
                break outcome;
            }
            if *category == FailureCategory::TasksHung {
                // Threads that do not end cannot be taken back; a new process can.
                std::process::exit(i32::from(Exit::Failed as u8));
            }
            if self
                .blocked(category.as_str(), reason.clone(), &mut retry)
                .await
            {
                break JobOutcome::Stopped { savepoint: None };
            }
        };
        self.end(&outcome);
        if self.config.linger && !self.interrupts.is_any() {
            self.linger(&outcome).await;
            // Who tells the process to end knows how the job ended, and is not told by its code.
            if !matches!(outcome, JobOutcome::Finished { .. }) {
                return Ok(JobOutcome::Stopped { savepoint: None });
            }
        }
        Ok(outcome)
    }

    /// Prepares, as often as it takes where the process shall stay.
    async fn prepare(&mut self, retry: &mut Duration) -> Result<Preparation, StartError> {
        loop {
            let is_tested = self.supervisor.has_tested(&self.config.storage.url);
            let start_generation = self.start_generation;
            let (config, status) = (self.config, Arc::clone(&self.status));
            let preparing = async move {
                let prepared = prepare(config, is_tested, start_generation);
                tokio::pin!(prepared);
                tokio::select! {
                    prepared = &mut prepared => return prepared,
                    () = sleep(SILENCE), if config.linger => {}
                }
                let place = config.storage.endpoint.as_ref();
                let place = place.map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
                let reason = format!(
                    "the store of `{}`{place} has not answered for {} s: it is still asked; if \
                     that goes on, check the address and the network between",
                    config.job_folder(),
                    SILENCE.as_secs()
                );
                publish_blocked(&status, "StoreTimeout", reason, None);
                prepared.await
            };
            let prepared = match self.wait(preparing, false).await {
                Waited::Done(prepared) => prepared,
                Waited::Released => continue,
                Waited::Stopped => return Ok(Preparation::Stopped),
            };
            let checked = prepared.and_then(|prepared| {
                self.note(&prepared);
                // On a terminal the coordinator's own check comes a moment later.
                if self.config.linger || self.config.hold {
                    prepared.check(&self.graph.plan(), self.parallelism)?;
                }
                Ok(prepared)
            });
            match checked {
                Ok(prepared) => return Ok(Preparation::Done(Box::new(prepared))),
                Err(error) if self.config.linger && error.may_heal() => {
                    let reason = describe(&error);
                    if self.blocked(error.category(), reason, retry).await {
                        return Ok(Preparation::Stopped);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes note of what the log retains, and of which start this is: before any of it is
    /// written, so that a later process does not take the same start for another one.
    fn note(&mut self, prepared: &Prepared) {
        self.supervisor.tested(&self.config.storage.url);
        if self.start_generation.is_none() {
            self.start_generation = Some(prepared.start_generation);
            self.supervisor.starts(prepared.start_generation);
        }
        let numbers: Vec<_> = prepared.checkpoints.iter().map(|(it, _)| *it).collect();
        self.status.set_folder(prepared.folder.url().to_string());
        for (number, manifest) in &prepared.checkpoints {
            self.status.add_checkpoint(*number, manifest.clone());
        }
        // Of what an earlier look could read, some may be damaged by now.
        self.status.set_retained(&numbers);
        self.status.set_retained(&prepared.retained);
        self.status.set_base(prepared.log_base);
    }

    /// Waits to be let go.
    async fn hold(
        &mut self,
        prepared: Box<Prepared>,
        retry: &mut Duration,
    ) -> Result<Preparation, StartError> {
        let restored = prepared.base.as_ref().map(|manifest| manifest.checkpoint);
        let restart_count = self.status.view().phase.restart_count;
        let phase = PhaseView {
            restored_checkpoint: restored.map(CheckpointId::get),
            ..PhaseView::new(Phase::Holding, restart_count)
        };
        self.publish(JobEvent::PhaseChanged { phase });
        let waited = self.wait(std::future::pending::<()>(), true).await;
        match (waited, &prepared.start_from) {
            (Waited::Stopped, _) => Ok(Preparation::Stopped),
            // What was the newest in another folder may no longer be. The job's own log is read
            // again anyhow.
            (_, StartFrom::Foreign(_)) => self.prepare(retry).await,
            _ => Ok(Preparation::Done(prepared)),
        }
    }

    /// Tells why the job cannot start, and waits before the next try; `true` if told to stop.
    async fn blocked(
        &mut self,
        category: &'static str,
        reason: String,
        retry: &mut Duration,
    ) -> bool {
        tracing::warn!(
            category,
            error = reason,
            "the job cannot start; tried again"
        );
        publish_blocked(&self.status, category, reason, Some(*retry));
        let waited = self.wait(sleep(*retry), false).await;
        *retry = (*retry * 2).min(LONGEST_RETRY);
        matches!(waited, Waited::Stopped)
    }

    /// Runs the job until it is over, or this process has to begin anew.
    async fn drive(&mut self, prepared: Prepared) -> Result<JobOutcome, StartError> {
        let settings = self.status.view().settings;
        let config = coordinator_config(self.config, &settings, &prepared, self.parallelism);
        let coordinator = Coordinator::new(config, self.graph.plan());
        let (events, worker_receiver) = mpsc::unbounded_channel();
        let worker = self.start_worker(&prepared, events)?;
        let slot_count = self.graph.plan().max_parallelism.get();
        let status = Arc::clone(&self.status);
        let driver = Driver::new(coordinator, worker, slot_count, prepared.folder, status);
        let inputs = Inputs {
            worker: worker_receiver,
            commands: &mut self.commands,
        };
        let stopping = tokio::spawn(stop_at_interrupt(
            self.interrupts.clone(),
            self.sender.clone(),
            Arc::clone(&self.screen),
            (self.config.on_terminate, self.config.linger),
        ));
        let watching = tokio::spawn(
            self.supervisor
                .clone()
                .tell_when_running(self.status.subscribe()),
        );
        let (outcome, worker) = driver.run(inputs).await;
        // A rescale outlives the coordinator that it was asked of.
        let parallelism = Parallelism::new(self.status.view().parallelism);
        self.parallelism = parallelism.unwrap_or(self.parallelism);
        watching.abort();
        stopping.abort();
        if tokio::time::timeout(SHUTDOWN_LIMIT, worker.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("user code does not let go of its thread; it is left behind");
        }
        Ok(outcome)
    }

    fn start_worker(
        &self,
        prepared: &Prepared,
        events: mpsc::UnboundedSender<FromWorker>,
    ) -> Result<Worker, StartError> {
        let config = WorkerConfig {
            // As many as a rescale may ask for; threads are started as they are needed.
            slot_count: self.graph.plan().max_parallelism.get(),
            io: Handle::current(),
            folder: Some(Arc::clone(&prepared.folder)),
        };
        let worker = Worker::start(Arc::clone(&self.graph), config, events);
        worker.map_err(|source| StartError::System {
            what: "the compute threads",
            source,
        })
    }

    fn publish(&self, event: JobEvent) {
        self.status.publish(system_ms(), event);
    }
}

fn publish_blocked(status: &JobStatus, category: &str, reason: String, retry: Option<Duration>) {
    let now_ms = system_ms();
    let wait_ms = retry.map(|retry| i64::try_from(retry.as_millis()).unwrap_or(i64::MAX));
    let phase = PhaseView {
        reason: Some(reason),
        category: Some(category.to_owned()),
        restart_ms: wait_ms.map(|wait_ms| now_ms.saturating_add(wait_ms)),
        ..PhaseView::new(Phase::Blocked, status.view().phase.restart_count)
    };
    status.publish(now_ms, JobEvent::PhaseChanged { phase });
}
