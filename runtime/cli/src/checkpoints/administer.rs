//! Carries out on a store what an [`Administration`] decides, one request after the other.

use std::collections::VecDeque;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_protocol::{Action, Administration, AdministrationOutcome, AdministrationTask, Event};
use tidegate_storage::{JobFolder, StorageError};

use crate::failure::Failure;

/// Does the task; what keeps it from being done is a failure.
pub(super) async fn administer(
    folder: &JobFolder,
    task: AdministrationTask,
) -> Result<AdministrationOutcome, Failure> {
    let seed = RandomState::new().hash_one((process::id(), now_ms()));
    let mut administration = Administration::new(task, writer(), seed);
    let mut actions = VecDeque::from(administration.handle(now_ms(), Event::Start));
    let mut timer_ms = None;
    loop {
        if let Some(outcome) = administration.outcome() {
            return match outcome {
                AdministrationOutcome::Failed { reason } => Err(Failure::failed(format!(
                    "{}: {reason}; do the same again to go on from there",
                    folder.url()
                ))),
                outcome => Ok(outcome.clone()),
            };
        }
        let event = match (actions.pop_front(), timer_ms) {
            (Some(Action::SetTimer { at_ms }), _) => {
                timer_ms = Some(at_ms);
                continue;
            }
            (Some(action), _) => match folder.answer(action).await {
                Some(event) => event,
                None => continue,
            },
            (None, Some(at_ms)) => {
                timer_ms = None;
                let wait_ms = u64::try_from(at_ms - now_ms()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                Event::Tick
            }
            (None, None) => {
                let problem = "the log was neither read nor written to the end: a defect";
                return Err(Failure::failed(problem));
            }
        };
        actions.extend(administration.handle(now_ms(), event));
    }
}

/// This process, for people who read the checkpoint log.
fn writer() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!(
        "tidegate command, process {} on {}",
        process::id(),
        host.trim()
    )
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// What a store said, without what to do about it where nothing is to be done.
pub(super) fn cause(error: &StorageError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

/// A number of files in words.
pub(super) fn files(count: u64) -> String {
    crate::table::count(usize::try_from(count).unwrap_or(usize::MAX), "file")
}
