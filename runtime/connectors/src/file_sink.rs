//! Files that appear when the checkpoint that covers them is complete.
//!
//! ```text
//! write ─▶ .pending/<operator>-<attempt>-…   at a barrier: closed, synchronised, named in the
//!                     │                      checkpoint
//!                     └── commit (a link, then the pending name goes) ─▶ part-…
//! ```

mod commit;
mod pending;
mod writer;

use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_engine::{PermanentError, Record, Result, Sink, SinkContext};
use tidegate_protocol::Attempt;

use crate::encode::Encoder;
pub use writer::FileWriter;

/// Where files lie that no complete checkpoint covers yet.
const PENDING_FOLDER: &str = ".pending";

/// Writes records to files of a folder, exactly once: a file appears there, whole, when its
/// checkpoint is complete, and never changes again. Each subtask adds at most one file a
/// checkpoint.
///
/// A folder belongs to one sink of one job. A job that starts afresh adds its files to those that
/// are there. File names sort by attempt, checkpoint and subtask.
///
/// While the disk is full, checkpoints fail and say so, and the job goes on: about 32 MiB of output
/// a subtask stay in memory, then the input waits. Once there is room everything is written, once.
#[derive(Debug, Clone)]
pub struct FileSink<R, E> {
    folder: PathBuf,
    encoder: E,
    record: std::marker::PhantomData<fn(R)>,
}

impl<R: Record, E: Encoder<R>> FileSink<R, E> {
    /// Files in this folder, which is made when needed, in a format.
    pub fn new(folder: impl Into<PathBuf>, encoder: E) -> Self {
        Self {
            folder: folder.into(),
            encoder,
            record: std::marker::PhantomData,
        }
    }
}

/// A closed and synchronised file: what a commit needs to know, relative to the sink's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    /// Its name in the pending folder.
    pending: String,
    /// Its name once it is committed.
    file: String,
    size_bytes: u64,
}

impl Transaction {
    fn pending_path(&self, folder: &Path) -> PathBuf {
        folder.join(PENDING_FOLDER).join(&self.pending)
    }

    fn parse_all(values: Vec<Value>) -> Result<Vec<Self>> {
        let parse = |value: Value| {
            serde_json::from_value(value).map_err(|error| {
                let message = "a transaction in the checkpoint is none of a file sink; the sink of \
                               this id was another one when it was taken";
                PermanentError::with_source(message, error).into()
            })
        };
        values.into_iter().map(parse).collect()
    }
}

impl<R: Record, E: Encoder<R>> Sink for FileSink<R, E> {
    type Item = R;
    type Writer = FileWriter<R, E>;

    fn writer(&self, context: SinkContext) -> Result<FileWriter<R, E>> {
        self.encoder.check()?;
        Ok(FileWriter::new(
            self.folder.clone(),
            self.encoder.clone(),
            context,
        ))
    }

    fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        let folder = self.folder.clone();
        Box::pin(blocking(move || {
            commit::commit(
                &folder,
                &Transaction::parse_all(transactions)?,
                commit::Missing::Fails,
            )
        }))
    }

    fn recover(
        &self,
        _attempt: Attempt,
        transactions: Vec<Value>,
    ) -> BoxFuture<'static, Result<()>> {
        let folder = self.folder.clone();
        Box::pin(blocking(move || {
            let transactions = Transaction::parse_all(transactions)?;
            check_is_own(&folder, &transactions)?;
            prepare(&folder)?;
            // Whoever reads the results may have taken a file away since it was committed.
            commit::commit(&folder, &transactions, commit::Missing::WasCommitted)
        }))
    }

    fn location(&self) -> Option<String> {
        Some(format!("the files of `{}`", self.folder.display()))
    }
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
            "; let the job's user write there, or choose another folder"
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
