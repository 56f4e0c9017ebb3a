//! The entries of the checkpoint log, format 1: checkpoint manifests, fences and releases.
//!
//! An entry is one JSON document, written in one request, and readable by any later version of the
//! same major.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Attempt, CheckpointId, KeyGroupRange, LogNumber, MaxParallelism, OperatorId, Parallelism,
    StateSchema, SubtaskIndex,
};

/// The format that this version writes.
pub const FORMAT_VERSION: u32 = 1;

/// Why a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckpointKind {
    /// Taken by the job, kept until newer ones replace it.
    Checkpoint,
    /// Asked for by the user, kept until the user releases it.
    Savepoint,
}

/// Whether a state file stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// Holds every live key of its key groups.
    Base,
    /// Holds the keys changed or deleted since the file before it.
    Increment,
}

/// An immutable file of keyed state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateFile {
    /// `state/<attempt>/<checkpoint>/<operator>-<subtask>.arrow`, relative to the job's folder, or
    /// a whole URL where it belongs to another job.
    pub path: String,
    /// What it holds.
    pub kind: FileKind,
    /// The file's length.
    pub size_bytes: u64,
    /// xxh3-64 of the whole file, 16 hexadecimal digits.
    pub checksum: String,
    /// The key groups whose rows a reader may take from it.
    pub key_groups: KeyGroupRange,
    /// How many rows it holds, tombstones included.
    pub row_count: u64,
}

impl StateFile {
    /// The folder, with its closing slash, that holds the files of one checkpoint of one attempt,
    /// relative to the job's folder.
    pub fn checkpoint_folder(attempt: Attempt, checkpoint: CheckpointId) -> String {
        format!("state/{attempt}/{checkpoint}/")
    }

    /// Whether another job wrote the file and may delete it any time: its path is a whole URL.
    pub fn is_foreign(&self) -> bool {
        self.path.contains("://")
    }

    /// Which attempt wrote a path below the job's folder, and for which checkpoint; `None` if no
    /// attempt of this job did.
    pub fn writer_of(path: &str) -> Option<(Attempt, CheckpointId)> {
        let mut parts = path.strip_prefix("state/")?.split('/');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let attempt = Attempt::new(number()?).ok()?;
        let checkpoint = CheckpointId::new(number()?).ok()?;
        Some((attempt, checkpoint))
    }
}

/// What one subtask of an operator keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubtaskState {
    /// Which subtask wrote it.
    pub subtask: SubtaskIndex,
    /// The key groups it owned; empty for operators without keys.
    pub key_groups: KeyGroupRange,
    /// Bases and increments, in the order in which they apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<StateFile>,
    /// Operator state that can be redistributed: splits with positions, pending transactions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Value>,
    /// The event-time watermark that the operator had reached, milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark_ms: Option<i64>,
}

/// What an operator keeps, over all its subtasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorState {
    /// The operator's stable id.
    pub operator: OperatorId,
    /// What a person reads.
    pub name: String,
    /// What it keeps by key, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<StateSchema>,
    /// Sorted by subtask, no gaps.
    pub subtasks: Vec<SubtaskState>,
}

/// A completed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The checkpoint's id.
    pub checkpoint: CheckpointId,
    /// Why it was taken.
    pub kind: CheckpointKind,
    /// The name that a savepoint was asked for with; no other retained savepoint of the job has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The attempt that took it.
    pub attempt: Attempt,
    /// When its barriers were injected, milliseconds since the epoch.
    pub triggered_ms: i64,
    /// When it was complete, milliseconds since the epoch.
    pub completed_ms: i64,
    /// The parallelism of the attempt.
    pub parallelism: Parallelism,
    /// The number of key groups.
    pub max_parallelism: MaxParallelism,
    /// [`crate::JobPlan::fingerprint`] of the plan that ran.
    pub plan_fingerprint: String,
    /// Whether every source had been read to its end.
    pub is_final: bool,
    /// The state tree; only operators that keep something.
    pub operators: Vec<OperatorState>,
}

// The signature is what serde calls with.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Entry {
    /// The manifest, if the entry is a completed checkpoint.
    pub const fn manifest(&self) -> Option<&Manifest> {
        match &self.body {
            EntryBody::Checkpoint(manifest) => Some(manifest),
            EntryBody::Fence { .. } | EntryBody::Release { .. } => None,
        }
    }

    /// The greatest id of any checkpoint in the log up to this entry, as far as it tells.
    pub fn greatest_checkpoint(&self) -> Option<CheckpointId> {
        let own = self.manifest().map(|manifest| manifest.checkpoint);
        own.max(CheckpointId::new(self.greatest_checkpoint).ok())
    }

    /// What an attempt goes on from that finds this entry to be the highest.
    pub fn base(&self) -> Base {
        match &self.body {
            EntryBody::Checkpoint(_) => Base::Checkpoint(self.number),
            EntryBody::Fence { base, .. } | EntryBody::Release { base, .. } => base.clone(),
        }
    }
}

impl Manifest {
    /// Every state file it names.
    pub fn files(&self) -> impl Iterator<Item = &StateFile> {
        self.operators
            .iter()
            .flat_map(|operator| &operator.subtasks)
            .flat_map(|subtask| &subtask.files)
    }

    /// The bytes of every state file it names.
    pub fn size_bytes(&self) -> u64 {
        self.files().map(|file| file.size_bytes).sum()
    }
}

/// What an attempt that starts from the latest checkpoint goes on from, as long as the attempt that
/// said so has completed none of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Base {
    /// No state: the job is new, or was told to start empty whatever the log retains.
    Empty,
    /// A retained checkpoint of this log.
    Checkpoint(LogNumber),
    /// Another job's checkpoint, its file paths made whole URLs.
    Foreign(Box<Manifest>),
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EntryBody {
    /// A completed checkpoint; the entry retains itself.
    Checkpoint(Manifest),
    /// The begin of a new attempt.
    Fence {
        /// When it was written, milliseconds since the epoch.
        created_ms: i64,
        /// The process that wrote it, for people.
        writer: String,
        /// What the attempt starts from; a later one too, unless a checkpoint follows.
        base: Base,
    },
    /// The user released checkpoints; fences like any other entry, unless it is the running
    /// attempt's own.
    Release {
        /// When it was written, milliseconds since the epoch.
        created_ms: i64,
        /// The process that wrote it, for people, where no attempt ran: then it fences.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        writer: Option<String>,
        /// What the next attempt starts from; still retained.
        base: Base,
    },
}

/// One entry of the checkpoint log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The format version.
    pub format: u32,
    /// Its place in the log, repeated so that a copied file is noticed.
    pub number: LogNumber,
    /// Unique to one append of one writer: by it a retried append knows its own entry.
    pub nonce: u64,
    /// The whole set of retained checkpoints, as the numbers of their entries, ascending.
    pub retained: Vec<LogNumber>,
    /// The newest start generation of any attempt so far; 0: none had one. Whoever comes with the
    /// same starts from the latest; whoever comes with an older one does not start.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_generation: u64,
    /// The greatest id of any checkpoint that the log had when this was appended, of a fence and a
    /// release; 0: none, or an older version wrote it. Read it by [`Entry::greatest_checkpoint`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub greatest_checkpoint: u64,
    /// What it says.
    #[serde(flatten)]
    pub body: EntryBody,
}
