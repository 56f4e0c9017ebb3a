//! Deleting what nothing names any more: log entries first, then state files.
//!
//! A collector deletes files of its own and older attempts only. What a later attempt writes, and
//! what the coordinator says is still to settle, stays whatever it looks like from here; and so
//! does every file that a retained entry may name which cannot be read.

use std::collections::HashSet;

use tidegate_protocol::{Attempt, CheckpointId, LogNumber};

use crate::job_folder::{LOG_FOLDER, STATE_FOLDER, StatePath};
use crate::log::entry_path;
use crate::{JobFolder, Result};

/// What a collection may delete, as [`tidegate_protocol::Action::CollectGarbage`] tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// Log entries to free.
    pub entries: Vec<LogNumber>,
    /// Paths of state files that named manifests refer to; they stay.
    pub keep_files: Vec<String>,
    /// Files of the own attempt's checkpoints from this one on stay.
    pub keep_from: CheckpointId,
    /// The collector's own attempt; files of later ones stay.
    pub attempt: Attempt,
    /// Files of attempts before this one stay: a log entry that cannot be read may name them.
    pub keep_before: Attempt,
}

impl Garbage {
    /// Whether a path in the job's folder is a state file that nothing needs.
    fn includes(&self, path: &str, keep_files: &HashSet<String>) -> bool {
        // Files that do not look like ours are the user's.
        let Some(StatePath {
            attempt,
            checkpoint,
        }) = StatePath::parse(path)
        else {
            return false;
        };
        let own = self.attempt.get();
        let is_settled = attempt < own || (attempt == own && checkpoint < self.keep_from.get());
        let is_held = attempt < self.keep_before.get();
        is_settled && !is_held && !keep_files.contains(path)
    }
}

impl JobFolder {
    /// Deletes log entries, then every state file that nothing needs, orphans of failed checkpoints
    /// included; tells how many of both were deleted. Whatever is gone already is no error.
    ///
    /// Costs one listing of the job's state files.
    ///
    /// # Errors
    /// A store that cannot be listed, or refuses a deletion.
    pub async fn collect_garbage(&self, garbage: &Garbage) -> Result<u64> {
        let entries = garbage
            .entries
            .iter()
            .map(|number| self.name(&entry_path(*number)));
        let mut deleted_count = self
            .store()
            .delete(entries.collect(), &self.name(LOG_FOLDER))
            .await?;

        let keep_files: HashSet<String> = garbage.keep_files.iter().cloned().collect();
        let state_folder = self.name(STATE_FOLDER);
        let prefix = self.name("");
        let settled = garbage.clone();
        let is_garbage = move |name: &str| {
            let path = name.strip_prefix(&prefix);
            let path = path.map(|path| path.trim_start_matches('/'));
            path.is_some_and(|path| settled.includes(path, &keep_files))
        };
        deleted_count += self.store().delete_where(&state_folder, is_garbage).await?;
        let settled = garbage.clone();
        let is_removable = move |attempt: &str, checkpoint: &str| {
            let path = format!("{STATE_FOLDER}/{attempt}/{checkpoint}/file");
            settled.includes(&path, &HashSet::new())
        };
        self.store()
            .remove_empty_folders(&state_folder, is_removable)
            .await?;
        Ok(deleted_count)
    }
}
