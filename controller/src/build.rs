//! The objects that belong to a job, from what is known to what is applied: no client, no clock.
//!
//! ```text
//! ValidJob ── config ──▶ JobConfig ──┬─ config_map ──▶ ConfigMap
//! podTemplate ── merge ─ template ───┴─ deployment ──▶ Deployment     guards ──▶ NetworkPolicy,
//! Access ── cleanup ──▶ Pod                                           PodDisruptionBudget
//! ```
//! Golden files in `controller/tests/golden` show each object.

mod cleanup;
mod config;
mod deployment;
mod edits;
mod guards;
mod merge;
mod metadata;
mod template;

pub use cleanup::{CleanupPod, cleanup_pod, cleanup_template};
pub use config::{Start, StartState, config_map, job_config, with_live_fields};
pub use deployment::{ErasedObject, Revision, applied_hash, deployment, start_annotations};
pub use edits::{CONTENT, TakenField, first_edit, made_template, restoring_patch, taken_field};
pub use guards::{disruption_budget, network_policy};
pub use metadata::{PodRole, job_selector, owner_of_job};
pub use template::{TemplateError, mounted_certificate, pod_template};

#[cfg(test)]
mod tests;
