//! Which work is done next: each key once in the queue, one pass over it at a time, and in turn.
//!
//! ```text
//! watches, peeks ─ add ─▶ ready ─ take ─▶ running ─ done ─┬▶ idle
//! LookAgain, backoff ─▶ delayed ─ due ─▶ ready            └▶ ready, delayed
//! ```
//! [`Schedule`] is pure; [`Queue`] shares one among tasks and wakes who waits.

mod backoff;
mod dispatch;
mod schedule;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use backoff::{Backoff, jitter};
pub use dispatch::{Outcome, dispatch};
pub use schedule::Schedule;

/// One job of the cluster, whether or not there is a `StreamJob` of that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey {
    /// The namespace.
    pub namespace: String,
    /// The job's name.
    pub name: String,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// Reconcile the stream job.
    Job(JobKey),
    /// Reconcile the Checkpoint objects that name the job.
    Checkpoints(JobKey),
}

impl Work {
    /// The job that it is about.
    pub fn key(&self) -> &JobKey {
        match self {
            Self::Job(key) | Self::Checkpoints(key) => key,
        }
    }
}

/// A schedule that tasks share.
#[derive(Debug, Default)]
pub struct Queue {
    schedule: Mutex<Schedule<Work>>,
    changed: Notify,
}

impl Queue {
    /// Has the work done as soon as its turn comes.
    pub fn add(&self, work: Work) {
        self.lock().add(work);
        self.changed.notify_one();
    }

    /// Has everything about a job looked at.
    pub fn add_job(&self, key: &JobKey) {
        self.add(Work::Job(key.clone()));
        self.add(Work::Checkpoints(key.clone()));
    }

    /// Has the work done after a delay, unless it is done before.
    pub fn add_after(&self, work: Work, delay: Duration) {
        self.lock().add_at(work, Instant::now() + delay);
        self.changed.notify_one();
    }

    /// How much waits for its turn.
    pub fn depth(&self) -> usize {
        self.lock().ready_count()
    }

    fn lock(&self) -> MutexGuard<'_, Schedule<Work>> {
        // Each change is whole before anything in it could panic.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
