//! Puts back what somebody has changed in a Deployment's pod template.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::client::ApiError;
use crate::queue::JobKey;
use crate::shared::Shared;

/// Merges the template, by a patch that also takes away what others own: an apply would leave it.
pub(super) async fn restore(
    shared: &Shared,
    key: &JobKey,
    name: &str,
    (template, annotations): (&Value, &BTreeMap<String, String>),
) -> Result<(), ApiError> {
    let Some(known) = shared.cluster.deployments.get(&key.namespace, name) else {
        return Ok(());
    };
    let change = json!({
        "metadata": {"resourceVersion": known.resource_version(), "annotations": annotations},
        "spec": {"template": template},
    });
    let written = shared
        .writer
        .merge::<Deployment>(&key.namespace, name, &change)
        .await;
    match written {
        Ok(written) => {
            shared.cluster.note(written);
            Ok(())
        }
        Err(ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
