//! What the coordinator asks of the store, each request in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::{Action, AppendOutcome, Event};
use tidegate_storage::JobFolder;
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
        let Some(lost) = lost_answer(&action) else {
            return;
        };
        let folder = Arc::clone(&self.folder);
        self.tasks.spawn(async move {
            // A panic becomes an answer too, so that the coordinator never waits for nothing.
            match tokio::spawn(async move { folder.answer(action).await }).await {
                Ok(Some(event)) => {
                    if let Event::GarbageCollected {
                        result: Err(error), ..
                    } = &event
                    {
                        tracing::warn!(error, "old checkpoints could not be deleted; retried");
                    }
                    event
                }
                Ok(None) => lost("the store knows no such request".to_owned()),
                Err(error) => lost(format!("the request to the store ended early: {error}")),
            }
        });
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
}

/// The answer to a request to the store that came to no end; `None`: the action is no such request.
fn lost_answer(action: &Action) -> Option<Box<dyn FnOnce(String) -> Event + Send>> {
    Some(match *action {
        Action::ListLog { request } => Box::new(move |lost| Event::LogListed {
            request,
            numbers: Err(lost),
        }),
        Action::ReadEntry { request, .. } => Box::new(move |lost| Event::EntryRead {
            request,
            entry: Err(lost),
        }),
        Action::Append { request, .. } => Box::new(move |reason| Event::Appended {
            request,
            outcome: AppendOutcome::Unknown { reason },
        }),
        Action::CollectGarbage { request, .. } => Box::new(move |lost| Event::GarbageCollected {
            request,
            result: Err(lost),
        }),
        _ => return None,
    })
}
