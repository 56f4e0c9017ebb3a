//! Files that are being written, and those that dead attempts left behind.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tidegate_engine::{Result, SinkContext};

use super::{PENDING_FOLDER, Transaction, commit, io_error};

/// A file that is being written, or will be. Unless it is sealed, it goes when it is dropped.
#[derive(Debug)]
pub(super) struct PendingFile {
    folder: PathBuf,
    /// In the pending folder.
    name: String,
    /// Once it is committed.
    final_name: String,
    file: Option<File>,
    written_bytes: u64,
    /// What comes behind them and is not written yet.
    rest: Vec<u8>,
    is_sealed: bool,
}

impl PendingFile {
    /// A file to come. Its name has a random part, so that no two are ever the same, whatever
    /// became of the log that numbers attempts.
    pub(super) fn new(folder: &Path, extension: &str, context: &SinkContext) -> Self {
        let (subtask, attempt) = (context.subtask_index, context.attempt);
        // The hasher's keys are random and differ each time.
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            folder: folder.to_owned(),
            name: format!("{}-{attempt}-{subtask}-{random:016x}", context.operator),
            final_name: format!("part-{subtask:05}-{attempt}-{random:016x}.{extension}"),
            file: None,
            written_bytes: 0,
            rest: Vec::new(),
            is_sealed: false,
        }
    }

    /// Adds bytes, to be written with the next [`PendingFile::flush`].
    pub(super) fn push(&mut self, mut bytes: Vec<u8>) {
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
        self.written_bytes += self.rest.len() as u64;
        self.rest.clear();
        Ok(())
    }

    fn write(&mut self, path: &Path) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                fs::create_dir_all(self.folder.join(PENDING_FOLDER))?;
                none.insert(
                    OpenOptions::new()
                        .write(true)
                        .create(true)
                        .truncate(true)
                        .open(path)?,
                )
            }
        };
        // A try that failed may have written a part.
        file.seek(SeekFrom::Start(self.written_bytes))?;
        file.write_all(&self.rest)
    }

    /// Makes the file outlive a loss of power. After an error it can be called again.
    pub(super) fn seal(&mut self) -> Result<Transaction> {
        self.flush()?;
        if let Some(file) = &self.file {
            let sealed = file.sync_all();
            sealed.map_err(|error| io_error("synchronise", &self.path(), error))?;
            commit::synchronise(&self.folder.join(PENDING_FOLDER))?;
        }
        self.is_sealed = true;
        Ok(Transaction {
            pending: self.name.clone(),
            file: self.final_name.clone(),
            size_bytes: self.written_bytes,
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(PENDING_FOLDER).join(&self.name)
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if self.file.is_some() && !self.is_sealed {
            // What stays behind is removed at the start of a later attempt.
            let _ = fs::remove_file(self.path());
        }
    }
}

/// Removes what earlier attempts of this subtask's operator left uncommitted. Called once the
/// restored checkpoint's files are committed.
pub(super) fn remove_left_overs(folder: &Path, context: &SinkContext) {
    let pending_folder = folder.join(PENDING_FOLDER);
    let Ok(entries) = fs::read_dir(&pending_folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let attempt = name
            .to_str()
            .and_then(|name| attempt_of(name, &context.operator));
        if attempt.is_some_and(|attempt| attempt < context.attempt.get()) {
            // Another subtask may be at the same work.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The attempt in a pending file's name, if it is this operator's.
fn attempt_of(name: &str, operator: &str) -> Option<u64> {
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
