//! The writer of one subtask.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;
use tidegate_engine::{PermanentError, Record, Result, Rows, SinkContext, SinkWriter};
use tidegate_protocol::CheckpointId;
use tokio::task::JoinHandle;

use super::blocking;
use super::pending::{PendingFile, remove_left_overs};
use crate::encode::Encoder;

/// Bytes collected before they are handed to the file system.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes the records of one subtask to files.
pub struct FileWriter<R, E> {
    folder: PathBuf,
    encoder: E,
    context: SinkContext,
    buffer: Vec<u8>,
    /// Whether records came since the last barrier.
    has_records: bool,
    open: Option<PendingFile>,
    /// What is being written; at most one, so that records stay in order.
    writing: Option<JoinHandle<(PendingFile, Result<()>)>>,
    closed: Closed,
    record: PhantomData<fn(R)>,
}

/// The files of earlier barriers that are not durable yet, in order. One that cannot be made so
/// stays here, and with it its records: they become part of the next checkpoint.
type Closed = Arc<Mutex<Vec<PendingFile>>>;

fn lock(closed: &Closed) -> MutexGuard<'_, Vec<PendingFile>> {
    closed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: Record, E: Encoder<R>> FileWriter<R, E> {
    pub(super) fn new(folder: PathBuf, encoder: E, context: SinkContext) -> Self {
        if context.subtask_index == 0 {
            let (folder, context) = (folder.clone(), context.clone());
            // Nothing waits for this: what it misses, a later attempt removes.
            context
                .io
                .clone()
                .spawn_blocking(move || remove_left_overs(&folder, &context));
        }
        Self {
            folder,
            encoder,
            context,
            buffer: Vec::new(),
            has_records: false,
            open: None,
            writing: None,
            closed: Arc::default(),
            record: PhantomData,
        }
    }

    /// Hands the buffer to the file system; waits until what was handed on before is written.
    async fn hand_on(&mut self) -> Result<()> {
        if let Some(writing) = &mut self.writing {
            let written = writing.await;
            self.writing = None;
            let (file, result) = written?;
            self.open = Some(file);
            result?;
        }
        let mut file = self.take_open();
        file.push(std::mem::take(&mut self.buffer));
        self.writing = Some(self.context.io.spawn_blocking(move || {
            let result = file.flush();
            (file, result)
        }));
        Ok(())
    }

    fn take_open(&mut self) -> PendingFile {
        let open = self.open.take();
        open.unwrap_or_else(|| {
            PendingFile::new(&self.folder, self.encoder.extension(), &self.context)
        })
    }
}

impl<R: Record, E: Encoder<R>> SinkWriter for FileWriter<R, E> {
    type Item = R;

    async fn write(&mut self, rows: &Rows<R>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        if !self.has_records {
            self.encoder.begin(&mut self.buffer);
            self.has_records = true;
        }
        self.encoder.encode(rows, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER_BYTES {
            self.hand_on().await?;
        }
        Ok(())
    }

    fn pre_commit(
        &mut self,
        _checkpoint: CheckpointId,
    ) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        let has_records = std::mem::take(&mut self.has_records);
        let rest = has_records.then(|| {
            let bytes = std::mem::take(&mut self.buffer);
            match self.writing.take() {
                Some(writing) => (Err(writing), bytes),
                None => (Ok(self.take_open()), bytes),
            }
        });
        let closed = Arc::clone(&self.closed);
        Ok(Box::pin(async move {
            if let Some((file, bytes)) = rest {
                let mut file = match file {
                    Ok(file) => file,
                    // What it could not write is still in it, and is tried again below.
                    Err(writing) => writing.await.map_err(lost)?.0,
                };
                file.push(bytes);
                lock(&closed).push(file);
            }
            blocking(move || seal_all(&closed)).await
        }))
    }
}

/// A thread that panicked took records with it: only an earlier checkpoint has them.
fn lost(error: tokio::task::JoinError) -> PermanentError {
    PermanentError::with_source("the thread that writes the sink's files ended early", error)
}

/// Makes every closed file durable. Where one fails, all stay for the next checkpoint.
fn seal_all(closed: &Closed) -> Result<Vec<Value>> {
    let mut files = lock(closed);
    let mut transactions = Vec::with_capacity(files.len());
    for file in files.iter_mut() {
        transactions.push(serde_json::to_value(file.seal()?)?);
    }
    files.clear();
    Ok(transactions)
}
