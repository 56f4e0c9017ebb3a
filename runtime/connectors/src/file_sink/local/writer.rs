//! The writer of one subtask.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use tidegate_engine::{PermanentError, Record, Result, Rows, SinkContext};
use tidegate_protocol::CheckpointId;
use tokio::task::JoinHandle;

use super::pending::{Health, PendingFile, remove_left_overs};
use super::{blocking, is_disk_full};
use crate::encode::Encoder;

/// Bytes collected before they are handed to the file system.
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes kept in memory while the disk is full, about; then the input has to wait.
const UNWRITTEN_BYTES_MAX: usize = 32 << 20;
/// How often a full disk is tried again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);

/// Writes the records of one subtask to files.
pub(in super::super) struct LocalWriter<R, E> {
    folder: PathBuf,
    encoder: E,
    context: SinkContext,
    buffer: Vec<u8>,
    /// Whether records came since the last barrier.
    has_records: bool,
    /// Whether a barrier came.
    has_barrier: bool,
    open: Option<PendingFile>,
    /// What is being written; at most one, so that records stay in order.
    writing: Option<JoinHandle<(PendingFile, Result<()>)>>,
    closed: Closed,
    health: Arc<Health>,
    record: PhantomData<fn(R)>,
}

/// The files of earlier barriers that are not durable yet, in order. One that cannot be made so
/// stays here, and with it its records: they become part of the next checkpoint.
type Closed = Arc<Mutex<Vec<PendingFile>>>;

fn lock(closed: &Closed) -> MutexGuard<'_, Vec<PendingFile>> {
    closed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: Record, E: Encoder<R>> LocalWriter<R, E> {
    pub(in super::super) fn new(folder: PathBuf, encoder: E, context: SinkContext) -> Self {
        Self {
            folder,
            encoder,
            context,
            buffer: Vec::new(),
            has_records: false,
            has_barrier: false,
            open: None,
            writing: None,
            closed: Arc::default(),
            health: Arc::default(),
            record: PhantomData,
        }
    }

    /// Hands the buffer to the file system; waits until what was handed on before is written. Where
    /// the disk is full, bytes stay in memory up to a bound, and beyond it this waits for room.
    async fn hand_on(&mut self) -> Result<()> {
        self.finish_writing().await?;
        while self.health.unwritten_bytes() > UNWRITTEN_BYTES_MAX {
            tokio::time::sleep(FULL_DISK_PAUSE).await;
            self.start_writing(Vec::new());
            self.finish_writing().await?;
        }
        let bytes = std::mem::take(&mut self.buffer);
        self.start_writing(bytes);
        Ok(())
    }

    /// Waits for what is being written.
    async fn finish_writing(&mut self) -> Result<()> {
        let Some(writing) = &mut self.writing else {
            return Ok(());
        };
        let written = writing.await;
        self.writing = None;
        let (file, result) = written?;
        self.open = Some(file);
        match result {
            Err(error) if is_disk_full(&*error) => {
                let error = tidegate_engine::describe(&*error);
                tracing::warn!(
                    operator = self.context.operator,
                    error,
                    "a sink's disk is full"
                );
                Ok(())
            }
            result => result,
        }
    }

    /// Begins to write closed files that could not be written, then these bytes.
    fn start_writing(&mut self, bytes: Vec<u8>) {
        let mut file = self.take_open();
        file.push(bytes);
        let closed = Arc::clone(&self.closed);
        self.writing = Some(self.context.io.spawn_blocking(move || {
            let earlier = lock(&closed).iter_mut().try_for_each(PendingFile::flush);
            let result = earlier.and_then(|()| file.flush());
            (file, result)
        }));
    }

    /// # Errors
    /// A file may lack bytes: the records are to be read again from an earlier checkpoint.
    fn check(&self) -> Result<()> {
        if self.health.is_broken() {
            let folder = self.folder.display();
            let problem = format!(
                "what was written to `{folder}` could not be synchronised; it is written again \
                 from the last checkpoint"
            );
            return Err(problem.into());
        }
        Ok(())
    }

    fn take_open(&mut self) -> PendingFile {
        let open = self.open.take();
        open.unwrap_or_else(|| {
            let extension = self.encoder.extension();
            PendingFile::new(&self.folder, extension, &self.context, &self.health)
        })
    }

    pub(in super::super) async fn write(&mut self, rows: &Rows<R>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.check()?;
        if !self.has_records {
            self.encoder.begin(&mut self.buffer);
            self.has_records = true;
        }
        self.encoder.encode(rows, &mut self.buffer)?;
        let is_behind = self.health.unwritten_bytes() > UNWRITTEN_BYTES_MAX;
        if self.buffer.len() >= BUFFER_BYTES || is_behind {
            self.hand_on().await?;
        }
        Ok(())
    }

    pub(in super::super) fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        self.check()?;
        let has_records = std::mem::take(&mut self.has_records);
        // A barrier comes once every worker has committed what it restored, so that what older
        // attempts left is no checkpoint's any more. Nothing depends on its removal.
        let has_barrier = std::mem::replace(&mut self.has_barrier, true);
        let left_overs = (!has_barrier && self.context.subtask_index == 0)
            .then(|| (self.folder.clone(), self.context.clone()));
        let rest = has_records.then(|| {
            let bytes = std::mem::take(&mut self.buffer);
            match self.writing.take() {
                Some(writing) => (Err(writing), bytes),
                None => (Ok(self.take_open()), bytes),
            }
        });
        let closed = Arc::clone(&self.closed);
        let context = self.context.clone();
        Ok(Box::pin(async move {
            if let Some((file, bytes)) = rest {
                let mut file = match file {
                    Ok(file) => file,
                    // What it could not write is still in it, and is tried again below.
                    Err(writing) => writing.await.map_err(lost)?.0,
                };
                file.push(bytes);
                file.close(&context, checkpoint);
                lock(&closed).push(file);
            }
            blocking(move || {
                if let Some((folder, context)) = left_overs {
                    remove_left_overs(&folder, &context);
                }
                seal_all(&closed)
            })
            .await
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
        if let Some(transaction) = file.seal()? {
            transactions.push(serde_json::to_value(transaction)?);
        }
    }
    files.clear();
    Ok(transactions)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tidegate_engine::Sink;

    use super::*;
    use crate::encode::Lines;
    use crate::file_sink::{Either, FileSink};
    use crate::testing::{rows, sink_context};

    type LinesWriter = LocalWriter<String, Lines>;

    fn new(folder: &tempfile::TempDir) -> (FileSink<String, Lines>, LinesWriter) {
        let sink = FileSink::new(folder.path(), Lines);
        let Either::Local(writer) = sink.writer(sink_context(1, 0)).unwrap().0 else {
            panic!("it writes to a folder")
        };
        (sink, *writer)
    }

    fn lines(from: u64, to: u64) -> Vec<String> {
        (from..to).map(|number| format!("{number:0100}")).collect()
    }

    async fn pre_commit(writer: &mut LinesWriter, checkpoint: u64) -> Result<Vec<Value>> {
        let checkpoint = CheckpointId::new(checkpoint).unwrap();
        writer.pre_commit(checkpoint)?.await
    }

    /// The committed files' lines, in the order of the files' names.
    fn committed(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.is_file());
        files.sort();
        let text: String = files
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        text.lines().map(str::to_owned).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_fails_checkpoints_and_later_everything_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let (sink, mut writer) = new(&folder);
        let health = Arc::clone(&writer.health);
        writer.write(&rows(&lines(0, 10_000))).await.unwrap();
        health.is_disk_full.store(true, Ordering::Relaxed);
        for checkpoint in 1..4 {
            let from = checkpoint * 10_000;
            writer
                .write(&rows(&lines(from, from + 9_999)))
                .await
                .unwrap();
            writer
                .write(&rows(&lines(from + 9_999, from + 10_000)))
                .await
                .unwrap();
            let error = pre_commit(&mut writer, checkpoint).await.unwrap_err();
            assert!(error.to_string().contains("make room"), "{error}");
        }
        health.is_disk_full.store(false, Ordering::Relaxed);
        writer.write(&rows(&lines(40_000, 50_000))).await.unwrap();
        let transactions = pre_commit(&mut writer, 4).await.unwrap();
        sink.commit(transactions).await.unwrap();
        assert_eq!(committed(&folder), lines(0, 50_000));
        assert_eq!(health.unwritten_bytes(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn while_the_disk_is_full_memory_is_bounded_and_the_input_waits() {
        let folder = tempfile::tempdir().unwrap();
        let (sink, mut writer) = new(&folder);
        let health = Arc::clone(&writer.health);
        health.is_disk_full.store(true, Ordering::Relaxed);
        let waits = tokio::spawn(async move {
            while health.unwritten_bytes() <= UNWRITTEN_BYTES_MAX {
                tokio::task::yield_now().await;
            }
            health.is_disk_full.store(false, Ordering::Relaxed);
        });
        for from in (0..400_000).step_by(4_000) {
            writer
                .write(&rows(&lines(from, from + 4_000)))
                .await
                .unwrap();
            let most = UNWRITTEN_BYTES_MAX + 4 * BUFFER_BYTES;
            assert!(writer.health.unwritten_bytes() < most);
        }
        waits.await.unwrap();
        let transactions = pre_commit(&mut writer, 1).await.unwrap();
        sink.commit(transactions).await.unwrap();
        assert_eq!(committed(&folder), lines(0, 400_000));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_cannot_be_synchronised_fails_the_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut writer) = new(&folder);
        writer.write(&rows(&lines(0, 1))).await.unwrap();
        writer.health.is_sync_failing.store(true, Ordering::Relaxed);
        pre_commit(&mut writer, 1).await.unwrap_err();
        writer
            .health
            .is_sync_failing
            .store(false, Ordering::Relaxed);
        let error = writer.write(&rows(&lines(1, 2))).await.unwrap_err();
        assert!(error.to_string().contains("could not be synchronised"));
    }
}
