//! Writing a state file from asynchronous code: encoding and blocking writes on other threads.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tidegate_protocol::{FileKind, KeyGroup, KeyGroupRange, StateFile};
use tokio::task::JoinHandle;

use super::Compression;
use super::encode::{EncodeError, Encoder};
use crate::local::LocalStore;
use crate::object::{PART_SIZE_BYTES, Upload};
use crate::store::{Backend, blocking};
use crate::{Result, StorageError, Store};

/// Pieces that go to a local file in one system call; larger ones pass the buffer by.
const PIECE_SIZE_BYTES: usize = 256 * 1024;

/// How a state file is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions {
    /// How its columns are compressed.
    pub compression: Compression,
}

/// A state file being written. Dropped before [`StateFileWriter::finish`] has returned, it leaves
/// nothing behind, as far as the store can be reached.
///
/// A call hands its batch to another thread and returns; the next call waits for it. So encoding
/// and writing one batch overlap with preparing the next, and an error may show one call later.
#[derive(Debug)]
pub struct StateFileWriter {
    /// As errors name it.
    location: String,
    path: String,
    target: Target,
    work: Work,
    is_finished: bool,
}

#[derive(Debug)]
enum Target {
    Local {
        store: Arc<LocalStore>,
        name: String,
    },
    /// `None` once it is given up.
    Object(Option<Upload>),
}

enum Work {
    Idle(Box<FileEncoder>),
    Busy(JoinHandle<(Box<FileEncoder>, Result<(), EncodeError>)>),
    /// An earlier call failed or panicked.
    Broken,
}

type FileEncoder = Encoder<Sink>;

/// Where encoded bytes go.
enum Sink {
    File(BufWriter<File>),
    /// What has not been sent yet.
    Part(Vec<u8>),
}

impl StateFileWriter {
    pub(crate) async fn create(
        store: &Store,
        name: &str,
        path: &str,
        schema: SchemaRef,
        options: WriteOptions,
    ) -> Result<Self> {
        let mut writer = Self {
            location: store.location(name),
            path: path.to_owned(),
            target: Target::Object(None),
            work: Work::Broken,
            is_finished: false,
        };
        let sink = match store.backend().clone() {
            Backend::Local(store) => {
                let name = name.to_owned();
                writer.target = Target::Local {
                    store: store.clone(),
                    name: name.clone(),
                };
                let file = blocking(move || store.create_file(&name)).await?;
                Sink::File(BufWriter::with_capacity(PIECE_SIZE_BYTES, file))
            }
            Backend::Object(store) => {
                writer.target = Target::Object(Some(Upload::begin(&store, name).await?));
                Sink::Part(Vec::new())
            }
        };
        let compression = match (options.compression, &writer.target) {
            (Compression::Auto, Target::Local { .. }) => Compression::None,
            (Compression::Auto, Target::Object(_)) => Compression::Lz4,
            (chosen, _) => chosen,
        };
        let encoder =
            Encoder::new(sink, path, schema, compression).map_err(|error| writer.error(error))?;
        writer.work = Work::Idle(Box::new(encoder));
        Ok(writer)
    }

    /// Adds rows. The runs tell their key groups: ascending, over all calls, and the first column
    /// says the same. A key group may go on in the next call.
    ///
    /// # Errors
    /// What the batch before this one met: a full disk, an unreachable store; or rows that do not
    /// fit the file. The file is of no use then.
    pub async fn write(
        &mut self,
        key_group_runs: &[(KeyGroup, usize)],
        batch: &RecordBatch,
    ) -> Result<()> {
        let mut encoder = self.ready().await?;
        self.send(encoder.sink(), PART_SIZE_BYTES).await?;
        let (runs, batch) = (key_group_runs.to_vec(), batch.clone());
        self.work = Work::Busy(tokio::task::spawn_blocking(move || {
            let result = encoder.write(&runs, &batch);
            (encoder, result)
        }));
        Ok(())
    }

    /// Ends the file; it and its name are durable once this returns. `key_groups` is what the
    /// subtask owns, rows or not.
    ///
    /// # Errors
    /// As [`StateFileWriter::write`], for everything written so far.
    pub async fn finish(mut self, kind: FileKind, key_groups: KeyGroupRange) -> Result<StateFile> {
        let mut encoder = self.ready().await?;
        let finished = tokio::task::spawn_blocking(move || {
            let result = encoder.finish(kind, key_groups);
            (encoder, result)
        });
        let (mut encoder, result) = finished.await.map_err(|error| self.panicked(error))?;
        let file = result.map_err(|error| self.error(error))?;
        self.send(encoder.sink(), 1).await?;
        match &mut self.target {
            Target::Local { store, name } => {
                let (store, name) = (store.clone(), name.clone());
                blocking(move || match encoder.sink() {
                    Sink::File(written) => store.finish_file(&name, written.get_ref()),
                    Sink::Part(_) => Ok(()),
                })
                .await?;
            }
            Target::Object(upload) => {
                if let Some(upload) = upload {
                    let checksum = u64::from_str_radix(&file.checksum, 16).unwrap_or_default();
                    upload.close(file.size_bytes, checksum).await?;
                }
            }
        }
        self.is_finished = true;
        Ok(file)
    }

    /// Sends what is encoded, if it is this much and to be sent at all.
    async fn send(&mut self, sink: &mut Sink, least_bytes: usize) -> Result<()> {
        match (sink, &mut self.target) {
            (Sink::Part(part), Target::Object(Some(upload))) if part.len() >= least_bytes => {
                let next = Vec::with_capacity(part.capacity());
                upload.write(std::mem::replace(part, next).into()).await
            }
            _ => Ok(()),
        }
    }

    /// Waits until the batch before is written.
    async fn ready(&mut self) -> Result<Box<FileEncoder>> {
        if let Work::Busy(handle) = &mut self.work {
            let finished = handle.await;
            self.work = Work::Broken;
            let (encoder, result) = finished.map_err(|error| self.panicked(error))?;
            result.map_err(|error| self.error(error))?;
            return Ok(encoder);
        }
        match std::mem::replace(&mut self.work, Work::Broken) {
            Work::Idle(encoder) => Ok(encoder),
            Work::Busy(_) | Work::Broken => Err(StorageError::InvalidState {
                path: self.path.clone(),
                problem: "an earlier write failed".into(),
            }),
        }
    }

    fn error(&self, error: EncodeError) -> StorageError {
        match error {
            EncodeError::Io(source) => StorageError::io("write", &self.location, source),
            EncodeError::Invalid(problem) => StorageError::InvalidState {
                path: self.path.clone(),
                problem,
            },
        }
    }

    fn panicked(&self, error: tokio::task::JoinError) -> StorageError {
        StorageError::InvalidState {
            path: self.path.clone(),
            problem: format!("encoding it failed: {error}"),
        }
    }
}

impl Drop for StateFileWriter {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        match &mut self.target {
            Target::Local { store, name } => {
                // An orphan is collected later; the thread that still writes keeps only its inode.
                if let Err(error) = store.delete(name) {
                    tracing::warn!(
                        error = error.with_causes(),
                        "an unfinished file stays behind"
                    );
                }
            }
            Target::Object(upload) => {
                let runtime = tokio::runtime::Handle::try_current();
                if let (Some(upload), Ok(runtime)) = (upload.take(), runtime) {
                    runtime.spawn(upload.abort());
                }
            }
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idle(_) => "Idle",
            Self::Busy(_) => "Busy",
            Self::Broken => "Broken",
        })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Part(part) => part.write(bytes),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(bytes),
            Self::Part(part) => part.write_all(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Part(part) => part.flush(),
        }
    }
}
