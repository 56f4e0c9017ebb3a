//! Making pending objects visible, once for ever.
//!
//! Each step can be repeated, by this attempt, by a later one, by an older one that does not know
//! that it has been replaced, or by another job that starts from the checkpoint: all of them copy
//! the same bytes to the same name.

use futures::stream::{self, StreamExt, TryStreamExt};
use tidegate_engine::{BoxError, PermanentError, Result};
use tidegate_storage::{ObjectFolder, StorageError};

use super::super::recover::{Whose, warn_of_gone};
use super::super::transaction::Transaction;
use super::super::{Missing, PENDING_FOLDER};

/// Files committed at the same time.
const CONCURRENT_COMMITS: usize = 8;

/// Commits what a completed checkpoint holds.
pub(in super::super) async fn commit(
    folder: &ObjectFolder,
    transactions: &[Transaction],
) -> Result<()> {
    commit_all(folder, transactions, Missing::Fails).await
}

/// Commits what the restored checkpoint holds; whoever reads the results may have taken a file
/// away since it was committed.
pub(in super::super) async fn recover(
    folder: &ObjectFolder,
    transactions: &[Transaction],
    whose: Whose,
) -> Result<()> {
    match commit_all(folder, transactions, Missing::WasCommitted).await {
        Err(error) if whose == Whose::AnotherJobs && is_bucket_gone(&error) => {
            warn_of_gone(transactions.len(), &folder.location(""));
            Ok(())
        }
        committed => committed,
    }
}

/// Whether the store says so itself. Anything else may be over soon, and the files still there.
fn is_bucket_gone(error: &BoxError) -> bool {
    let error = error.downcast_ref::<StorageError>();
    error.is_some_and(StorageError::is_bucket_gone)
}

async fn commit_all(
    folder: &ObjectFolder,
    transactions: &[Transaction],
    missing: Missing,
) -> Result<()> {
    let commit_owned = |transaction: Transaction| {
        let folder = folder.clone();
        async move { commit_one(&folder, &transaction, missing).await }
    };
    stream::iter(transactions.to_vec())
        .map(commit_owned)
        .buffer_unordered(CONCURRENT_COMMITS)
        .try_collect::<()>()
        .await?;
    // Only now: a name that is gone means that its file was there.
    let pending = transactions.iter().map(pending_name).collect();
    Ok(folder.delete(pending).await?)
}

fn pending_name(transaction: &Transaction) -> String {
    format!("{PENDING_FOLDER}/{}", transaction.pending)
}

async fn commit_one(
    folder: &ObjectFolder,
    transaction: &Transaction,
    missing: Missing,
) -> Result<()> {
    let (pending, file) = (pending_name(transaction), &transaction.file);
    let size_bytes = transaction.size_bytes;
    if folder.copy(&pending, file, size_bytes).await? {
        return Ok(());
    }
    match folder.size(file).await? {
        Some(found) if found == size_bytes => Ok(()),
        Some(found) => {
            let location = folder.location(file);
            let message = format!(
                "`{location}` has {found} bytes and should have {size_bytes}: something other than \
                 this job has written it; give each sink a prefix of its own"
            );
            Err(PermanentError::new(message).into())
        }
        None => missing.judge(&folder.location(&pending), file),
    }
}
