//! `tidegate checkpoints purge`: removes everything that a job keeps.

use serde_json::json;
use tidegate_protocol::{AdministrationOutcome, AdministrationTask, LogNumber};
use tidegate_storage::{JobFolder, Purged};

use super::administer::{administer, cause, files};
use crate::args::FolderArgs;
use crate::failure::{Failure, print};
use crate::folder::{Missing, locate_or, unreadable};

/// How often an attempt that begins meanwhile is fenced anew.
const ROUNDS_MAX: usize = 8;

/// Removes the job's files; a folder or bucket that is gone is no failure.
pub(super) async fn run(args: &FolderArgs) -> Result<u8, Failure> {
    let folder = locate_or(args, Missing::EmptyAndNamed).await?;
    let url = folder.url().to_string();
    let removal = match folder.is_empty().await {
        Err(error) if error.is_bucket_gone() => Removal {
            message: format!("nothing of a job is in {url}: {}", cause(&error)),
            ..Removal::default()
        },
        Err(error) => return Err(unreadable(&error)),
        Ok(is_empty) => remove(&folder, &url, is_empty).await?,
    };
    print(&if args.json {
        removal.json(&url)
    } else {
        removal.text()
    })?;
    Ok(0)
}

/// What was removed.
#[derive(Debug, Default)]
struct Removal {
    message: String,
    deleted_count: u64,
    /// Some names that the job did not write.
    foreign: Vec<String>,
}

impl Removal {
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.message);
        if !self.foreign.is_empty() {
            text += "left in place, because the job did not write it:\n";
        }
        for name in &self.foreign {
            text += &format!("  {name}\n");
        }
        text
    }

    fn json(&self, url: &str) -> String {
        let document = json!({
            "folder": url,
            "deletedCount": self.deleted_count,
            "foreign": self.foreign,
            "messages": [self.message],
        });
        format!("{document:#}\n")
    }
}

async fn remove(folder: &JobFolder, url: &str, is_empty: bool) -> Result<Removal, Failure> {
    if is_empty {
        // Without a log nothing can be fenced; what may be left is empty folders.
        let purged = folder.purge(LogNumber::FIRST).await;
        if let Purged::Empty { foreign, .. } = purged.map_err(|error| unreadable(&error))? {
            return Ok(Removal {
                message: format!("nothing of a job is in {url}"),
                deleted_count: 0,
                foreign,
            });
        }
    }
    let mut above = 0;
    let mut deleted_count = 0;
    for _ in 0..ROUNDS_MAX {
        let task = AdministrationTask::ReleaseAll { above };
        let AdministrationOutcome::Emptied {
            fence,
            deleted_count: collected,
        } = administer(folder, task).await?
        else {
            continue;
        };
        deleted_count += collected;
        let purged = folder.purge(fence).await;
        match purged.map_err(|error| unreadable(&error))? {
            Purged::Empty {
                deleted_count: purged,
                foreign,
            } => {
                deleted_count += purged;
                let deleted = files(deleted_count);
                return Ok(Removal {
                    message: format!("{url} is removed; {deleted} deleted"),
                    deleted_count,
                    foreign,
                });
            }
            Purged::TakenOver {
                by,
                deleted_count: purged,
            } => {
                deleted_count += purged;
                above = by;
            }
        }
    }
    Err(Failure::failed(format!(
        "{url} is in use: {ROUNDS_MAX} attempts of the job began while it was removed; stop the \
         job first, then do the same again"
    )))
}
