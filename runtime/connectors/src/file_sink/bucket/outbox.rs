//! Files on their way to the hidden prefix of a bucket.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidegate_engine::Result;
use tidegate_protocol::CheckpointId;
use tidegate_storage::ObjectFolder;

use super::super::PENDING_FOLDER;
use super::super::transaction::Transaction;

/// A file that no checkpoint names yet.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// In the pending folder.
    pub(super) pending: String,
    /// What its name ends with once it is committed.
    pub(super) final_ending: String,
    /// `None` once the store has it.
    pub(super) content: Option<Bytes>,
    pub(super) size_bytes: u64,
    /// The checkpoint whose barrier came next, and the begin of its final name.
    pub(super) closed: Option<(CheckpointId, String)>,
}

/// The files of one subtask, in order. One that cannot be put stays here, and with it its records:
/// they become part of the next checkpoint.
#[derive(Debug)]
pub(super) struct Outbox {
    folder: ObjectFolder,
    files: Mutex<Vec<Outgoing>>,
    unsent_bytes: AtomicUsize,
    /// One sends at a time, so that no file is sent twice for nothing.
    turn: tokio::sync::Mutex<()>,
}

impl Outbox {
    pub(super) fn new(folder: ObjectFolder) -> Self {
        Self {
            folder,
            files: Mutex::default(),
            unsent_bytes: AtomicUsize::new(0),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Bytes that are in memory because the store does not have them yet.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn push(&self, file: Outgoing) {
        let size = file.content.as_ref().map_or(0, Bytes::len);
        self.unsent_bytes.fetch_add(size, Ordering::Relaxed);
        self.lock().push(file);
    }

    /// A barrier: every file so far belongs to this checkpoint or an earlier one.
    pub(super) fn close(&self, checkpoint: CheckpointId, final_begin: &str) {
        for file in self.lock().iter_mut() {
            file.closed
                .get_or_insert_with(|| (checkpoint, final_begin.to_owned()));
        }
    }

    /// Puts what is not put yet.
    ///
    /// # Errors
    /// The store's; what it did not take is put by the next call.
    pub(super) async fn send(&self) -> Result<()> {
        self.send_while(|_| true).await
    }

    /// Puts what belongs to this checkpoint, and gives it away.
    ///
    /// # Errors
    /// The store's; then everything stays for the next checkpoint.
    pub(super) async fn seal(&self, checkpoint: CheckpointId) -> Result<Vec<Outgoing>> {
        let is_of_it = |file: &Outgoing| {
            let closed = file.closed.as_ref();
            closed.is_some_and(|(closed, _)| *closed <= checkpoint)
        };
        self.send_while(is_of_it).await?;
        let mut files = self.lock();
        let (sealed, rest) = files.drain(..).partition(is_of_it);
        *files = rest;
        Ok(sealed)
    }

    async fn send_while(&self, is_wanted: impl Fn(&Outgoing) -> bool) -> Result<()> {
        let _turn = self.turn.lock().await;
        loop {
            let next = self.lock().iter().find_map(|file| {
                let content = file.content.clone()?;
                Some((file.pending.clone(), content, is_wanted(file)))
            });
            let Some((pending, content, true)) = next else {
                return Ok(());
            };
            let size = content.len();
            let name = format!("{PENDING_FOLDER}/{pending}");
            self.folder.put(&name, content).await?;
            for file in self.lock().iter_mut() {
                if file.pending == pending {
                    file.content = None;
                }
            }
            self.unsent_bytes.fetch_sub(size, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Outgoing>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outgoing {
    /// What a commit needs to know of a closed file.
    pub(super) fn into_transaction(self, place: &str, job: &str) -> Transaction {
        let begin = self.closed.map(|(_, begin)| begin).unwrap_or_default();
        Transaction {
            place: Some(place.to_owned()),
            job: Some(job.to_owned()),
            pending: self.pending,
            file: format!("{begin}{}", self.final_ending),
            size_bytes: self.size_bytes,
        }
    }
}
