//! Files of a folder: written beside it, synchronised at a barrier, linked into it at the commit.

mod commit;
mod pending;
mod writer;

use std::path::{Path, PathBuf};

use tidegate_engine::{PermanentError, Result};

use super::transaction::Transaction;
use super::{Missing, PENDING_FOLDER};
pub(super) use writer::LocalWriter;

/// Commits what a completed checkpoint holds.
pub(super) async fn commit(folder: PathBuf, transactions: Vec<Transaction>) -> Result<()> {
    blocking(move || commit::commit(&folder, &transactions, Missing::Fails)).await
}

/// Commits what the restored checkpoint holds, and sees that the folder can be written.
pub(super) async fn recover(folder: PathBuf, transactions: Vec<Transaction>) -> Result<()> {
    blocking(move || {
        check_is_own(&folder, &transactions)?;
        prepare(&folder)?;
        // Whoever reads the results may have taken a file away since it was committed.
        commit::commit(&folder, &transactions, Missing::WasCommitted)
    })
    .await
}

fn pending_path(folder: &Path, transaction: &Transaction) -> PathBuf {
    folder.join(PENDING_FOLDER).join(&transaction.pending)
}

/// A job that is started on another machine, or whose folder was deleted, must not take files for
/// committed that are not there.
fn check_is_own(folder: &Path, transactions: &[Transaction]) -> Result<()> {
    let pending_folder = folder.join(PENDING_FOLDER);
    if transactions.is_empty() || pending_folder.exists() {
        return Ok(());
    }
    let (count, path) = (transactions.len(), pending_folder.display());
    let message = format!(
        "{count} files of the restored checkpoint were written to `{path}`, which is not there: \
         run the job where that folder is, or make an empty one \
         to go on without those files"
    );
    Err(PermanentError::new(message).into())
}

/// Makes the folder, so that one that cannot be written is told at the start.
fn prepare(folder: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(folder.join(PENDING_FOLDER));
    match made.map_err(|error| io_error("make the folder", folder, error)) {
        Err(error) if !is_disk_full(&*error) => {
            let message = format!("the file sink cannot use `{}`", folder.display());
            Err(PermanentError::with_source(message, error).into())
        }
        _ => Ok(()),
    }
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
    let kind = error
        .downcast_ref::<FileError>()
        .map(|error| error.source.kind());
    matches!(
        kind,
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    )
}

/// A file system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct FileError {
    message: String,
    source: std::io::Error,
}

#[cfg(test)]
mod full_disk_tests;
#[cfg(test)]
mod tests;
