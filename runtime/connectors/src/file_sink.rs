//! Files that appear when the checkpoint that covers them is complete.
//!
//! ```text
//! folder  write ─▶ .pending/…   at a barrier: closed, synchronised, named in the checkpoint
//!                     │
//!                     └── commit: a link, then the pending name goes ─▶ part-…
//!
//! bucket  collect ─▶ .pending/…   at a barrier, or when a file is full: put whole; named in the
//!                     │           checkpoint at the barrier
//!                     └── commit: the store copies it, then the pending one goes ─▶ part-…
//! ```
//!
//! Why not multipart uploads that are completed at the commit: a server need not list them by
//! prefix (MinIO does not), so that those of dead attempts would stay for ever where no rule of
//! the bucket removes them; and where a rule does, it removes what a suspended job has still to
//! commit, which cannot be told from what was committed and taken away.

mod bucket;
mod local;
mod place;
mod recover;
mod transaction;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tidegate_engine::{
    PermanentError, Record, Result, Rows, Sink, SinkContext, SinkRecovery, SinkWriter,
};
use tidegate_protocol::CheckpointId;

use crate::encode::Encoder;
use bucket::{BucketWriter, Buckets};
use local::LocalWriter;
use place::Place;
use transaction::{Grouped, Transaction};

/// Where files lie that no complete checkpoint covers yet.
pub(crate) const PENDING_FOLDER: &str = ".pending";
/// The largest file in a bucket, about, unless the program says otherwise.
const MAX_FILE_BYTES: usize = 16 << 20;

/// Writes records to files of a folder or a bucket, exactly once: a file appears there, whole, when
/// its checkpoint is complete, and never changes again. Each subtask adds one file a checkpoint,
/// none where nothing came, and in a bucket more where one would be too large.
///
/// A folder or prefix belongs to one sink of one job. A job that starts afresh adds its files to
/// those that are there. File names sort by attempt, checkpoint and subtask.
///
/// While the disk is full or the store away, checkpoints fail and say so, and the job goes on:
/// about 32 MiB of output a subtask stay in memory, then the input waits. Where it is the commit of
/// a complete checkpoint that fails, the job goes back to that checkpoint and tries again, as after
/// any failure. Once it is healed everything is written, once.
#[derive(Debug, Clone)]
pub struct FileSink<R, E> {
    path: PathBuf,
    encoder: E,
    max_file_bytes: usize,
    leaves_others: bool,
    buckets: Arc<Buckets>,
    record: std::marker::PhantomData<fn(R)>,
}

impl<R: Record, E: Encoder<R>> FileSink<R, E> {
    /// Files in this folder, which is made when needed, in a format. Or, named as
    /// `s3://bucket/prefix?endpoint=http://host:9000&region=us-east-1`, in a bucket: endpoint,
    /// region and credentials that are not given are those of the job's storage if that is in a
    /// bucket too, else the environment's.
    pub fn new(folder: impl Into<PathBuf>, encoder: E) -> Self {
        Self {
            path: folder.into(),
            encoder,
            max_file_bytes: MAX_FILE_BYTES,
            leaves_others: false,
            buckets: Arc::default(),
            record: std::marker::PhantomData,
        }
    }

    /// Begins another file in a bucket beyond this size, 16 MiB by default. Up to two of them are
    /// kept in memory for each subtask. A folder's files are as large as it takes.
    #[must_use]
    pub fn with_max_file_bytes(mut self, max_file_bytes: usize) -> Self {
        self.max_file_bytes = max_file_bytes.max(1);
        self
    }

    /// Leaves uncommitted what another job wrote before a checkpoint from which this job starts.
    /// For a place that this job may not write to, where the other job commits for itself, or has
    /// done so; where it was killed first and never runs again, those files never appear. A job
    /// whose own state was moved to another place counts as another job.
    #[must_use]
    pub fn leaving_other_jobs_files(mut self) -> Self {
        self.leaves_others = true;
        self
    }

    fn place(&self) -> Result<Place> {
        Place::of_path(self.path.clone())
    }
}

impl<R: Record, E: Encoder<R>> Sink for FileSink<R, E> {
    type Item = R;
    type Writer = FileWriter<R, E>;

    fn writer(&self, context: SinkContext) -> Result<FileWriter<R, E>> {
        self.encoder.check()?;
        let encoder = self.encoder.clone();
        Ok(FileWriter(match self.place()? {
            Place::Folder(folder) => {
                Either::Local(Box::new(LocalWriter::new(folder, encoder, context)))
            }
            Place::Bucket(url) => {
                self.buckets.set_options(&context.job.storage);
                let folder = self.buckets.open(&url)?;
                let target = bucket::Target { url, folder };
                let writer = BucketWriter::new(target, encoder, context, self.max_file_bytes);
                Either::Bucket(Box::new(writer))
            }
        }))
    }

    fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        let (place, buckets) = (self.place(), Arc::clone(&self.buckets));
        Box::pin(async move {
            let all = Grouped::of(&place?, Transaction::parse_all(transactions)?)?;
            for (folders, transactions) in all.folders {
                local::commit(folders, transactions).await?;
            }
            for (url, transactions) in all.buckets {
                bucket::commit(&buckets.open(&url)?, &transactions).await?;
            }
            Ok(())
        })
    }

    fn recover(
        &self,
        recovery: SinkRecovery,
        transactions: Vec<Value>,
    ) -> BoxFuture<'static, Result<()>> {
        let (place, buckets) = (self.place(), Arc::clone(&self.buckets));
        let leaves_others = self.leaves_others;
        Box::pin(async move {
            let place = place?;
            buckets.set_options(&recovery.job.storage);
            let transactions = Transaction::parse_all(transactions)?;
            let recovered =
                recover::recover(&place, &buckets, &recovery, transactions, leaves_others);
            match &place {
                Place::Folder(own) => {
                    recovered.await?;
                    local::prepare(own.clone(), recovery).await
                }
                Place::Bucket(url) => {
                    let probed = async { bucket::probe(&buckets.open(url)?, &recovery).await };
                    futures::try_join!(probed, recovered).map(|((), ())| ())
                }
            }
        })
    }

    fn location(&self) -> Option<String> {
        Some(format!("the files of `{}`", self.path.display()))
    }
}

/// Writes the records of one subtask to files.
pub struct FileWriter<R, E>(Either<R, E>);

enum Either<R, E> {
    Local(Box<LocalWriter<R, E>>),
    Bucket(Box<BucketWriter<R, E>>),
}

impl<R: Record, E: Encoder<R>> SinkWriter for FileWriter<R, E> {
    type Item = R;

    async fn write(&mut self, rows: &Rows<R>) -> Result<()> {
        match &mut self.0 {
            Either::Local(writer) => writer.write(rows).await,
            Either::Bucket(writer) => writer.write(rows).await,
        }
    }

    fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        match &mut self.0 {
            Either::Local(writer) => writer.pre_commit(checkpoint),
            Either::Bucket(writer) => writer.pre_commit(checkpoint),
        }
    }
}

/// What it means that a file is neither pending nor committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Somebody has deleted it: its records would be lost.
    Fails,
    /// It was committed before, and has been taken away since.
    WasCommitted,
}

impl Missing {
    /// `pending` is where the file should be, and `file` its name once committed.
    fn judge(self, pending: &str, file: &str) -> Result<()> {
        match self {
            Self::WasCommitted => {
                tracing::warn!(
                    pending,
                    file,
                    "a file of the restored checkpoint is gone; taken for committed"
                );
                Ok(())
            }
            Self::Fails => Err(PermanentError::new(format!(
                "`{pending}` is gone before it was committed: something other than this job has \
                 deleted it; give each sink a folder of its own"
            ))
            .into()),
        }
    }
}

/// A number that no other file has, whatever became of the log that numbers attempts.
fn random() -> u64 {
    // The hasher's keys are random and differ each time.
    RandomState::new().hash_one(std::process::id())
}
