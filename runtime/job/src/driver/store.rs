//! What the coordinator asks of the store, each request in a task of its own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::{Action, AppendOutcome, Event};
use tidegate_storage::{Garbage, JobFolder};
use tokio::task::JoinSet;

/// Requests under way. Their number is bounded by the coordinator, which has one of each kind open.
pub(super) struct StoreTasks {
    folder: Arc<JobFolder>,
    tasks: JoinSet<Event>,
}

impl StoreTasks {
    pub(super) fn new(folder: Arc<JobFolder>) -> Self {
        Self {
            folder,
            tasks: JoinSet::new(),
        }
    }

    /// Starts what the action asks of the store; any other action is none of its business.
    pub(super) fn begin(&mut self, action: Action) {
        let folder = Arc::clone(&self.folder);
        match action {
            Action::ListLog { request } => self.spawn(
                async move {
                    let numbers = folder.list_log().await;
                    let numbers = numbers.map_err(|error| error.with_causes());
                    Event::LogListed { request, numbers }
                },
                move |lost| Event::LogListed {
                    request,
                    numbers: Err(lost),
                },
            ),
            Action::ReadEntry { request, number } => self.spawn(
                async move {
                    let entry = folder.read_entry(number).await;
                    let entry = entry.map(|entry| entry.map(Box::new));
                    let entry = entry.map_err(|error| error.with_causes());
                    Event::EntryRead { request, entry }
                },
                move |lost| Event::EntryRead {
                    request,
                    entry: Err(lost),
                },
            ),
            Action::Append { request, entry } => self.spawn(
                async move {
                    let outcome = folder.append(&entry).await;
                    Event::Appended { request, outcome }
                },
                move |reason| Event::Appended {
                    request,
                    outcome: AppendOutcome::Unknown { reason },
                },
            ),
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
                self.spawn(
                    async move {
                        let result = folder.collect_garbage(&garbage).await;
                        let result = result.map_err(|error| error.with_causes());
                        if let Err(error) = &result {
                            tracing::warn!(error, "old checkpoints could not be deleted; retried");
                        }
                        Event::GarbageCollected { request, result }
                    },
                    move |lost| Event::GarbageCollected {
                        request,
                        result: Err(lost),
                    },
                );
            }
            _ => {}
        }
    }

    /// The next answer; waits for ever while no request is under way.
    pub(super) async fn answer(&mut self) -> Event {
        match self.tasks.join_next().await {
            Some(Ok(event)) => event,
            // The inner task was awaited by the outer one, which neither panics nor is cancelled.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// Waits for what is under way, but not for long: the job is over.
    pub(super) async fn drain(&mut self, limit: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Whatever is cut off here is found and deleted by the next attempt's collection.
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// Runs `work`; a panic in it becomes the answer that `lost` makes, so that the coordinator
    /// never waits for nothing.
    fn spawn(
        &mut self,
        work: impl Future<Output = Event> + Send + 'static,
        lost: impl FnOnce(String) -> Event + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            match tokio::spawn(work).await {
                Ok(event) => event,
                Err(error) => lost(format!("the request to the store ended early: {error}")),
            }
        });
    }
}
