//! `tidegate checkpoints release`: gives up one checkpoint or savepoint and removes its files.

use serde_json::{Value, json};
use tidegate_protocol::{
    AdministrationOutcome, AdministrationTask, CheckpointId, Manifest, NextStart,
};

use super::administer::{administer, cause, files};
use crate::args::FolderArgs;
use crate::failure::{Failure, print};
use crate::folder::{Missing, locate_or, unreadable};
use crate::table::time;

/// Releases a checkpoint; one that is not kept is no failure.
pub(super) async fn run(args: &FolderArgs, id: u64) -> Result<u8, Failure> {
    let checkpoint = CheckpointId::new(id).map_err(|error| Failure::invalid(error.to_string()))?;
    let folder = locate_or(args, Missing::Empty).await?;
    let url = folder.url().to_string();
    let report = match folder.list_log().await {
        Err(error) if error.is_bucket_gone() => gone(&url, id, &cause(&error)),
        Err(error) => return Err(unreadable(&error)),
        Ok(_) => {
            let task = AdministrationTask::Release(checkpoint);
            report(&url, id, administer(&folder, task).await?)
        }
    };
    print(&if args.json {
        report.json(&url, id)
    } else {
        report.text()
    });
    Ok(0)
}

/// What is told.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    is_released_now: bool,
    /// The first line, and a warning where there is one.
    messages: Vec<String>,
    next: &'static str,
    next_checkpoint: Option<CheckpointId>,
    deleted_count: u64,
}

impl Report {
    fn text(&self) -> String {
        self.messages
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    fn json(&self, url: &str, id: u64) -> String {
        let document: Value = json!({
            "folder": url,
            "checkpoint": id,
            "isReleasedNow": self.is_released_now,
            "nextStart": self.next,
            "nextCheckpoint": self.next_checkpoint,
            "deletedCount": self.deleted_count,
            "messages": self.messages,
        });
        format!("{document:#}\n")
    }
}

fn gone(url: &str, id: u64, cause: &str) -> Report {
    Report {
        is_released_now: false,
        messages: vec![format!("checkpoint {id} is not kept in {url}: {cause}")],
        next: "Unchanged",
        next_checkpoint: None,
        deleted_count: 0,
    }
}

fn report(url: &str, id: u64, outcome: AdministrationOutcome) -> Report {
    match outcome {
        AdministrationOutcome::Released {
            manifest,
            next,
            deleted_count,
        } => {
            let kind = super::render::kind(&manifest).to_lowercase();
            let deleted = files(deleted_count);
            let mut messages = vec![format!(
                "{kind} {id} of {url} is released; {deleted} deleted"
            )];
            messages.extend(warning(&manifest, &next));
            let (next, next_checkpoint) = match &next {
                NextStart::Unchanged => ("Unchanged", None),
                NextStart::Older(older) => ("Older", Some(older.checkpoint)),
                NextStart::Empty => ("Empty", None),
            };
            Report {
                is_released_now: true,
                messages,
                next,
                next_checkpoint,
                deleted_count,
            }
        }
        AdministrationOutcome::NotRetained {
            retained,
            deleted_count,
        } => not_retained(url, id, &retained, deleted_count),
        // Only a task that empties the log ends so.
        AdministrationOutcome::Emptied { deleted_count, .. } => {
            not_retained(url, id, &[], deleted_count)
        }
        AdministrationOutcome::Failed { reason } => gone(url, id, &reason),
    }
}

fn not_retained(url: &str, id: u64, retained: &[CheckpointId], deleted_count: u64) -> Report {
    let ids: Vec<_> = retained.iter().map(CheckpointId::to_string).collect();
    let kept = if ids.is_empty() {
        "nothing".to_owned()
    } else {
        ids.join(", ")
    };
    let mut messages = vec![format!(
        "checkpoint {id} is not kept in {url}, or no longer; kept there: {kept}"
    )];
    if deleted_count > 0 {
        let deleted = files(deleted_count);
        messages.push(format!("{deleted} of an earlier release deleted"));
    }
    Report {
        is_released_now: false,
        messages,
        next: "Unchanged",
        next_checkpoint: None,
        deleted_count,
    }
}

/// What the release costs, where the job would have gone on from the checkpoint.
fn warning(released: &Manifest, next: &NextStart) -> Option<String> {
    let id = released.checkpoint;
    match next {
        NextStart::Unchanged => None,
        NextStart::Older(older) => Some(format!(
            "warning: the job would have gone on from checkpoint {id}; its next run goes on from \
             checkpoint {} of {} and gives the results since then once more",
            older.checkpoint,
            time(older.completed_ms)
        )),
        NextStart::Empty => Some(format!(
            "warning: the job would have gone on from checkpoint {id}, and no older one is kept; \
             its next run begins without state and gives all its results once more"
        )),
    }
}
