//! Writes changes of Checkpoint objects.

use std::sync::Arc;

use kube::ResourceExt;
use serde_json::{Value, json};
use tidegate_api::Checkpoint;
use tidegate_api::checkpoint::CheckpointStatus;
use tidegate_api::labels::FINALIZER_CHECKPOINT;

use super::children::create;
use crate::checkpoints::{Change, is_guarded};
use crate::client::ApiError;
use crate::merge_patch::replacing;
use crate::queue::JobKey;
use crate::shared::Shared;

/// How many writes a change takes.
pub(super) fn cost(shared: &Shared, key: &JobKey, change: &Change) -> u32 {
    match change {
        Change::Drop { name, uid }
            if known(shared, key, name, uid).is_some_and(|c| is_guarded(&c)) =>
        {
            2
        }
        Change::Create(_) | Change::Record { .. } | Change::Free { .. } | Change::Drop { .. } => 1,
    }
}

/// Writes one change, of the object that it was planned for.
pub(super) async fn write(shared: &Shared, key: &JobKey, change: &Change) -> Result<(), ApiError> {
    match change {
        Change::Create(object) => create(shared, key, object.as_ref()).await,
        Change::Record {
            name,
            uid,
            guard,
            status,
        } => {
            let Some(object) = known(shared, key, name, uid) else {
                return Ok(());
            };
            record(shared, key, &object, (*guard, status)).await
        }
        Change::Free { name, uid } => match known(shared, key, name, uid) {
            Some(object) if is_guarded(&object) => free(shared, key, &object).await,
            _ => Ok(()),
        },
        Change::Drop { name, uid } => {
            let Some(object) = known(shared, key, name, uid) else {
                return Ok(());
            };
            if is_guarded(&object) {
                free(shared, key, &object).await?;
            }
            shared
                .writer
                .delete::<Checkpoint>(&key.namespace, name, uid)
                .await
        }
    }
}

fn known(shared: &Shared, key: &JobKey, name: &str, uid: &str) -> Option<Arc<Checkpoint>> {
    let object = shared.cluster.checkpoints.get(&key.namespace, name)?;
    (object.uid().as_deref() == Some(uid)).then_some(object)
}

async fn free(shared: &Shared, key: &JobKey, object: &Checkpoint) -> Result<(), ApiError> {
    let mut finalizers = object.finalizers().to_vec();
    finalizers.retain(|name| name != FINALIZER_CHECKPOINT);
    let version = object.resource_version();
    let change = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
    merge(shared, key, object, &change).await
}

async fn record(
    shared: &Shared,
    key: &JobKey,
    object: &Checkpoint,
    (guard, status): (bool, &CheckpointStatus),
) -> Result<(), ApiError> {
    let needs_no_guard = is_guarded(object) || !guard;
    if needs_no_guard && object.status.as_ref() == Some(status) {
        return Ok(());
    }
    let mut metadata = json!({"resourceVersion": object.resource_version()});
    if !needs_no_guard {
        let mut finalizers = object.finalizers().to_vec();
        finalizers.push(FINALIZER_CHECKPOINT.to_owned());
        metadata["finalizers"] = json!(finalizers);
    }
    let status = replacing(object.status.as_ref(), status);
    let change = json!({"metadata": metadata, "status": status});
    merge(shared, key, object, &change).await
}

async fn merge(
    shared: &Shared,
    key: &JobKey,
    object: &Checkpoint,
    change: &Value,
) -> Result<(), ApiError> {
    let name = object.name_any();
    match shared
        .writer
        .merge::<Checkpoint>(&key.namespace, &name, change)
        .await
    {
        Ok(object) => {
            shared.cluster.note(object);
            Ok(())
        }
        Err(ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
