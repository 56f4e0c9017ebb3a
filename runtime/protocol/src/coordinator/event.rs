//! What the coordinator is told: facts, each the answer to an action or a thing that happened.

use serde::{Deserialize, Serialize};

use crate::{CheckpointId, Entry, FromWorker, LogNumber, Parallelism, WorkerId};

/// What the store answered to an append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendOutcome {
    /// The entry was created, or a retry found this very entry (by its nonce) already there.
    Created,
    /// Another entry has this number.
    Taken,
    /// Unknown: the store could not be asked to the end. The entry may exist, or appear later.
    Unknown {
        /// Why, for people.
        reason: String,
    },
}

/// What a job that is asked to stop takes first. The greatest that is asked for counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StopMode {
    /// A checkpoint like those taken by themselves.
    Checkpoint,
    /// A savepoint.
    Savepoint,
    /// Nothing: it stops at once.
    Immediate,
}

/// What a user or the process's signals ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Take a savepoint. `request` names it in [`crate::Action::CommandDone`].
    Savepoint {
        /// Chosen by the driver.
        request: u64,
        /// The name that it is to have; the retained savepoint of that name is the answer if there
        /// is one.
        name: Option<String>,
    },
    /// Stop.
    Stop {
        /// Chosen by the driver.
        request: u64,
        /// What is taken first.
        mode: StopMode,
    },
    /// Change the parallelism: checkpoint, then a new attempt from it.
    Rescale {
        /// Chosen by the driver.
        request: u64,
        /// The new number of subtasks a chain.
        parallelism: Parallelism,
    },
    /// Release a retained checkpoint or savepoint.
    Release {
        /// Chosen by the driver.
        request: u64,
        /// Which one.
        checkpoint: CheckpointId,
    },
    /// Change interval or retention of the running job.
    Reconfigure {
        /// As in [`crate::CoordinatorConfig`].
        checkpoint_interval_ms: Option<u64>,
        /// As in [`crate::CoordinatorConfig`].
        retained_checkpoints: u32,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Begin. Sent once, first.
    Start,
    /// Time passed; sent at or after the time that [`crate::Action::SetTimer`] asked for.
    Tick,
    /// A worker can take subtasks. In a job of one process: worker 1, right after `Start`.
    WorkerJoined {
        /// The worker.
        worker: WorkerId,
        /// How many subtasks of each chain it takes.
        slot_count: u32,
    },
    /// A worker is gone, with its tasks.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
        /// Why, for people.
        reason: String,
    },
    /// A worker says something.
    Worker {
        /// The worker.
        worker: WorkerId,
        /// What it says.
        message: FromWorker,
    },
    /// Answers [`crate::Action::ListLog`].
    LogListed {
        /// The action's number.
        request: u64,
        /// Every entry's number, ascending; or why the store could not be asked.
        numbers: Result<Vec<LogNumber>, String>,
    },
    /// Answers [`crate::Action::ReadEntry`]; `None` where there is no such entry.
    EntryRead {
        /// The action's number.
        request: u64,
        /// The entry, or why it could not be read.
        entry: Result<Option<Box<Entry>>, String>,
    },
    /// Answers [`crate::Action::ReadEntry`] where something stands there that is no entry that this
    /// version can trust, however often it is read.
    EntryDamaged {
        /// The action's number.
        request: u64,
        /// Where it is and what is wrong with it, for people.
        reason: String,
    },
    /// Answers [`crate::Action::Append`].
    Appended {
        /// The action's number.
        request: u64,
        /// What the store said.
        outcome: AppendOutcome,
    },
    /// Answers [`crate::Action::CollectGarbage`].
    GarbageCollected {
        /// The action's number.
        request: u64,
        /// Files and entries deleted, or why not.
        result: Result<u64, String>,
    },
    /// Somebody asks for something.
    Command(Command),
}
