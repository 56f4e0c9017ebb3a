//! What the protocol asks of a job's folder, and what the folder answers.

use tidegate_protocol::{Action, Event};

use crate::{Garbage, JobFolder, StorageError};

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
                let entry = match self.read_entry(number).await {
                    Ok(entry) => Ok(entry.map(Box::new)),
                    Err(error @ StorageError::Entry { .. }) => {
                        let reason = error.with_causes();
                        return Some(Event::EntryDamaged { request, reason });
                    }
                    Err(error) => Err(error.with_causes()),
                };
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
                keep_before,
            } => {
                let garbage = Garbage {
                    entries,
                    keep_files,
                    keep_from,
                    attempt,
                    keep_before,
                };
                let result = self.collect_garbage(&garbage).await;
                let result = result.map_err(|error| error.with_causes());
                Event::GarbageCollected { request, result }
            }
            _ => return None,
        })
    }
}
