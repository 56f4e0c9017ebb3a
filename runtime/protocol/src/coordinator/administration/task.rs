//! What an administration is asked to do, and what became of it. Pure values.

use super::super::log_read::LogContent;
use crate::{Base, CheckpointId, Entry, LogNumber, Manifest};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdministrationTask {
    /// Release one retained checkpoint or savepoint.
    Release(CheckpointId),
    /// Release what an entry holds that is retained, but missing or damaged.
    ReleaseDamaged(LogNumber),
    /// Release everything, whatever the log holds and even if nobody can read it.
    ReleaseAll {
        /// The entry stands above this number too, so that files of attempts up to it may go; 0
        /// where nothing is known.
        above: u64,
    },
}

/// What the next attempt starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStart {
    /// The same as before.
    Unchanged,
    /// An older retained checkpoint: what the job did since then is done again.
    Older(Box<Manifest>),
    /// No state, because no older checkpoint is retained: the job begins anew.
    Empty,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdministrationOutcome {
    /// The checkpoint is no longer retained, and its files are deleted.
    Released {
        /// The checkpoint.
        manifest: Box<Manifest>,
        /// What a job that starts now goes on from.
        next: NextStart,
        /// Files and log entries deleted.
        deleted_count: u64,
    },
    /// The entry is no longer retained, and files that only it can have named are deleted.
    DamagedReleased {
        /// The entry.
        number: LogNumber,
        /// What a job that starts now goes on from.
        next: NextStart,
        /// Files and log entries deleted.
        deleted_count: u64,
    },
    /// Whether the log retains the checkpoint is open: it may be in an entry that cannot be read.
    PerhapsRetained {
        /// What it does retain, ascending.
        retained: Vec<CheckpointId>,
        /// The entries that cannot be read, ascending, and why.
        damaged: Vec<(LogNumber, String)>,
    },
    /// The log did not retain the checkpoint to begin with.
    NotRetained {
        /// What it does retain, ascending.
        retained: Vec<CheckpointId>,
        /// Files and log entries deleted that an earlier release had left behind.
        deleted_count: u64,
    },
    /// The log names nothing any more, and the files of every attempt up to `fence` are deleted.
    Emptied {
        /// The entry that says so; the highest.
        fence: LogNumber,
        /// Files and log entries deleted.
        deleted_count: u64,
    },
    /// It could not be done, or not to the end; doing it again goes on from there.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// What is done once the collection has ended.
#[derive(Debug)]
pub(super) enum Then {
    Released(Box<Manifest>, NextStart),
    DamagedReleased(LogNumber, NextStart),
    NotRetained(Vec<CheckpointId>),
    Emptied(LogNumber),
}

impl Then {
    pub(super) fn done(self, deleted_count: u64) -> AdministrationOutcome {
        match self {
            Self::Released(manifest, next) => AdministrationOutcome::Released {
                manifest,
                next,
                deleted_count,
            },
            Self::DamagedReleased(number, next) => AdministrationOutcome::DamagedReleased {
                number,
                next,
                deleted_count,
            },
            Self::NotRetained(retained) => AdministrationOutcome::NotRetained {
                retained,
                deleted_count,
            },
            Self::Emptied(fence) => AdministrationOutcome::Emptied {
                fence,
                deleted_count,
            },
        }
    }

    pub(super) fn what(&self) -> String {
        match self {
            Self::Released(manifest, _) => {
                format!("checkpoint {} is released", manifest.checkpoint)
            }
            Self::DamagedReleased(number, _) => format!("log entry {number} is released"),
            Self::NotRetained(_) => "the checkpoint was released before".to_owned(),
            Self::Emptied(_) => "every checkpoint is released".to_owned(),
        }
    }
}

/// What the log retains, ascending.
pub(super) fn ids(content: &LogContent) -> Vec<CheckpointId> {
    let manifests = content.retained.iter().filter_map(Entry::manifest);
    manifests.map(|manifest| manifest.checkpoint).collect()
}

/// The newest retained checkpoint before this entry.
pub(super) fn older(content: &LogContent, number: LogNumber) -> Option<&Entry> {
    let mut retained = content.retained.iter().rev();
    retained.find(|entry| entry.number < number)
}

/// What an attempt starts from once the checkpoint of this entry is released. Never a newer one: a
/// job that was told to start from an older checkpoint has left the newer ones behind.
pub(super) fn next_start(content: &LogContent, released: LogNumber) -> NextStart {
    let base = content.highest.as_ref().map(Entry::base);
    if base != Some(Base::Checkpoint(released)) {
        return NextStart::Unchanged;
    }
    let manifest = older(content, released).and_then(Entry::manifest);
    manifest.map_or(NextStart::Empty, |manifest| {
        NextStart::Older(Box::new(manifest.clone()))
    })
}
