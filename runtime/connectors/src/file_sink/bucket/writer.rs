//! The writer of one subtask.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use tidegate_engine::{Record, Result, Rows, SinkContext};
use tidegate_protocol::CheckpointId;
use tokio::task::JoinHandle;

use super::super::random;
use super::outbox::{Outbox, Outgoing};
use super::{Target, own_folder, remove_left_overs};
use crate::encode::Encoder;

/// How often a store that does not take what is in memory is tried again; each try has attempts
/// and pauses of its own.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// Writes the records of one subtask to objects. One is put whole, when it is large enough or a
/// barrier comes.
///
/// # Invariants
/// At most two files' bytes are in memory: one that is being collected, and one that is being put
/// (`while_the_store_is_away_memory_is_bounded_and_the_input_waits`).
pub(in super::super) struct BucketWriter<R, E> {
    target: Target,
    encoder: E,
    context: SinkContext,
    max_file_bytes: usize,
    buffer: Vec<u8>,
    /// Whether records came since the last file.
    has_records: bool,
    /// Whether a barrier came.
    has_barrier: bool,
    file_count: u64,
    pub(super) outbox: Arc<Outbox>,
    sending: Option<JoinHandle<Result<()>>>,
    record: PhantomData<fn(R)>,
}

impl<R: Record, E: Encoder<R>> BucketWriter<R, E> {
    pub(in super::super) fn new(
        target: Target,
        encoder: E,
        context: SinkContext,
        max_file_bytes: usize,
    ) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(target.folder.clone())),
            target,
            encoder,
            context,
            max_file_bytes,
            buffer: Vec::new(),
            has_records: false,
            has_barrier: false,
            file_count: 0,
            sending: None,
            record: PhantomData,
        }
    }

    pub(in super::super) async fn write(&mut self, rows: &Rows<R>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        if !self.has_records {
            self.encoder.begin(&mut self.buffer);
            self.has_records = true;
        }
        self.encoder.encode(rows, &mut self.buffer)?;
        if self.buffer.len() >= self.max_file_bytes {
            self.end_file();
            self.start_sending();
        }
        self.wait_for_room().await
    }

    pub(in super::super) fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        if self.has_records {
            self.end_file();
        }
        let attempt = self.context.attempt;
        let (number, subtask) = (checkpoint.get(), self.context.subtask_index);
        let attempt_number = attempt.get();
        let begin = format!("part-{attempt_number:010}-{number:010}-{subtask:05}-");
        self.outbox.close(checkpoint, &begin);
        // A barrier comes once every worker has committed what it restored, so that what older
        // attempts left is no checkpoint's any more. Nothing depends on its removal.
        let has_barrier = std::mem::replace(&mut self.has_barrier, true);
        if !has_barrier && self.context.subtask_index == 0 {
            let folder = self.target.folder.clone();
            let own = own_folder(&self.context.job.id, &self.context.operator);
            let removal = remove_left_overs(folder, own, attempt);
            drop(self.context.io.spawn(removal));
        }
        let outbox = Arc::clone(&self.outbox);
        let (place, job) = (self.target.url.to_string(), self.context.job.id.clone());
        Ok(Box::pin(async move {
            let sealed = outbox.seal(checkpoint).await?;
            let transactions = sealed
                .into_iter()
                .map(|file| serde_json::to_value(file.into_transaction(&place, &job)));
            Ok(transactions.collect::<Result<_, _>>()?)
        }))
    }

    #[cfg(test)]
    pub(super) fn bytes_in_memory(&self) -> usize {
        self.buffer.len() + self.outbox.unsent_bytes()
    }

    /// Hands the buffer on as a file of its own, unless its records have no bytes. Its name has a
    /// random part, so that no two are ever the same, whatever became of the log that numbers
    /// attempts.
    fn end_file(&mut self) {
        self.has_records = false;
        if self.buffer.is_empty() {
            return;
        }
        let content = std::mem::take(&mut self.buffer);
        let (subtask, attempt) = (self.context.subtask_index, self.context.attempt);
        let (count, random) = (self.file_count, random());
        self.file_count += 1;
        let own = own_folder(&self.context.job.id, &self.context.operator);
        let extension = self.encoder.extension();
        self.outbox.push(Outgoing {
            pending: format!("{own}/{attempt}-{subtask}-{count}-{random:016x}"),
            final_ending: format!("{count:08}-{random:016x}.{extension}"),
            size_bytes: content.len() as u64,
            content: Some(content.into()),
            closed: None,
        });
    }

    fn start_sending(&mut self) {
        let outbox = Arc::clone(&self.outbox);
        if self.sending.as_ref().is_none_or(JoinHandle::is_finished) {
            let sending = async move { outbox.send().await };
            self.sending = Some(self.context.io.spawn(sending));
        }
    }

    /// Where a whole file's bytes wait to be put, the input does too, however long that takes.
    async fn wait_for_room(&mut self) -> Result<()> {
        while self.outbox.unsent_bytes() > self.max_file_bytes {
            self.start_sending();
            let Some(sending) = self.sending.as_mut() else {
                return Ok(());
            };
            let sent = sending.await;
            self.sending = None;
            if let Err(error) = sent? {
                let error = tidegate_engine::describe(&*error);
                let operator = &self.context.operator;
                tracing::warn!(operator, error, "a sink's store does not take its files");
                tokio::time::sleep(AWAY_PAUSE).await;
            }
        }
        Ok(())
    }
}
