//! The labels and annotations that Tidegate puts on what it makes.

/// The API group of Tidegate's resources.
pub const GROUP: &str = "tidegate.dev";
/// The version of Tidegate's resources.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of Tidegate's resources.
pub const API_VERSION: &str = "tidegate.dev/v1alpha1";
/// `kind` of a stream job.
pub const STREAM_JOB_KIND: &str = "StreamJob";

/// The name of the container that runs the job, in its pods.
pub const JOB_CONTAINER: &str = "job";

/// Label: what made the object, always [`MANAGED_BY`].
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "tidegate";
/// Label: the stream job that the object belongs to.
pub const LABEL_JOB: &str = "tidegate.dev/job";
/// Label: what a pod does in its job, such as leader or worker.
pub const LABEL_ROLE: &str = "tidegate.dev/role";
/// Label: the revision of the spec that a pod runs.
pub const LABEL_REVISION: &str = "tidegate.dev/revision";

/// `kind` of a checkpoint.
pub const CHECKPOINT_KIND: &str = "Checkpoint";
/// Label: the checkpoint that a clean-up pod is for.
pub const LABEL_CHECKPOINT: &str = "tidegate.dev/checkpoint";

/// Annotation of a revision's Deployment: its start generation, milliseconds since the epoch.
pub const ANNOTATION_START_GENERATION: &str = "tidegate.dev/start-generation";
/// Annotation of a revision's Deployment: the `startFrom` of the spec that it was made from.
pub const ANNOTATION_START_FROM: &str = "tidegate.dev/start-from";
/// Annotation of a revision's Deployment: what its processes are told, as in its ConfigMap.
pub const ANNOTATION_JOB_CONFIG: &str = "tidegate.dev/job-config";
/// Annotation of a revision's Deployment: its pod template as it was made, so that what somebody
/// changes in it is told from what another version of the controller would make.
pub const ANNOTATION_POD_TEMPLATE: &str = "tidegate.dev/pod-template";
/// Annotation of a child: a hash of what was applied last, so that an equal one is not written.
pub const ANNOTATION_APPLIED: &str = "tidegate.dev/applied";

/// The name that the controller's writes carry.
pub const FIELD_MANAGER: &str = "tidegate-controller";

/// Finalizer of a stream job whose files go with it.
pub const FINALIZER_JOB: &str = "tidegate.dev/job";
/// Finalizer of a checkpoint, until its files are removed.
pub const FINALIZER_CHECKPOINT: &str = "tidegate.dev/checkpoint";

/// The prefix of environment variables that belong to the runtime.
pub const RESERVED_ENV_PREFIX: &str = "TIDEGATE_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_version_is_group_and_version() {
        assert_eq!(API_VERSION, format!("{GROUP}/{VERSION}"));
    }
}
