//! Removing a job's folder: every file that the job has written, and no other.
//!
//! The order is what makes it safe to die on the way: first a log entry that names nothing, then
//! all older entries and the state files, and that entry itself at the very end. Whoever starts the
//! job in between finds an entry that says so and begins without state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_protocol::LogNumber;

use crate::job_folder::{LOG_FOLDER, STATE_FOLDER, StatePath};
use crate::log::entry_path;
use crate::self_test::FOLDER as SELF_TEST_FOLDER;
use crate::{JobFolder, Result};

/// How many names that the job did not write are told.
const FOREIGN_COUNT_MAX: usize = 10;
/// How often entries are deleted that come back: a server may apply a put late.
const CLEAN_UPS_MAX: usize = 4;
/// Hexadecimal digits of a self-test's names.
const SELF_TEST_NAME_LENGTH: usize = 16;

/// What became of a job's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purged {
    /// Nothing of the job is left.
    Empty {
        /// Files and log entries deleted.
        deleted_count: u64,
        /// Some of the names in the folder that the job did not write; they stay.
        foreign: Vec<String>,
    },
    /// Another attempt has begun: the folder is in use again, or was not out of use.
    TakenOver {
        /// Its number, or a greater one.
        by: u64,
        /// Files and log entries deleted so far.
        deleted_count: u64,
    },
}

impl JobFolder {
    /// Whether nothing of a job is in the folder.
    ///
    /// # Errors
    /// A store that cannot be listed.
    pub async fn is_empty(&self) -> Result<bool> {
        for folder in [LOG_FOLDER, STATE_FOLDER, SELF_TEST_FOLDER] {
            let found = self.store().first_names(&self.name(folder), 1).await?;
            if !found.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Deletes what is left of the job once its log's highest entry `fence` names nothing, and that
    /// entry last. [`JobFolder::collect_garbage`] for that entry comes first.
    ///
    /// # Errors
    /// A store that cannot be listed, or refuses a deletion.
    pub async fn purge(&self, fence: LogNumber) -> Result<Purged> {
        let (mut deleted_count, later) = self.delete_state_until(fence.get()).await?;
        if let Some(by) = later {
            return Ok(Purged::TakenOver { by, deleted_count });
        }
        let prefix = self.name(SELF_TEST_FOLDER);
        let is_left_over = move |name: &str| {
            let name = name.strip_prefix(&prefix).unwrap_or_default();
            let name = name.trim_start_matches('/');
            let is_hex = |byte: u8| byte.is_ascii_hexdigit();
            name.len() == SELF_TEST_NAME_LENGTH && name.bytes().all(is_hex)
        };
        let self_test = self.name(SELF_TEST_FOLDER);
        deleted_count += self.store().delete_where(&self_test, is_left_over).await?;
        for _ in 0..CLEAN_UPS_MAX {
            let numbers = self.list_log().await?;
            match numbers.last() {
                None => return self.purged(deleted_count).await,
                Some(last) if *last > fence => {
                    let by = last.get();
                    return Ok(Purged::TakenOver { by, deleted_count });
                }
                Some(_) => deleted_count += self.delete_entries(&numbers, fence).await?,
            }
        }
        let by = fence.get();
        Ok(Purged::TakenOver { by, deleted_count })
    }

    /// Deletes entries, the fence last.
    async fn delete_entries(&self, numbers: &[LogNumber], fence: LogNumber) -> Result<u64> {
        let folder = self.name(LOG_FOLDER);
        let (own, older): (Vec<_>, Vec<_>) = numbers.iter().copied().partition(|it| *it == fence);
        let mut deleted_count = 0;
        for part in [older, own] {
            let names = part
                .into_iter()
                .map(|number: LogNumber| self.name(&entry_path(number)));
            deleted_count += self.store().delete(names.collect(), &folder).await?;
        }
        Ok(deleted_count)
    }

    async fn purged(&self, deleted_count: u64) -> Result<Purged> {
        self.remove_folders().await?;
        let folder = self.name("");
        let foreign = self.store().first_names(&folder, FOREIGN_COUNT_MAX).await?;
        Ok(Purged::Empty {
            deleted_count,
            foreign,
        })
    }

    /// Deletes state files of attempts up to this one; tells the number of a later one, if any.
    async fn delete_state_until(&self, attempt: u64) -> Result<(u64, Option<u64>)> {
        let later = Arc::new(AtomicU64::new(0));
        let greatest = Arc::clone(&later);
        let prefix = self.name("");
        let is_garbage = move |name: &str| {
            let path = name.strip_prefix(&prefix).unwrap_or_default();
            let Some(found) = StatePath::parse(path.trim_start_matches('/')) else {
                return false;
            };
            if found.attempt > attempt {
                greatest.fetch_max(found.attempt, Ordering::Relaxed);
            }
            found.attempt <= attempt
        };
        let state = self.name(STATE_FOLDER);
        let deleted_count = self.store().delete_where(&state, is_garbage).await?;
        let later = later.load(Ordering::Relaxed);
        Ok((deleted_count, (later > 0).then_some(later)))
    }

    /// Removes the folders, as far as they are empty.
    async fn remove_folders(&self) -> Result<()> {
        let state = self.name(STATE_FOLDER);
        self.store()
            .remove_empty_folders(&state, |_, _| true)
            .await?;
        for folder in [LOG_FOLDER, SELF_TEST_FOLDER] {
            self.store().remove_temporary(&self.name(folder)).await?;
        }
        for folder in [LOG_FOLDER, STATE_FOLDER, SELF_TEST_FOLDER, ""] {
            self.store().remove_empty_folder(&self.name(folder)).await?;
        }
        Ok(())
    }
}
