//! The checkpoint log of a job folder: list, read, append, and what a reader may trust of it.

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

    /// What a reader may trust: the highest entry and what it names; `None` for an empty log.
    ///
    /// # Errors
    /// A damaged entry, a named entry that is missing, or a store that cannot be read.
    pub async fn latest(&self) -> Result<Option<Latest>> {
        let mut missing = None;
        for _ in 0..READ_ATTEMPTS_MAX {
            let Some(highest) = self.list_log().await?.pop() else {
                return Ok(None);
            };
            // What is gone was freed by a newer entry, which the next listing shows.
            if missing.is_some_and(|(seen, _)| seen == highest) {
                break;
            }
            let Some(entry) = self.read_entry(highest).await? else {
                missing = Some((highest, highest));
                continue;
            };
            match self.read_named(entry).await? {
                Ok(latest) => return Ok(Some(latest)),
                Err(number) => missing = Some((highest, number)),
            }
        }
        let number = missing.map_or(LogNumber::FIRST, |(_, number)| number);
        Err(StorageError::Missing {
            location: self.location(&entry_path(number)),
        })
    }

    /// Reads the checkpoints that an entry names, itself included; the number of one that is gone.
    async fn read_named(&self, entry: Entry) -> Result<Result<Latest, LogNumber>> {
        let mut checkpoints = Vec::with_capacity(entry.retained.len());
        for &number in &entry.retained {
            let named = if number == entry.number {
                Some(entry.clone())
            } else {
                self.read_entry(number).await?
            };
            let Some(named) = named else {
                return Ok(Err(number));
            };
            let manifest = named.manifest().cloned().ok_or_else(|| {
                let problem = format!("entry {} names it, but it is no checkpoint", entry.number);
                StorageError::damaged(self.location(&entry_path(number)), problem)
            })?;
            checkpoints.push((number, manifest));
        }
        Ok(Ok(Latest { entry, checkpoints }))
    }
}

/// Where an entry lies in the job's folder.
pub(crate) fn entry_path(number: LogNumber) -> String {
    format!("{LOG_FOLDER}/{}", number.file_name())
}
