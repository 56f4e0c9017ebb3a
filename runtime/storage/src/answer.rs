//! What the protocol asks of a job's folder, and what the folder answers.

use tidegate_protocol::{Action, Event};

use crate::{Garbage, JobFolder};

impl JobFolder {
    /// Carries out what an action asks of the store, and gives the event that answers it, failures
    /// included; `None`: the action asks nothing of it.
    pub async fn answer(&self, action: Action) -> Option<Event> {
        Some(match action {
            Action::ListLog { request } => {
                let numbers = self.list_log().await;
                let numbers = numbers.map_err(|error| error.with_causes());
                Event::LogListed { request, numbers }
            }
            Action::ReadEntry { request, number } => {
                let entry = self.read_entry(number).await;
                let entry = entry.map(|entry| entry.map(Box::new));
                let entry = entry.map_err(|error| error.with_causes());
                Event::EntryRead { request, entry }
            }
            Action::Append { request, entry } => {
                let outcome = self.append(&entry).await;
                Event::Appended { request, outcome }
            }
            Action::CollectGarbage {
                request,
                entries,
                keep_files,
                keep_from,
                attempt,
            } => {
                let garbage = Garbage {
                    entries,
                    keep_files,
                    keep_from,
                    attempt,
                };
                let result = self.collect_garbage(&garbage).await;
                let result = result.map_err(|error| error.with_causes());
                Event::GarbageCollected { request, result }
            }
            _ => return None,
        })
    }
}
