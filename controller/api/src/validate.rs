//! From what a user wrote to what can be run: every contradiction found, with its field.
//!
//! The same rules stand in the custom resource definition, so on a cluster the API server refuses
//! a bad spec first; here they hold for files, and for specs stored under an older definition.

mod checkpoint;
mod fields;
mod logic;
mod pod_template;
mod resources;

use serde_json::Value;

use crate::job_config::{
    CheckpointConfig, JOB_CONFIG_VERSION, JobConfig, OnTerminate, OutputConfig, RestartConfig,
    StorageConfig,
};
use crate::manifest::Metadata;
use crate::spec::{
    DeletionPolicy, LogLevel, Program, Resources, SecretReference, StreamJobSpec, Upgrade,
};
use crate::start_from::{StartFrom, StartFromError};
use fields::Errors;

/// One thing that is wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}; {remedy}")]
pub struct SpecError {
    /// The field, as in `spec.program.env[2].name`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// A job whose spec can be run.
///
/// # Invariants
/// Only [`validate`] makes one: exactly one kind of logic, every number within its bounds,
/// `1 <= parallelism <= max_parallelism`. Test:
/// `every_spec_that_the_api_server_refuses_is_refused_in_the_same_words`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidJob {
    /// The job's namespace.
    pub namespace: String,
    /// The job's name.
    pub name: String,
    /// What it runs.
    pub logic: Logic,
    /// How many subtasks each operator gets.
    pub parallelism: u32,
    /// How many key groups the state is divided into.
    pub max_parallelism: u32,
    /// When checkpoints are taken, and how many stay.
    pub checkpoint: CheckpointConfig,
    /// Where checkpoints are kept; the starter's default when absent.
    pub storage: Option<StorageConfig>,
    /// The Secret with the storage's credentials.
    pub storage_secret: Option<SecretReference>,
    /// How a changed job takes over the state.
    pub upgrade: Upgrade,
    /// What state the job starts from.
    pub start_from: StartFrom,
    /// What becomes of the job's folder when the job is deleted.
    pub deletion_policy: DeletionPolicy,
    /// Whether the job stands still.
    pub is_suspended: bool,
    /// How often, and after what delay, a failed job is started again.
    pub restart: RestartConfig,
    /// The lowest level that is logged.
    pub log_level: LogLevel,
    /// What each pod asks of its node.
    pub resources: Resources,
    /// Merged into each pod; an object.
    pub pod_template: Option<serde_json::Map<String, Value>>,
}

/// What a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logic {
    /// SQL text.
    Sql(String),
    /// A program.
    Program(Program),
}

/// What a starter adds to a valid job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Where checkpoints are kept.
    pub storage: StorageConfig,
    /// The address of the job API; none is served when absent.
    pub listen_address: Option<String>,
    /// How the job process tells what it does.
    pub output: OutputConfig,
    /// The process that the job must not outlive.
    pub parent_process_id: Option<u32>,
}

impl ValidJob {
    /// The job process's configuration, as for a process that ends with its job. A starter whose
    /// processes do not sets the fields that say so.
    ///
    /// # Errors
    /// A `startFrom` by a name that does not tell its job and number.
    pub fn job_config(&self, start: Start) -> Result<JobConfig, StartFromError> {
        Ok(JobConfig {
            version: JOB_CONFIG_VERSION,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            parallelism: self.parallelism,
            max_parallelism: self.max_parallelism,
            checkpoint: self.checkpoint.clone(),
            start_from: self
                .start_from
                .resolve(&start.storage.url, &self.namespace)?,
            storage: start.storage,
            restart: self.restart.clone(),
            log_level: self.log_level,
            listen_address: start.listen_address,
            output: start.output,
            parent_process_id: start.parent_process_id,
            start_from_generation: None,
            start_generation: None,
            hold: false,
            linger: false,
            on_terminate: OnTerminate::default(),
            secure_api: None,
        })
    }
}

/// Checks a job, and turns its spec into what can be run, here or on a cluster.
///
/// # Errors
/// Everything that is wrong, in the order of the fields, not only the first.
pub fn validate(metadata: &Metadata, spec: &StreamJobSpec) -> Result<ValidJob, Vec<SpecError>> {
    check(metadata, spec, false)
}

/// [`validate`] for a cluster, where no path can be relative to somebody's current folder: all that
/// the API server refuses by itself, in the same words.
///
/// # Errors
/// Everything that is wrong, in the order of the fields, not only the first.
pub fn validate_for_cluster(
    metadata: &Metadata,
    spec: &StreamJobSpec,
) -> Result<ValidJob, Vec<SpecError>> {
    check(metadata, spec, true)
}

fn check(
    metadata: &Metadata,
    spec: &StreamJobSpec,
    is_for_cluster: bool,
) -> Result<ValidJob, Vec<SpecError>> {
    let mut errors = Errors {
        list: Vec::new(),
        is_for_cluster,
    };
    fields::check_metadata(metadata, &mut errors);
    let logic = logic::check_logic(spec, &mut errors);
    let parallelism = fields::check_parallelism(spec, &mut errors);
    let checkpoint = checkpoint::check_checkpoint(&spec.checkpoint, &mut errors);
    let storage = checkpoint::check_storage(spec.checkpoint.storage.as_ref(), &mut errors);
    let start_from = checkpoint::check_start_from(&spec.start_from, &mut errors);
    let restart = fields::check_restart(&spec.restart, &mut errors);
    fields::check_upgrade(spec, &mut errors);
    resources::check_resources(spec.resources.as_ref(), &mut errors);
    let pod_template = pod_template::check_pod_template(spec.pod_template.as_ref(), &mut errors);
    let errors = errors.list;
    if !errors.is_empty() {
        return Err(errors);
    }
    // Each check that gives nothing has left an error, so the defaults below are never seen.
    let (Some(logic), Some(start_from)) = (logic, start_from) else {
        return Err(errors);
    };
    let (parallelism, max_parallelism) = parallelism;
    Ok(ValidJob {
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        logic,
        parallelism,
        max_parallelism,
        checkpoint,
        storage,
        storage_secret: spec
            .checkpoint
            .storage
            .as_ref()
            .and_then(|s| s.secret_ref.clone()),
        upgrade: spec.upgrade.clone(),
        start_from,
        deletion_policy: spec.deletion_policy,
        is_suspended: spec.suspend,
        restart,
        log_level: spec.log_level,
        resources: spec.resources.clone().unwrap_or_default(),
        pod_template,
    })
}

#[cfg(test)]
mod tests;
