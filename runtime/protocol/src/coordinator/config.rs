//! What a coordinator is told once, before its first event.

use serde::{Deserialize, Serialize};

use crate::{CheckpointId, Manifest, Parallelism};

/// Where a job that starts takes its state from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartFrom {
    /// The newest retained checkpoint if there is one, else empty.
    Latest,
    /// Nothing, whatever the log holds; what it retains stays retained.
    Empty,
    /// A retained checkpoint of this job's own log.
    Checkpoint(CheckpointId),
    /// Another job's manifest, already read by the driver, its file paths made whole URLs. Its
    /// sinks' transactions are committed by this job, too.
    Foreign(Box<Manifest>),
}

/// How a failed job is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartPolicy {
    /// The wait before the first restart.
    pub initial_backoff_ms: u64,
    /// The longest wait.
    pub max_backoff_ms: u64,
    /// Restarts allowed in a row; the job ends at one more. `None`: no bound.
    pub max_restarts: Option<u32>,
    /// After running this long, wait and budget begin anew.
    pub reset_after_ms: u64,
}

/// What a coordinator is told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoordinatorConfig {
    /// Subtasks a chain.
    pub parallelism: Parallelism,
    /// From one trigger to the next; `None`: only savepoints.
    pub checkpoint_interval_ms: Option<u64>,
    /// A checkpoint not complete after this long is aborted.
    pub checkpoint_timeout_ms: u64,
    /// The least time from the end of one checkpoint to the next trigger.
    pub min_pause_ms: u64,
    /// How many automatic checkpoints are retained; at least 1.
    pub retained_checkpoints: u32,
    /// How failures are met.
    pub restart: RestartPolicy,
    /// Where the first attempt takes its state from; later attempts take the latest.
    pub start_from: StartFrom,
    /// The first start that asked for `start_from`, where that was an earlier one than this: it is
    /// honoured only if the log knows no start as new as that one.
    pub start_from_generation: Option<u64>,
    /// Orders the starts of a job. `start_from` is honoured only if the log knows no start as new,
    /// so that a process that is started again, or a second one beside it, does not throw back the
    /// job; and where the log knows a newer one, this one ends as fenced before it writes anything.
    /// 0 for a tool that competes with no start: it goes on from the latest and fences whoever
    /// runs.
    pub start_generation: u64,
    /// Names this process in fences, for people.
    pub writer: String,
    /// Seeds nonces; differs for every process.
    pub nonce_seed: u64,
}
