//! A collection at work: deletions one after the other, with as much sleep between them as it
//! likes.

use super::world::{Happening, World};
use crate::{Attempt, CheckpointId, Event, LogNumber, StateFile};

/// What is left to do of a collection.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) process: u32,
    pub(super) request: u64,
    pub(super) entries: Vec<LogNumber>,
    pub(super) keep_files: Vec<String>,
    pub(super) keep_from: CheckpointId,
    pub(super) attempt: Attempt,
    pub(super) keep_before: Attempt,
    /// The files found, once listed.
    pub(super) files: Option<Vec<String>>,
}

impl Collector {
    fn takes(&self, path: &str) -> bool {
        let Some((attempt, checkpoint)) = StateFile::writer_of(path) else {
            return false;
        };
        let is_settled = attempt < self.attempt || checkpoint < self.keep_from;
        let is_kept = self
            .keep_files
            .binary_search_by(|kept| kept.as_str().cmp(path))
            .is_ok();
        let is_held = attempt < self.keep_before;
        attempt <= self.attempt && is_settled && !is_kept && !is_held
    }
}

impl World {
    /// Deletes a few things, then sleeps or goes on. What is under way outlives its process at
    /// times.
    pub(super) fn collect(&mut self, mut collector: Collector) -> Result<(), String> {
        let is_alive = self.processes.contains_key(&collector.process);
        if !is_alive && self.random.below(3) == 0 {
            return Ok(());
        }
        if collector.entries.is_empty() && collector.files.is_none() {
            let found = self.store.files.keys().filter(|path| collector.takes(path));
            collector.files = Some(found.cloned().collect());
        }
        for _ in 0..self.random.between(1, 4) {
            if let Some(number) = collector.entries.pop() {
                self.store.log.remove(&number);
                self.oracle.check_log(&self.store)?;
            } else if let Some(path) = collector.files.as_mut().and_then(Vec::pop) {
                self.store.files.remove(&path);
                self.oracle.check_deleted_file(&self.store, &path)?;
            }
        }
        if collector.entries.is_empty() && collector.files.as_ref().is_some_and(Vec::is_empty) {
            let process = collector.process;
            let event = Event::GarbageCollected {
                request: collector.request,
                result: Ok(0),
            };
            let wait_ms = self.moment();
            self.tell_after(wait_ms, process, event);
            return Ok(());
        }
        let wait_ms = if self.random.chance(self.faults.slow_collector) {
            self.long_while()
        } else {
            self.moment()
        };
        self.after(wait_ms, Happening::Collect(Box::new(collector)));
        Ok(())
    }
}
