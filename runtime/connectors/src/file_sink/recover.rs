//! What a restored checkpoint holds: it is committed before anything else is written.
//!
//! A complete checkpoint's transactions are final for ever, and committing them again changes
//! nothing. So a job that starts from another job's checkpoint commits that job's, too: where the
//! other one was killed before it had done so, and never runs again, nobody else would.

use tidegate_engine::{BoxError, Result, SinkRecovery};

use super::bucket::{self, Buckets};
use super::local;
use super::place::Place;
use super::transaction::{Grouped, Transaction};

/// Whose transactions are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// This job's.
    Own,
    /// Those of the job from whose checkpoint this one starts.
    AnotherJobs,
}

impl Whose {
    /// Says of a failure what the files have to do with this job.
    fn explain(self, place: &str, error: BoxError) -> BoxError {
        match self {
            Self::Own => error,
            Self::AnotherJobs => Box::new(AnotherJobsError {
                place: place.to_owned(),
                source: error,
            }),
        }
    }
}

/// Tells that the place of another job's files is no more: it may have been deleted with that job
/// long ago.
pub(super) fn warn_of_gone(count: usize, place: &str) {
    tracing::warn!(
        count,
        place,
        "the place that another job wrote to before its checkpoint does not exist here; what it \
         may not have committed there is left to it"
    );
}

/// Another job's files that could not be committed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot commit what another job wrote to `{place}` before the checkpoint that this job starts \
     from; let this job read, write and delete there until it runs, or, where that is not wanted, \
     have its sink leave such files to the other job by `FileSink::leaving_other_jobs_files`"
)]
struct AnotherJobsError {
    place: String,
    #[source]
    source: BoxError,
}

/// Commits the restored checkpoint's transactions. Where those of another job are left to it, this
/// says so.
pub(super) async fn recover(
    place: &Place,
    buckets: &Buckets,
    recovery: &SinkRecovery,
    transactions: Vec<Transaction>,
    leaves_others: bool,
) -> Result<()> {
    let is_of_another = |it: &Transaction| it.is_of_another(&recovery.job.id);
    let (others, own): (Vec<_>, Vec<_>) = transactions.into_iter().partition(is_of_another);
    commit(place, buckets, own, Whose::Own).await?;
    if leaves_others && !others.is_empty() {
        let (operator, count) = (&recovery.operator, others.len());
        tracing::warn!(
            operator,
            count,
            "another job's files are left to it to commit"
        );
        return Ok(());
    }
    commit(place, buckets, others, Whose::AnotherJobs).await
}

async fn commit(
    place: &Place,
    buckets: &Buckets,
    transactions: Vec<Transaction>,
    whose: Whose,
) -> Result<()> {
    let all = Grouped::of(place, transactions)?;
    for (folders, transactions) in all.folders {
        let at = folders.written().display().to_string();
        let committed = local::recover(folders, transactions, whose).await;
        committed.map_err(|error| whose.explain(&at, error))?;
    }
    for (url, transactions) in all.buckets {
        let committed = async {
            let folder = buckets.open(&url)?;
            bucket::recover(&folder, &transactions, whose).await
        };
        committed
            .await
            .map_err(|error| whose.explain(&url.to_string(), error))?;
    }
    Ok(())
}
