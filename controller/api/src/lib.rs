//! Tidegate's custom resources: types, validation, labels; no client, no I/O.
//!
//! ```text
//! YAML ── spec ── validate ──▶ ValidJob ── job_config ──▶ the job process
//!           │
//!           └── crd (feature `crd`) ──▶ CustomResourceDefinition
//! ```
//! The serde types stand alone, since `tidegate run` reads the same manifests without a cluster;
//! what needs kube and k8s-openapi is behind the feature `crd`.

mod bounds;
pub mod change;
pub mod checkpoint;
#[cfg(feature = "crd")]
pub mod crd;
pub mod job_config;
pub mod labels;
pub mod manifest;
pub mod pod;
mod rules;
pub mod spec;
pub mod start_from;
pub mod status;
pub mod validate;

#[cfg(feature = "crd")]
pub use checkpoint::Checkpoint;
pub use manifest::{Manifest, Metadata};
#[cfg(feature = "crd")]
pub use spec::StreamJob;
pub use spec::StreamJobSpec;
pub use validate::{SpecError, ValidJob, validate, validate_for_cluster};
