//! Files of a folder: written beside it, synchronised at a barrier, linked into it at the commit.

mod commit;
mod folders;
mod pending;
mod trial;
mod writer;

use std::path::{Path, PathBuf};

use tidegate_engine::{PermanentError, Result, SinkRecovery};

use super::recover::{Whose, warn_of_gone};
use super::transaction::Transaction;
use super::{Missing, PENDING_FOLDER};
pub(super) use folders::Folders;
pub(super) use writer::LocalWriter;

/// Commits what a completed checkpoint holds.
pub(super) async fn commit(folders: Folders, transactions: Vec<Transaction>) -> Result<()> {
    blocking(move || {
        let found = folders.find(transactions)?;
        for (folder, transactions) in &found.folders {
            commit::commit(folder, transactions, Missing::Fails)?;
        }
        commit::commit(folders.written(), &found.lost, Missing::Fails)
    })
    .await
}

/// Commits what the restored checkpoint holds.
pub(super) async fn recover(
    folders: Folders,
    transactions: Vec<Transaction>,
    whose: Whose,
) -> Result<()> {
    blocking(move || {
        let found = folders.find(transactions)?;
        match whose {
            Whose::Own => folders.refuse(&found.lost)?,
            Whose::AnotherJobs if found.lost.is_empty() => {}
            Whose::AnotherJobs => {
                warn_of_gone(found.lost.len(), &folders.written().display().to_string());
            }
        }
        for (folder, transactions) in &found.folders {
            // Whoever reads the results may have taken a file away since it was committed.
            commit::commit(folder, transactions, Missing::WasCommitted)?;
            folders.remove_copies(folder, transactions);
        }
        Ok(())
    })
    .await
}

/// Sees that the sink's own folder can be written, and makes it where it is missing. A full disk is
/// no reason not to start.
pub(super) async fn prepare(folder: PathBuf, recovery: SinkRecovery) -> Result<()> {
    blocking(move || match trial::try_out(&folder, &recovery) {
        Err(error) if !is_disk_full(&*error) => {
            let message = format!("the file sink cannot use the folder `{}`", folder.display());
            let error: tidegate_engine::BoxError = match is_transient(&*error) {
                true => Box::new(UnusableError {
                    message,
                    source: error,
                }),
                false => PermanentError::with_source(message, error).into(),
            };
            Err(error)
        }
        _ => Ok(()),
    })
    .await
}

fn pending_path(folder: &Path, transaction: &Transaction) -> PathBuf {
    folder.join(PENDING_FOLDER).join(&transaction.pending)
}

/// Runs file system calls where they may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// What is wrong with a file, and what to check.
fn io_error(action: &str, path: &Path, error: std::io::Error) -> tidegate_engine::BoxError {
    use std::io::ErrorKind;
    let advice = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; let the job's user write there, or choose another folder or `s3://bucket/prefix`"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room on that disk",
        ErrorKind::FileTooLarge => {
            "; make room: raise the limit on the size of files (`ulimit -f`), or choose a file \
             system that takes larger ones"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "; choose another folder",
        _ => "",
    };
    let path = path.display();
    Box::new(FileError {
        message: format!("cannot {action} `{path}`{advice}"),
        source: error,
    })
}

/// Whether an error is one that room on the disk would heal.
fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind;
    let full = |error: &FileError| {
        let kind = error.source.kind();
        let kinds = [
            ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded,
            ErrorKind::FileTooLarge,
        ];
        kinds.contains(&kind)
    };
    error.downcast_ref::<FileError>().is_some_and(full)
}

/// Whether an error says nothing of what the folder allows: trying again may help.
fn is_transient(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind;
    let transient = |error: &FileError| {
        let kind = error.source.kind();
        let lasting = [
            ErrorKind::PermissionDenied,
            ErrorKind::ReadOnlyFilesystem,
            ErrorKind::NotFound,
            ErrorKind::NotADirectory,
            ErrorKind::AlreadyExists,
            ErrorKind::Unsupported,
            ErrorKind::InvalidInput,
            ErrorKind::InvalidFilename,
        ];
        !lasting.contains(&kind)
    };
    error.downcast_ref::<FileError>().is_some_and(transient)
}

/// A file system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct FileError {
    message: String,
    source: std::io::Error,
}

/// A folder that could not be tried out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct UnusableError {
    message: String,
    source: tidegate_engine::BoxError,
}

#[cfg(test)]
mod full_disk_tests;
#[cfg(test)]
mod places_tests;
#[cfg(test)]
mod tests;
