//! Names, labels and owners of what belongs to a job.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use tidegate_api::StreamJob;
use tidegate_api::labels::{
    API_VERSION, LABEL_JOB, LABEL_MANAGED_BY, LABEL_REVISION, LABEL_ROLE, MANAGED_BY,
    STREAM_JOB_KIND,
};

/// What a pod does in its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodRole {
    /// It runs the job.
    Leader,
    /// It removes files.
    Cleanup,
}

impl PodRole {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Cleanup => "cleanup",
        }
    }
}

/// The label selector of a job's pods, clean-up pods aside, as `kubectl get -l` takes it.
pub fn job_selector(job: &str) -> String {
    let role = PodRole::Leader.as_str();
    format!("{LABEL_JOB}={job},{LABEL_ROLE}={role}")
}

/// The job as the owner of what is made for it: the garbage collector takes that along.
pub fn owner_of_job(job: &StreamJob) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: STREAM_JOB_KIND.to_owned(),
        name: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// The name of what stands around a job's pods. Users name policies and budgets of their own after
/// the job, and an object of that name would be taken over from them.
pub(super) fn guard_name(job: &str) -> String {
    format!("{job}-tidegate")
}

/// The labels by which a job's pods are found, which stay as they are.
pub(super) fn match_labels(job: &str) -> BTreeMap<String, String> {
    let pairs = [(LABEL_JOB, job), (LABEL_ROLE, PodRole::Leader.as_str())];
    to_map(&pairs)
}

/// The same for the pods of one revision.
pub(super) fn revision_labels(job: &str, revision: &str) -> BTreeMap<String, String> {
    let mut labels = match_labels(job);
    labels.insert(LABEL_REVISION.to_owned(), revision.to_owned());
    labels
}

pub(super) fn to_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

/// The metadata of an object that belongs to a job: the job's own labels come along.
pub(super) fn child_metadata(job: &StreamJob, name: String, revision: Option<&str>) -> ObjectMeta {
    let job_name = job.metadata.name.as_deref().unwrap_or_default();
    let mut labels: BTreeMap<String, String> = job.metadata.labels.clone().unwrap_or_default();
    labels.retain(|label, _| is_inherited(label));
    labels.extend(to_map(&[
        (LABEL_MANAGED_BY, MANAGED_BY),
        (LABEL_JOB, job_name),
    ]));
    if let Some(revision) = revision {
        labels.insert(LABEL_REVISION.to_owned(), revision.to_owned());
    }
    ObjectMeta {
        name: Some(name),
        namespace: job.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![owner_of_job(job)]),
        ..ObjectMeta::default()
    }
}

/// Labels that say who installed the job would claim its children for that tool.
fn is_inherited(label: &str) -> bool {
    const CLAIMS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by"];
    !CLAIMS.contains(&label) && !label.starts_with("tidegate.dev/")
}
