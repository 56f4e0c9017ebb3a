//! What a job's folder in the store would hold.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

/// One retained checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) is_savepoint: bool,
    pub(crate) name: Option<String>,
    pub(crate) parallelism: u32,
    completed_ms: i64,
}

/// The log of one job: who owns it, and what it retains.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The highest start generation that was let go.
    pub(crate) generation: u64,
    /// The newest attempt; whoever ran before it is fenced.
    pub(crate) attempt: u64,
    pub(crate) entries: Vec<Entry>,
    /// Whether no ordinary checkpoints are taken.
    pub(crate) is_frozen: bool,
    /// How often somebody looked at a process.
    pub(crate) look_count: usize,
    next_id: u64,
}

/// The log, as all processes of the job share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedLog(Arc<Mutex<Log>>);

impl SharedLog {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap()
    }
}

impl Log {
    /// Fences whoever runs; gives the new attempt.
    pub(crate) fn begin(&mut self, generation: u64) -> u64 {
        self.generation = self.generation.max(generation);
        self.attempt += 1;
        self.attempt
    }

    /// Completes a checkpoint, and frees those that retention does not keep.
    pub(crate) fn append(
        &mut self,
        savepoint: Option<Option<String>>,
        parallelism: u32,
        retained: usize,
    ) -> u64 {
        self.next_id += 1;
        self.entries.push(Entry {
            id: self.next_id,
            is_savepoint: savepoint.is_some(),
            name: savepoint.flatten(),
            parallelism,
            completed_ms: jiff::Timestamp::now().as_millisecond(),
        });
        let ordinary = self.entries.iter().filter(|entry| !entry.is_savepoint);
        let ids: Vec<u64> = ordinary.map(|entry| entry.id).collect();
        let freed: Vec<u64> = ids[..ids.len().saturating_sub(retained)].to_vec();
        self.entries.retain(|entry| !freed.contains(&entry.id));
        self.next_id
    }

    pub(crate) fn newest(&self) -> Option<&Entry> {
        self.entries.last()
    }

    /// The numbers of what is retained.
    pub(crate) fn ids(&self) -> BTreeSet<i64> {
        let ids = self.entries.iter().map(|entry| entry.id);
        ids.map(|id| i64::try_from(id).unwrap()).collect()
    }

    /// Removes everything, as a clean-up pod does. A process that is gone may still be in the midst
    /// of a step; it is fenced.
    pub(crate) fn purge(&mut self) {
        self.entries.clear();
        self.attempt += 1;
    }
}

impl Entry {
    /// As the job API shows it.
    pub(crate) fn view(&self) -> Value {
        let kind = if self.is_savepoint {
            "Savepoint"
        } else {
            "Checkpoint"
        };
        json!({
            "id": self.id, "logNumber": self.id, "kind": kind, "name": self.name, "attempt": 1,
            "triggeredMs": self.completed_ms, "completedMs": self.completed_ms,
            "durationMs": 7, "sizeBytes": 4096, "writtenBytes": 1024,
            "parallelism": self.parallelism, "isFinal": false,
        })
    }
}
