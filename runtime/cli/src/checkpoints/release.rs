//! `tidegate checkpoints release`: gives up one checkpoint or savepoint and removes its files.

use serde_json::{Value, json};
use tidegate_protocol::{
    AdministrationOutcome, AdministrationTask, CheckpointId, LogNumber, NextStart,
};

use super::administer::{administer, cause, files};
use crate::args::{FolderArgs, Wanted};
use crate::failure::{Failure, print};
use crate::folder::{Missing, give_up, kept, locate_or, unreadable};
use crate::table::time;

/// Releases a checkpoint; one that is not kept is no failure.
pub(super) async fn run(args: &FolderArgs, wanted: Wanted) -> Result<u8, Failure> {
    let task = match wanted {
        Wanted::Checkpoint(id) => AdministrationTask::Release(
            CheckpointId::new(id).map_err(|error| Failure::invalid(error.to_string()))?,
        ),
        Wanted::Entry(number) => AdministrationTask::ReleaseDamaged(number),
    };
    let folder = locate_or(args, Missing::Empty).await?;
    let url = folder.url().to_string();
    let report = match folder.list_log().await {
        Err(error) if error.is_bucket_gone() => {
            let cause = cause(&error);
            Report::of_nothing(format!("{wanted} is not kept in {url}: {cause}"))
        }
        Err(error) => return Err(unreadable(&error)),
        Ok(_) => report(&url, wanted, administer(&folder, task).await?)?,
    };
    print(&if args.json {
        report.json(&url, wanted)
    } else {
        report.text()
    })?;
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
    fn of_nothing(message: String) -> Self {
        Self {
            is_released_now: false,
            messages: vec![message],
            next: "Unchanged",
            next_checkpoint: None,
            deleted_count: 0,
        }
    }

    fn text(&self) -> String {
        self.messages
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    fn json(&self, url: &str, wanted: Wanted) -> String {
        let (id, log_number) = match wanted {
            Wanted::Checkpoint(id) => (Some(id), None),
            Wanted::Entry(number) => (None, Some(number)),
        };
        let document: Value = json!({
            "folder": url,
            "checkpoint": id,
            "logNumber": log_number,
            "isReleasedNow": self.is_released_now,
            "nextStart": self.next,
            "nextCheckpoint": self.next_checkpoint,
            "deletedCount": self.deleted_count,
            "messages": self.messages,
        });
        format!("{document:#}\n")
    }
}

fn report(url: &str, wanted: Wanted, outcome: AdministrationOutcome) -> Result<Report, Failure> {
    match outcome {
        AdministrationOutcome::Released {
            manifest,
            next,
            deleted_count,
        } => {
            let kind = super::render::kind(&manifest).to_lowercase();
            let id = manifest.checkpoint;
            let what = format!("{kind} {id} of {url}");
            Ok(released(&what, &wanted.to_string(), &next, deleted_count))
        }
        AdministrationOutcome::DamagedReleased {
            number,
            next,
            deleted_count,
        } => {
            let what = format!("log entry {number} of {url}");
            let lost = format!("the checkpoint of log entry {number}");
            Ok(released(&what, &lost, &next, deleted_count))
        }
        AdministrationOutcome::PerhapsRetained { retained, damaged } => {
            Err(perhaps_retained(url, wanted, &retained, &damaged))
        }
        AdministrationOutcome::NotRetained {
            retained,
            deleted_count,
        } => Ok(not_retained(url, wanted, &retained, deleted_count)),
        // Only a task that empties the log ends so.
        AdministrationOutcome::Emptied { deleted_count, .. } => {
            Ok(not_retained(url, wanted, &[], deleted_count))
        }
        AdministrationOutcome::Failed { reason } => Err(Failure::failed(reason)),
    }
}

/// What was released, and what it costs where the job would have gone on from `lost`.
fn released(what: &str, lost: &str, next: &NextStart, deleted_count: u64) -> Report {
    let deleted = files(deleted_count);
    let mut messages = vec![format!("{what} is released; {deleted} deleted")];
    messages.extend(warning(lost, next));
    let (next, next_checkpoint) = match next {
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

/// Whether the checkpoint is kept cannot be told, so it must not be taken for released.
fn perhaps_retained(
    url: &str,
    wanted: Wanted,
    retained: &[CheckpointId],
    damaged: &[(LogNumber, String)],
) -> Failure {
    let ids = retained.iter().map(CheckpointId::to_string);
    let kept = kept(ids, damaged.iter().map(|(number, _)| *number));
    let mut text = format!(
        "{wanted} is none of those in {url} that can be read, but may be one that cannot; kept \
         there: {kept}"
    );
    for (number, problem) in damaged {
        let name = Wanted::entry_name(*number);
        text += &format!("; {name}: {problem}; or {}", give_up(&name));
    }
    Failure::failed(text)
}

fn not_retained(
    url: &str,
    wanted: Wanted,
    retained: &[CheckpointId],
    deleted_count: u64,
) -> Report {
    let kept = kept(
        retained.iter().map(CheckpointId::to_string),
        std::iter::empty(),
    );
    let first = match wanted {
        Wanted::Checkpoint(_) => format!("{wanted} is not kept in {url}, or no longer"),
        Wanted::Entry(_) => format!("{wanted} is none that is kept in {url} and damaged"),
    };
    let mut report = Report::of_nothing(format!("{first}; kept there: {kept}"));
    if deleted_count > 0 {
        let deleted = files(deleted_count);
        let message = format!("{deleted} of an earlier release deleted");
        report.messages.push(message);
        report.deleted_count = deleted_count;
    }
    report
}

/// What the release costs, where the job would have gone on from the checkpoint.
fn warning(lost: &str, next: &NextStart) -> Option<String> {
    match next {
        NextStart::Unchanged => None,
        NextStart::Older(older) => Some(format!(
            "warning: the job would have gone on from {lost}; its next run goes on from \
             checkpoint {} of {} and gives the results since then once more",
            older.checkpoint,
            time(older.completed_ms)
        )),
        NextStart::Empty => Some(format!(
            "warning: the job would have gone on from {lost}, and no older one is kept; \
             its next run begins without state and gives all its results once more"
        )),
    }
}
