//! Files that are being written, and those that dead attempts left behind.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidegate_engine::{Result, SinkContext};
use tidegate_protocol::CheckpointId;
use tidegate_storage::StorageUrl;

use super::super::transaction::Transaction;
use super::super::{PENDING_FOLDER, random};
use super::{commit, io_error};

/// What a writer knows of its files while others write them.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Bytes handed on that are not written yet.
    unwritten_bytes: AtomicUsize,
    /// Whether a file may lack bytes that its system took: only an earlier checkpoint has them.
    is_broken: AtomicBool,
    #[cfg(test)]
    pub(super) is_disk_full: AtomicBool,
    #[cfg(test)]
    pub(super) is_sync_failing: AtomicBool,
}

impl Health {
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }
}

/// A file that is being written, or will be. Unless it is sealed, it goes when it is dropped.
#[derive(Debug)]
pub(super) struct PendingFile {
    folder: PathBuf,
    job: String,
    /// In the pending folder.
    name: String,
    /// What its name ends with once it is committed: subtask, random part, extension.
    final_ending: String,
    final_name: Option<String>,
    health: Arc<Health>,
    file: Option<File>,
    written_bytes: u64,
    /// What comes behind them and is not written yet.
    rest: Vec<u8>,
    is_sealed: bool,
}

impl PendingFile {
    /// A file to come. Its name has a random part, so that no two are ever the same, whatever
    /// became of the log that numbers attempts.
    pub(super) fn new(
        folder: &Path,
        extension: &str,
        context: &SinkContext,
        health: &Arc<Health>,
    ) -> Self {
        let (subtask, attempt) = (context.subtask_index, context.attempt);
        let random = random();
        let (job, operator) = (&context.job.id, &context.operator);
        Self {
            folder: folder.to_owned(),
            job: job.clone(),
            name: format!("{job}/{operator}-{attempt}-{subtask}-{random:016x}"),
            final_ending: format!("{subtask:05}-{random:016x}.{extension}"),
            final_name: None,
            health: Arc::clone(health),
            file: None,
            written_bytes: 0,
            rest: Vec::new(),
            is_sealed: false,
        }
    }

    /// Adds bytes, to be written with the next [`PendingFile::flush`].
    pub(super) fn push(&mut self, mut bytes: Vec<u8>) {
        let unwritten_bytes = &self.health.unwritten_bytes;
        unwritten_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if self.rest.is_empty() {
            self.rest = bytes;
        } else {
            self.rest.append(&mut bytes);
        }
    }

    /// Writes what is not written yet. After an error it can be called again.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let path = self.path();
        let written = self.write(&path);
        written.map_err(|error| io_error("write", &path, error))?;
        let unwritten_bytes = &self.health.unwritten_bytes;
        unwritten_bytes.fetch_sub(self.rest.len(), Ordering::Relaxed);
        self.written_bytes += self.rest.len() as u64;
        self.rest.clear();
        Ok(())
    }

    /// Names it after the checkpoint whose barrier ended it. Names sort by attempt, checkpoint and
    /// subtask.
    pub(super) fn close(&mut self, context: &SinkContext, checkpoint: CheckpointId) {
        let (attempt, checkpoint) = (context.attempt.get(), checkpoint.get());
        let ending = &self.final_ending;
        self.final_name = Some(format!("part-{attempt:010}-{checkpoint:010}-{ending}"));
    }

    fn write(&mut self, path: &Path) -> std::io::Result<()> {
        if self.file.is_none() {
            self.make_folder()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(path)?,
            ),
        };
        // A try that failed may have written a part.
        file.seek(SeekFrom::Start(self.written_bytes))?;
        #[cfg(test)]
        if self.health.is_disk_full.load(Ordering::Relaxed) {
            file.write_all(&self.rest[..self.rest.len() / 2])?;
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        file.write_all(&self.rest)
    }

    /// Makes the folder that it is pending in, for good.
    fn make_folder(&self) -> std::io::Result<()> {
        let pending_folder = self.folder.join(PENDING_FOLDER);
        let own = pending_folder.join(&self.job);
        if own.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&own)?;
        File::open(&pending_folder)?.sync_all()
    }

    /// Makes a closed file outlive a loss of power; `None` where its records have no bytes, and
    /// there is no file. It can be called again after an error that does not break the writer.
    ///
    /// # Panics
    /// Where the file is not closed.
    pub(super) fn seal(&mut self) -> Result<Option<Transaction>> {
        self.flush()?;
        if self.written_bytes == 0 {
            return Ok(None);
        }
        if let Some(file) = &self.file {
            let synchronised = file.sync_all();
            #[cfg(test)]
            let synchronised = match self.health.is_sync_failing.load(Ordering::Relaxed) {
                true => Err(std::io::ErrorKind::Other.into()),
                false => synchronised,
            };
            synchronised.map_err(|error| {
                // The kernel drops pages that it could not write, and then reports success.
                self.health.is_broken.store(true, Ordering::Relaxed);
                io_error("synchronise", &self.path(), error)
            })?;
            commit::synchronise(&self.folder.join(PENDING_FOLDER).join(&self.job))?;
        }
        self.is_sealed = true;
        let file = self.final_name.clone();
        let folder = std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone());
        Ok(Some(Transaction {
            place: Some(StorageUrl::Local(folder).to_string()),
            job: Some(self.job.clone()),
            pending: self.name.clone(),
            file: file.expect("a file is closed before it is sealed"),
            size_bytes: self.written_bytes,
        }))
    }

    fn path(&self) -> PathBuf {
        self.folder.join(PENDING_FOLDER).join(&self.name)
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        let unwritten_bytes = &self.health.unwritten_bytes;
        unwritten_bytes.fetch_sub(self.rest.len(), Ordering::Relaxed);
        if self.file.is_some() && !self.is_sealed {
            // What stays behind is removed at the start of a later attempt.
            let _ = fs::remove_file(self.path());
        }
    }
}

/// Removes what earlier attempts of this subtask's operator left uncommitted. Only for when every
/// worker has committed the restored checkpoint's files.
pub(super) fn remove_left_overs(folder: &Path, context: &SinkContext) {
    let pending_folder = folder.join(PENDING_FOLDER).join(&context.job.id);
    let Ok(entries) = fs::read_dir(&pending_folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let attempt = name
            .to_str()
            .and_then(|name| attempt_of(name, &context.operator));
        if attempt.is_some_and(|attempt| attempt < context.attempt.get()) {
            // One that stays is removed by a later attempt.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The attempt in a pending file's name, if it is this operator's.
pub(super) fn attempt_of(name: &str, operator: &str) -> Option<u64> {
    let mut parts = name.strip_prefix(operator)?.strip_prefix('-')?.split('-');
    let attempt = parts.next()?.parse().ok()?;
    // Another operator's id may begin with this one's.
    let is_own = parts.next()?.parse::<u32>().is_ok() && parts.next()?.len() == 16;
    (is_own && parts.next().is_none()).then_some(attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_operators_own_files_are_left_overs() {
        assert_eq!(attempt_of("out-3-0-00000000000000ff", "out"), Some(3));
        assert_eq!(attempt_of("out-2-3-0-00000000000000ff", "out"), None);
        assert_eq!(attempt_of("other-3-0-00000000000000ff", "out"), None);
        assert_eq!(attempt_of("out-3-0", "out"), None);
    }
}
