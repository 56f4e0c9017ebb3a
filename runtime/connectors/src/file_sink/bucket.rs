//! Files of a bucket: put whole under a hidden prefix, and copied by the store at the commit.

mod commit;
mod outbox;
mod writer;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_engine::{Result, SinkRecovery};
use tidegate_protocol::Attempt;
use tidegate_storage::{ObjectFolder, S3Url, StoreOptions};

use super::{PENDING_FOLDER, random};
pub(super) use commit::{commit, recover};
pub(super) use writer::BucketWriter;

/// Clients of buckets, each made once, so that connections are kept from commit to commit.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    options: StoreOptions,
    open: HashMap<S3Url, ObjectFolder>,
}

impl Buckets {
    /// Sets what URLs leave open, for clients to come.
    pub(super) fn set_options(&self, options: &StoreOptions) {
        self.lock().options = options.clone();
    }

    pub(super) fn open(&self, url: &S3Url) -> Result<ObjectFolder> {
        let mut state = self.lock();
        if let Some(folder) = state.open.get(url) {
            return Ok(folder.clone());
        }
        let folder = ObjectFolder::open(url, &state.options)?;
        state.open.insert(url.clone(), folder.clone());
        Ok(folder)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a sink writes, and the client for it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) url: S3Url,
    pub(super) folder: ObjectFolder,
}

/// Where an operator of a job keeps what is not committed: no other job and operator look there.
fn own_folder(job: &str, operator: &str) -> String {
    format!("{job}/{operator}")
}

/// Does once all that a sink will do, so that a bucket, credentials or a permission that is
/// missing is told at the start.
pub(super) async fn probe(folder: &ObjectFolder, recovery: &SinkRecovery) -> Result<()> {
    const CONTENT: &[u8] = b"a sink has tried whether it can write here\n";
    let own = own_folder(&recovery.job.id, &recovery.operator);
    let (attempt, random) = (recovery.attempt, random());
    let name = format!("{PENDING_FOLDER}/{own}/{attempt}-probe-{random:016x}");
    let copy = format!("{name}-copy");
    folder.put(&name, CONTENT.into()).await?;
    let copied = folder.copy(&name, &copy, CONTENT.len() as u64).await;
    folder.delete(vec![name, copy]).await?;
    copied?;
    Ok(())
}

/// Removes what earlier attempts of this operator left uncommitted. Only for when every worker
/// has committed the restored checkpoint's files.
async fn remove_left_overs(folder: ObjectFolder, own: String, attempt: Attempt) {
    let pending = format!("{PENDING_FOLDER}/{own}");
    let is_left_over = |name: &String| {
        let file = name.strip_prefix(&format!("{pending}/"));
        file.and_then(attempt_of)
            .is_some_and(|other| other < attempt.get())
    };
    let removed = async {
        let names = folder.list(&pending).await?;
        folder
            .delete(names.into_iter().filter(is_left_over).collect())
            .await
    };
    if let Err(error) = removed.await {
        // They are no checkpoint's; a later attempt removes them.
        let error = error.with_causes();
        tracing::warn!(
            error,
            "what earlier attempts left uncommitted stays for now"
        );
    }
}

/// The attempt in the name of something pending.
fn attempt_of(name: &str) -> Option<u64> {
    name.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests;
