//! What the log does with puts, listings and reads: all of it atomic on arrival, none of it prompt.

use super::oracle::Highest;
use super::world::{Happening, World};
use crate::{AppendOutcome, Entry, Event, LogNumber};

impl World {
    /// A process puts an entry: when it arrives, how often, and what the process is told.
    pub(super) fn append(&mut self, process: u32, request: u64, entry: &Entry) {
        let reply = Some((process, request));
        let wait_ms = self.log_wait();
        let entry = Box::new(entry.clone());
        let unknown = AppendOutcome::Unknown {
            reason: "connection cut".to_owned(),
        };
        if self.random.chance(self.faults.duplicate_put) {
            let later_ms = wait_ms + self.long_while();
            self.after(
                later_ms,
                Happening::Put {
                    entry: entry.clone(),
                    reply: None,
                },
            );
        }
        let is_unknown = if self.random.chance(self.faults.lost_put) {
            true
        } else if self.random.chance(self.faults.late_put) {
            let later_ms = wait_ms + self.long_while();
            self.after(later_ms, Happening::Put { entry, reply: None });
            true
        } else if self.random.chance(self.faults.unknown_put) {
            self.after(wait_ms, Happening::Put { entry, reply: None });
            true
        } else {
            self.after(wait_ms, Happening::Put { entry, reply });
            false
        };
        if is_unknown {
            let told_ms = self.log_wait();
            let event = Event::Appended {
                request,
                outcome: unknown,
            };
            self.tell_after(told_ms, process, event);
        }
    }

    pub(super) fn log_wait(&mut self) -> i64 {
        if self.random.chance(self.faults.slow_log) {
            self.long_while()
        } else {
            self.moment()
        }
    }

    fn log_fails(&mut self) -> Option<String> {
        self.random
            .chance(self.faults.log_error)
            .then(|| "error 503".to_owned())
    }

    fn answer(&mut self, process: u32, event: Event) {
        let wait_ms = self.log_wait();
        self.tell_after(wait_ms, process, event);
    }

    pub(super) fn put(&mut self, entry: &Entry, reply: Option<(u32, u64)>) -> Result<(), String> {
        let before = self.store.highest().map(Highest::of);
        let outcome = self.store.put_entry(entry);
        if let Some((process, request)) = reply {
            self.answer(process, Event::Appended { request, outcome });
        }
        let after = self.store.highest().map(Highest::of);
        let choice = self.random.next();
        if before != after {
            self.oracle
                .new_highest(&self.store, &self.input, &self.plan, choice)?;
        }
        self.oracle.check_log(&self.store)?;
        self.other_job_collects()
    }

    pub(super) fn list(&mut self, process: u32, request: u64) {
        let numbers = match self.log_fails() {
            Some(reason) => Err(reason),
            None => Ok(self.store.log.keys().copied().collect()),
        };
        self.answer(process, Event::LogListed { request, numbers });
    }

    pub(super) fn read(&mut self, process: u32, request: u64, number: LogNumber) {
        let entry = match self.log_fails() {
            Some(reason) => Err(reason),
            None => Ok(self.store.log.get(&number).cloned().map(Box::new)),
        };
        self.answer(process, Event::EntryRead { request, entry });
    }
}
