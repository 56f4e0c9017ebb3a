//! The checkpoint log of a job folder: list, read, append, and what a reader may trust of it.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidegate_protocol::{AppendOutcome, Entry, LogNumber, Manifest};

use crate::job_folder::LOG_FOLDER;
use crate::store::Creation;
use crate::{JobFolder, Result, StorageError};

/// How often a reader starts anew because the log moved on while it read.
const READ_ATTEMPTS_MAX: usize = 10;

/// What a reader may trust: the highest entry and the checkpoints that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// The highest entry.
    pub entry: Entry,
    /// The retained checkpoints with their entries' numbers, ascending.
    pub checkpoints: Vec<(LogNumber, Manifest)>,
    /// Retained entries that are damaged or missing, ascending. Nothing that they may name is
    /// deleted until they are released.
    pub damaged: Vec<DamagedEntry>,
}

/// A retained entry of the log that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedEntry {
    /// Its number.
    pub number: LogNumber,
    /// Where it is, what is wrong with it and what to do, in one line.
    pub problem: String,
}

impl JobFolder {
    /// Every entry's number, ascending.
    ///
    /// # Errors
    /// A store that cannot be listed.
    pub async fn list_log(&self) -> Result<Vec<LogNumber>> {
        let folder = self.name(LOG_FOLDER);
        let names = self.store().list(&folder).await?;
        let mut numbers: Vec<_> = names
            .iter()
            .filter_map(|name| name.strip_prefix(&folder)?.strip_prefix('/'))
            .filter_map(LogNumber::from_file_name)
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads one entry; `None` where its number is free.
    ///
    /// # Errors
    /// A damaged entry, one of a later format, or a store that cannot be read.
    pub async fn read_entry(&self, number: LogNumber) -> Result<Option<Entry>> {
        let path = entry_path(number);
        let content = self.store().read(&self.name(&path)).await?;
        let Some(content) = content else {
            return Ok(None);
        };
        let entry = Entry::parse(&content, number).map_err(|source| StorageError::Entry {
            location: self.location(&path),
            source,
        })?;
        Ok(Some(entry))
    }

    /// Creates the entry if its number is free. A store that fails is asked again, a bounded number
    /// of times; an answer that leaves it open is [`AppendOutcome::Unknown`].
    pub async fn append(&self, entry: &Entry) -> AppendOutcome {
        let path = entry_path(entry.number);
        let content = Bytes::from(entry.to_bytes());
        match self.store().create(&self.name(&path), content).await {
            Creation::Created => AppendOutcome::Created,
            Creation::Exists => AppendOutcome::Taken,
            Creation::Unknown(error) => AppendOutcome::Unknown {
                reason: error.with_causes(),
            },
        }
    }

    /// What a reader may trust: the highest entry and what it names; `None` for an empty log. Named
    /// entries that are damaged or missing are told apart, and logged.
    ///
    /// # Errors
    /// The highest entry is damaged, nothing that it names is there any more but itself, or the
    /// store cannot be read.
    pub async fn latest(&self) -> Result<Option<Latest>> {
        let mut seen = None;
        let mut gone = BTreeSet::new();
        for _ in 0..READ_ATTEMPTS_MAX {
            let Some(highest) = self.list_log().await?.pop() else {
                return Ok(None);
            };
            // What is gone was freed by a newer entry, which the next listing shows; or by a hand.
            if seen.replace(highest) != Some(highest) {
                gone.clear();
            }
            let Some(entry) = self.read_entry(highest).await? else {
                if !gone.insert(highest) {
                    break;
                }
                continue;
            };
            let (latest, missed) = self.read_named(entry).await?;
            if !missed.is_subset(&gone) {
                gone.extend(missed);
                continue;
            }
            let is_left = |number: &LogNumber| *number != highest && !missed.contains(number);
            if !missed.is_empty() && !latest.entry.retained.iter().any(is_left) {
                break;
            }
            for damaged in &latest.damaged {
                let (number, error) = (damaged.number.get(), &damaged.problem);
                tracing::warn!(
                    log.number = number,
                    error,
                    "a retained checkpoint cannot be read; files that it may name are kept until \
                     it is released with `tidegate checkpoints release FOLDER entry-NUMBER`"
                );
            }
            return Ok(Some(latest));
        }
        let number = gone.first().copied().or(seen).unwrap_or(LogNumber::FIRST);
        Err(StorageError::Missing {
            location: self.location(&entry_path(number)),
        })
    }

    /// Reads the checkpoints that an entry names, itself included; and tells which are not there,
    /// which count as damaged too.
    async fn read_named(&self, entry: Entry) -> Result<(Latest, BTreeSet<LogNumber>)> {
        let mut checkpoints = Vec::with_capacity(entry.retained.len());
        let mut damaged = Vec::new();
        let mut missed = BTreeSet::new();
        for &number in &entry.retained {
            let location = || self.location(&entry_path(number));
            let read = match number == entry.number {
                true => Ok(Some(entry.clone())),
                false => self.read_entry(number).await,
            };
            let named = match read {
                Ok(Some(named)) => Ok(named),
                Ok(None) => {
                    missed.insert(number);
                    let location = location();
                    Err(StorageError::Missing { location })
                }
                Err(error @ StorageError::Entry { .. }) => Err(error),
                Err(error) => return Err(error),
            };
            let manifest = named.and_then(|named| {
                named.manifest().cloned().ok_or_else(|| {
                    let problem =
                        format!("entry {} names it, but it is no checkpoint", entry.number);
                    StorageError::damaged(location(), problem)
                })
            });
            match manifest {
                Ok(manifest) => checkpoints.push((number, manifest)),
                Err(error) => damaged.push(DamagedEntry {
                    number,
                    problem: error.with_causes(),
                }),
            }
        }
        let latest = Latest {
            entry,
            checkpoints,
            damaged,
        };
        Ok((latest, missed))
    }
}

/// Where an entry lies in the job's folder.
pub(crate) fn entry_path(number: LogNumber) -> String {
    format!("{LOG_FOLDER}/{}", number.file_name())
}
