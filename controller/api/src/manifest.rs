//! A `StreamJob` as a file holds it, for those who read one without a cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::StreamJobSpec;

/// A `StreamJob` manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`crate::labels::API_VERSION`].
    pub api_version: String,
    /// [`crate::labels::STREAM_JOB_KIND`].
    pub kind: String,
    /// Which job it is.
    pub metadata: Metadata,
    /// What it runs, and how.
    pub spec: StreamJobSpec,
}

/// The part of an object's metadata that has a meaning without a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The job's name.
    pub name: String,
    /// The job's namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// For selecting objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The namespace of a manifest that names none, as `kubectl` has it.
pub const DEFAULT_NAMESPACE: &str = "default";

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_owned()
}
