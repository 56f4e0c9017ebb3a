//! The pod that removes the files of one checkpoint.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use tidegate_api::labels::{API_VERSION, CHECKPOINT_KIND, LABEL_CHECKPOINT, LABEL_JOB};

use crate::build::{CleanupPod, cleanup_pod};
use crate::checkpoints::CleanupOrder;
use crate::settings::Settings;

/// What a label's value may have.
const LABEL_LENGTH_MAX: usize = 63;

pub(super) fn release_pod(namespace: &str, order: &CleanupOrder, settings: &Settings) -> Pod {
    let mut labels = vec![(LABEL_JOB, order.job.as_str())];
    if order.checkpoint.len() <= LABEL_LENGTH_MAX {
        labels.push((LABEL_CHECKPOINT, &order.checkpoint));
    }
    cleanup_pod(&CleanupPod {
        namespace,
        name: &order.pod,
        labels,
        image: &settings.runtime_image,
        args: [
            "checkpoints",
            "release",
            &order.folder,
            &order.id.to_string(),
        ]
        .map(str::to_owned)
        .to_vec(),
        access: &order.access,
        owner: OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: CHECKPOINT_KIND.to_owned(),
            name: order.checkpoint.clone(),
            uid: order.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        },
    })
}
