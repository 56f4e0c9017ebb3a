//! Which folder a file is in: the one that it was written to, or the one that this has become.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tidegate_engine::{PermanentError, Result};

use super::super::PENDING_FOLDER;
use super::super::transaction::{Transaction, add};
use super::{io_error, pending_path};

/// The folders that a file may be in.
///
/// # Invariants
/// A file is committed in one of them only: where it is committed already, else where it is
/// pending, and first of all where it was written
/// (`a_copy_of_the_folder_is_not_committed_beside_it`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Folders {
    written: PathBuf,
    /// Where the sink writes now, if that is elsewhere: the folder may have been moved there with
    /// all that is in it, as a volume that is mounted at another path.
    now: Option<PathBuf>,
}

/// Transactions by the folder to commit them in.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) folders: Vec<(PathBuf, Vec<Transaction>)>,
    /// Those of which nothing is there, not even the folder that they were pending in.
    pub(super) lost: Vec<Transaction>,
}

impl Folders {
    /// Just this one.
    pub(in super::super) fn only(folder: PathBuf) -> Self {
        Self {
            written: folder,
            now: None,
        }
    }

    /// The folder that a checkpoint names, and the sink's own.
    pub(in super::super) fn of(written: PathBuf, own: &Path) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if absolute(&written) == absolute(own) {
            return Self::only(own.to_owned());
        }
        Self {
            written,
            now: Some(own.to_owned()),
        }
    }

    /// As the checkpoint names it.
    pub(in super::super) fn written(&self) -> &Path {
        &self.written
    }

    fn all(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&*self.written).chain(self.now.as_deref())
    }

    /// Looks where each file is, or was until somebody took it away.
    ///
    /// # Errors
    /// A folder that cannot be looked into.
    pub(super) fn find(&self, transactions: Vec<Transaction>) -> Result<Found> {
        let mut found = Found::default();
        for transaction in transactions {
            let folder = match self.holding(&transaction)? {
                None => self.emptied(&transaction)?,
                holding => holding,
            };
            match folder {
                Some(folder) => add(&mut found.folders, &folder.to_owned(), transaction),
                None => found.lost.push(transaction),
            }
        }
        Ok(found)
    }

    /// The folder that has the file. A committed one is the last word: what may still be pending in
    /// a copy of its folder must not be committed beside it.
    fn holding(&self, transaction: &Transaction) -> Result<Option<&Path>> {
        for folder in self.all() {
            if is_there(&folder.join(&transaction.file))? {
                return Ok(Some(folder));
            }
        }
        for folder in self.all() {
            if is_there(&pending_path(folder, transaction))? {
                return Ok(Some(folder));
            }
        }
        Ok(None)
    }

    /// The folder that had the file, which is gone. One that was moved is told from any other by
    /// what the job keeps there.
    fn emptied(&self, transaction: &Transaction) -> Result<Option<&Path>> {
        if is_there(&self.written.join(PENDING_FOLDER))? {
            return Ok(Some(&self.written));
        }
        let Some(now) = self.now.as_deref() else {
            return Ok(None);
        };
        let pending = pending_path(now, transaction);
        let is_moved = pending.parent().map_or(Ok(false), is_there)?;
        Ok(is_moved.then_some(now))
    }

    /// Removes what is still pending of files that are committed in another folder: a user may have
    /// copied the whole folder.
    pub(super) fn remove_copies(&self, folder: &Path, transactions: &[Transaction]) {
        for other in self.all().filter(|other| *other != folder) {
            for transaction in transactions {
                // Most have none.
                let _ = std::fs::remove_file(pending_path(other, transaction));
            }
        }
    }

    /// A job that is started on another machine, or whose folder was deleted, must not take files
    /// for committed that are not there.
    pub(super) fn refuse(&self, lost: &[Transaction]) -> Result<()> {
        if lost.is_empty() {
            return Ok(());
        }
        let (count, path) = (lost.len(), self.written.join(PENDING_FOLDER));
        let message = format!(
            "{count} files of the restored checkpoint were written to `{}`, which is not there: \
             run the job where that folder is, or make an empty one to go on without those files",
            path.display()
        );
        Err(PermanentError::new(message).into())
    }
}

/// Whether something has this path. What cannot be told is an error.
fn is_there(path: &Path) -> Result<bool> {
    match path.try_exists() {
        // A file stands where a folder was.
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
        found => found.map_err(|error| io_error("look for", path, error)),
    }
}
