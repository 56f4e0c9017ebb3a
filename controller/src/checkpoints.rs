//! The Checkpoint objects of one job: a mirror of its checkpoint log, and what people ask for by
//! creating and deleting them.
//!
//! ```text
//! retained checkpoints, as the running job tells them ─┐
//! objects that exist, are asked for, are deleted ──────┼─▶ plan ─▶ mirror (budgeted)
//! clean-up pods ───────────────────────────────────────┘        └▶ answers (at once)
//! ```
//! All of it is pure. The log is the truth: an object never makes a checkpoint, and without a job
//! that tells what it retains, no object is made or dropped for the mirror's sake. Nor does a log
//! say anything about an object whose checkpoint lies in another folder: the job was moved, or the
//! object comes from elsewhere.

mod facts;
mod folder;
mod left;
mod mirror;
mod order;
mod release;
mod savepoint;
mod storage;
mod view;

use tidegate_api::checkpoint::Checkpoint;
use tidegate_api::labels::FINALIZER_CHECKPOINT;
use tidegate_api::spec::DeletionPolicy;

pub use facts::{CheckpointsObserved, RefusedAsk, ReleasePod, TellingJob, own_objects};
pub use left::{command_line, files_left};
pub use mirror::is_mirrored;
pub use order::{Change, CheckpointsPlan, CleanupOrder, Told};
pub use storage::{access, storage_of, written_storage};

use crate::plan::LookAgain;
use crate::settings::Settings;

/// What is to be done about one job's Checkpoint objects.
pub fn plan(observed: &CheckpointsObserved, settings: &Settings) -> CheckpointsPlan {
    let mut plan = CheckpointsPlan::default();
    for object in &observed.objects {
        if object.metadata.deletion_timestamp.is_some() {
            release::plan(observed, settings, object, &mut plan);
        } else if goes_with_its_job(observed) {
            release::drop_with_its_job(observed, settings, object, &mut plan);
        } else if object.status.as_ref().is_none_or(|s| s.id.is_none()) {
            savepoint::plan(observed, settings, object, &mut plan);
        }
    }
    if !goes_with_its_job(observed) {
        mirror::plan(observed, settings, &mut plan);
    }
    release::drop_idle_pods(observed, &mut plan);
    if plan.is_busy() {
        plan.look_again = LookAgain::Soon;
    }
    plan
}

/// Whether the job is being deleted together with all of its files.
fn goes_with_its_job(observed: &CheckpointsObserved) -> bool {
    observed.job.as_ref().is_some_and(|job| {
        job.metadata.deletion_timestamp.is_some()
            && job.spec.deletion_policy == DeletionPolicy::Delete
    })
}

/// Whether the object waits for its files to be removed.
pub fn is_guarded(object: &Checkpoint) -> bool {
    let finalizers = object.metadata.finalizers.as_deref().unwrap_or_default();
    finalizers.iter().any(|name| name == FINALIZER_CHECKPOINT)
}

#[cfg(test)]
mod tests;
