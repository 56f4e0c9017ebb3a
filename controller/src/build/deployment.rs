//! A revision's Deployment, with what the controller must find again as annotations.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use tidegate_api::StreamJob;
use tidegate_api::job_config::JobConfig;
use tidegate_api::labels::{
    ANNOTATION_JOB_CONFIG, ANNOTATION_START_FROM, ANNOTATION_START_GENERATION,
};
use tidegate_api::pod::revision_name;
use xxhash_rust::xxh3::Xxh3;

use super::metadata::{child_metadata, revision_labels};

/// What a revision's Deployment is made from.
#[derive(Clone, Debug)]
pub struct Revision<'a> {
    /// The job.
    pub job: &'a StreamJob,
    /// The revision: 8 hexadecimal digits.
    pub name: &'a str,
    /// What its processes are told.
    pub config: &'a JobConfig,
    /// How many pods it asks for: 0 or 1.
    pub replicas: i32,
    /// Its pods.
    pub template: PodTemplateSpec,
}

/// The Deployment, without the annotation that tells what was applied.
pub fn deployment(revision: Revision<'_>) -> Deployment {
    let job_name = revision.job.metadata.name.as_deref().unwrap_or_default();
    let name = revision_name(job_name, revision.name);
    let mut metadata = child_metadata(revision.job, name, Some(revision.name));
    let mut annotations = start_annotations(revision.config);
    let start_from = revision.job.spec.start_from.clone();
    annotations.insert(ANNOTATION_START_FROM.to_owned(), start_from);
    metadata.annotations = Some(annotations);
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(revision.replicas),
            // The log fences the older of two pods, so a second one would only be in the way.
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                rolling_update: None,
            }),
            revision_history_limit: Some(0),
            selector: LabelSelector {
                match_labels: Some(revision_labels(job_name, revision.name)),
                ..LabelSelector::default()
            },
            template: revision.template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// The annotations that tell how a revision starts.
pub fn start_annotations(config: &JobConfig) -> BTreeMap<String, String> {
    let json = serde_json::to_string(config).expect("string keys and plain values serialize");
    let generation = config.start_generation.unwrap_or_default().to_string();
    BTreeMap::from([
        (ANNOTATION_START_GENERATION.to_owned(), generation),
        (ANNOTATION_JOB_CONFIG.to_owned(), json),
    ])
}

/// A hash of objects that are applied together: 16 hexadecimal digits.
pub fn applied_hash(objects: &[&dyn ErasedObject]) -> String {
    let mut hash = Xxh3::new();
    for object in objects {
        hash.update(object.canonical().as_bytes());
        hash.update(b"\n");
    }
    format!("{:016x}", hash.digest())
}

/// An object as text that is the same whenever the object is.
pub trait ErasedObject {
    /// The text.
    fn canonical(&self) -> String;
}

impl<T: Serialize> ErasedObject for T {
    fn canonical(&self) -> String {
        serde_json::to_string(self).expect("objects of Kubernetes always serialize")
    }
}
