//! What the installation decides for all jobs.

use tidegate_api::spec::Storage;

/// What the installation decides for all jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image with the `tidegate` command, which clean-up pods run.
    pub runtime_image: String,
    /// Where checkpoints of jobs without `checkpoint.storage` are kept.
    pub default_storage: Option<Storage>,
    /// The controller's own namespace, which job pods let in.
    pub own_namespace: String,
}
