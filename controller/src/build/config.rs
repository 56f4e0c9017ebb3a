//! What a revision's processes are told.

use k8s_openapi::api::core::v1::ConfigMap;
use tidegate_api::job_config::{
    JOB_CONFIG_VERSION, JobConfig, OnTerminate, OutputConfig, OutputFormat, SecureApiConfig,
    StartPoint, StorageConfig,
};
use tidegate_api::pod::{
    CERTIFICATE_FOLDER, CONFIG_FILE, CONTROLLER_CLIENT_NAME, JOB_API_PORT, METRICS_PORT,
    job_server_name, revision_name,
};
use tidegate_api::{StreamJob, ValidJob};

use super::metadata::{child_metadata, to_map};

/// How a revision starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its start generation, milliseconds since the epoch.
    pub generation: u64,
    /// What state it starts from.
    pub from: StartState,
    /// Whether it waits to be let go.
    pub hold: bool,
}

/// What state a revision starts from, and who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartState {
    /// The state.
    pub point: StartPoint,
    /// The start generation that first asked for it; absent where it is the revision's own. Where
    /// the job's log knows that one, the state is the log's latest.
    pub asked: Option<u64>,
}

impl StartState {
    /// A state that is asked for now.
    pub const fn new(point: StartPoint) -> Self {
        Self { point, asked: None }
    }
}

/// The configuration of the revision that a valid job asks for.
pub fn job_config(job: &ValidJob, storage: StorageConfig, start: Start) -> JobConfig {
    let server_name = job_server_name(&job.namespace, &job.name);
    JobConfig {
        version: JOB_CONFIG_VERSION,
        namespace: job.namespace.clone(),
        name: job.name.clone(),
        parallelism: job.parallelism,
        max_parallelism: job.max_parallelism,
        checkpoint: job.checkpoint.clone(),
        storage,
        start_from: start.from.point,
        restart: job.restart.clone(),
        log_level: job.log_level,
        listen_address: Some(format!("0.0.0.0:{METRICS_PORT}")),
        output: OutputConfig {
            format: OutputFormat::Json,
            is_terminal: false,
        },
        parent_process_id: None,
        start_generation: Some(start.generation),
        start_from_generation: start.from.asked,
        hold: start.hold,
        linger: true,
        on_terminate: OnTerminate::Checkpoint,
        secure_api: Some(SecureApiConfig {
            address: format!("0.0.0.0:{JOB_API_PORT}"),
            certificate_folder: CERTIFICATE_FOLDER.to_owned(),
            client_names: vec![CONTROLLER_CLIENT_NAME.to_owned(), server_name.clone()],
            server_names: vec![server_name],
        }),
    }
}

/// A revision's configuration with what may change while it runs as the job now asks for it.
pub fn with_live_fields(config: &JobConfig, job: &ValidJob) -> JobConfig {
    let mut config = config.clone();
    config.parallelism = job.parallelism.min(config.max_parallelism);
    config.checkpoint.interval_ms = job.checkpoint.interval_ms;
    config.checkpoint.retained_count = job.checkpoint.retained_count;
    config.log_level = job.log_level;
    config
}

/// A revision's ConfigMap. Its content is no part of the pod template, so that a live change
/// restarts no pod: the running job is told, and the next process reads it.
pub fn config_map(job: &StreamJob, revision: &str, config: &JobConfig) -> ConfigMap {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let metadata = child_metadata(job, revision_name(name, revision), Some(revision));
    ConfigMap {
        metadata,
        data: Some(to_map(&[(CONFIG_FILE, &config.to_json())])),
        ..ConfigMap::default()
    }
}
