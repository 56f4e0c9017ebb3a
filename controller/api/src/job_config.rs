//! What a job process is told when it is started, by `tidegate run` or by the controller.
//!
//! The starter writes a [`JobConfig`] as JSON into a file and names that file in the environment
//! variable [`JOB_CONFIG_ENV`]. The program's own arguments are the process's arguments and are
//! not part of it, and neither are credentials.

use serde::{Deserialize, Serialize};

use crate::bounds;
use crate::spec::{CheckpointMode, LogLevel};

/// The environment variable that names the file with the job's [`JobConfig`].
pub const JOB_CONFIG_ENV: &str = "TIDEGATE_JOB_CONFIG";

/// The format that [`JobConfig::to_json`] writes and [`JobConfig::from_json`] reads.
///
/// It grows by optional fields without a new version; a change that an older job process must not
/// ignore gets a new one.
pub const JOB_CONFIG_VERSION: u32 = 1;

/// The most key groups, and so the highest parallelism, that a job can have.
pub const PARALLELISM_LIMIT: u32 = bounds::PARALLELISM.max.unsigned_abs();

/// The settings of one job process.
///
/// # Invariants
/// Held by [`JobConfig::from_json`] and by the conversion from a valid spec:
/// `1 <= parallelism <= max_parallelism <= PARALLELISM_LIMIT`; the storage URL is not empty; the
/// checkpoint timeout and the number of retained checkpoints are at least 1. Test:
/// `a_config_that_breaks_an_invariant_is_refused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobConfig {
    /// The format's version, [`JOB_CONFIG_VERSION`].
    pub version: u32,
    /// The job's namespace: the last but one segment of its folder.
    pub namespace: String,
    /// The job's name: the last segment of its folder.
    pub name: String,
    /// How many subtasks each operator gets.
    pub parallelism: u32,
    /// How many key groups the state is divided into; fixed for the life of the state.
    pub max_parallelism: u32,
    /// When checkpoints are taken, and how many stay.
    pub checkpoint: CheckpointConfig,
    /// Where checkpoints are kept.
    pub storage: StorageConfig,
    /// What state the first attempt of this process starts from.
    pub start_from: StartPoint,
    /// How often, and after what delay, a failed job is started again.
    pub restart: RestartConfig,
    /// The lowest level that is logged.
    pub log_level: LogLevel,
    /// The address that the job API, metrics and health are served at, such as `127.0.0.1:8082`;
    /// none of them is served when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_address: Option<String>,
    /// How the job process tells what it does.
    #[serde(default)]
    pub output: OutputConfig,
    /// The process that the job must not outlive: the job ends at once, as if killed, when this is
    /// no longer its parent. Absent where the starter always outlives the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_process_id: Option<u32>,
    /// Which start of the job this is, in milliseconds since the epoch: `start_from` is honoured
    /// once for it, and a job that a later one has started does not start again. Absent where
    /// whoever starts the process means it each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_generation: Option<u64>,
    /// The first start that asked for `start_from`, where that was an earlier one: what an earlier
    /// revision never came to do is left to this one, and what it did is not done again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_from_generation: Option<u64>,
    /// Whether the job waits, once all is prepared, until the job API lets it go.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hold: bool,
    /// Whether the process stays when the job is over, or cannot start, and tells so at the job
    /// API until it is told to end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub linger: bool,
    /// What the job leaves behind when its process is told to end.
    #[serde(default, skip_serializing_if = "OnTerminate::is_default")]
    pub on_terminate: OnTerminate,
    /// Where the job API is served to those with a certificate. When given, `listen_address`
    /// serves metrics and health alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_api: Option<SecureApiConfig>,
}

/// What a job leaves behind when its process is told to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnTerminate {
    /// A savepoint, which stays until somebody deletes it.
    #[default]
    Savepoint,
    /// A checkpoint like those taken by themselves, for the next process to go on from.
    Checkpoint,
}

impl OnTerminate {
    /// Whether it is what an absent field means.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The job API over TLS, where both sides show a certificate.
///
/// # Invariants
/// As [`JobConfig::from_json`] holds them: no field is empty, and neither is a name in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecureApiConfig {
    /// The address that it is served at, such as `0.0.0.0:8443`.
    pub address: String,
    /// The folder with `ca.crt`, `tls.crt` and `tls.key`, all PEM.
    pub certificate_folder: String,
    /// The DNS names that the server's certificate must be valid for.
    pub server_names: Vec<String>,
    /// The DNS names of the clients that are let in: a client's certificate must come from
    /// `ca.crt` and be valid for one of them.
    pub client_names: Vec<String>,
}

/// When checkpoints are taken, and how many stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointConfig {
    /// The time from one checkpoint's start to the next one's; absent when only savepoints are
    /// taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// A checkpoint that takes longer has failed.
    pub timeout_ms: u64,
    /// The least time between one checkpoint's end and the next one's start.
    #[serde(default)]
    pub min_pause_ms: u64,
    /// How barriers pass operators with several inputs.
    pub mode: CheckpointMode,
    /// How many of the newest checkpoints are kept; savepoints are kept besides.
    pub retained_count: u32,
}

/// Where checkpoints are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageConfig {
    /// `s3://bucket/prefix`, `file:///folder`, or a folder's path. The job's own folder is
    /// [`JobConfig::job_folder`].
    pub url: String,
    /// The S3 endpoint, such as `https://minio.example:9000`; from the environment when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The S3 region; from the environment when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// What state the first attempt of a job process starts from. Later attempts of the same process
/// always continue from the job's own newest checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum StartPoint {
    /// The newest checkpoint in the job's own folder, or no state when there is none.
    Latest,
    /// No state, though the job's folder may hold some; that stays untouched.
    Empty,
    /// A checkpoint that must exist, of this or another job.
    #[serde(rename_all = "camelCase")]
    Checkpoint {
        /// The folder of the job whose checkpoint it is, `<storage URL>/<namespace>/<name>`. It
        /// is only read unless it is the job's own.
        folder: String,
        /// The checkpoint's number in that folder's log; the newest when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint_id: Option<u64>,
    },
}

/// How often, and after what delay, a failed job is started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartConfig {
    /// The delay before the first restart; it doubles with each further one.
    pub initial_delay_ms: u64,
    /// The longest delay between restarts.
    pub max_delay_ms: u64,
    /// How many restarts are tried before the job has failed; 0 means none.
    pub attempts: u32,
    /// After this long without a failure the delay and the count start anew.
    pub reset_after_ms: u64,
}

/// How the job process tells what it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputConfig {
    /// For people or for programs.
    pub format: OutputFormat,
    /// Whether a progress line may be redrawn in place because a person watches a terminal.
    #[serde(default)]
    pub is_terminal: bool,
}

/// The form of what a job process prints about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputFormat {
    /// Sentences for people.
    #[default]
    Text,
    /// One JSON document a line, for programs.
    Json,
}

/// Why a job configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum JobConfigError {
    /// The text is no JSON, or lacks a field, or has one of the wrong type.
    #[error("parse the job configuration: start the job by `tidegate run` or write every field")]
    Parse(#[source] serde_json::Error),
    /// A newer starter wrote a format that this program does not know.
    #[error(
        "the job configuration has version {found}, this program reads {JOB_CONFIG_VERSION}: build \
         the program with a newer Tidegate or start it with an older one"
    )]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// A value breaks one of the invariants.
    #[error("the job configuration's {field} is {value}: {rule}")]
    Value {
        /// The JSON path of the field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it must hold.
        rule: String,
    },
}

impl JobConfig {
    /// Reads a configuration and checks its invariants.
    ///
    /// # Errors
    /// Text that is no such JSON, another version, or a value that breaks an invariant.
    pub fn from_json(text: &str) -> Result<Self, JobConfigError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // The version comes first: a newer format may lack fields that this one requires.
        let Version { version } = serde_json::from_str(text).map_err(JobConfigError::Parse)?;
        if version != JOB_CONFIG_VERSION {
            return Err(JobConfigError::Version { found: version });
        }
        let config: Self = serde_json::from_str(text).map_err(JobConfigError::Parse)?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as indented JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("string keys and plain values always serialize")
    }

    /// The job's folder, `<storage URL>/<namespace>/<name>`, without a slash at the end.
    pub fn job_folder(&self) -> String {
        job_folder(&self.storage.url, &self.namespace, &self.name)
    }

    fn check(&self) -> Result<(), JobConfigError> {
        let at_least_one = |field, value: u64| match value {
            0 => Err(refused(field, value, "it must be at least 1".to_owned())),
            _ => Ok(()),
        };
        at_least_one("parallelism", self.parallelism.into())?;
        at_least_one("checkpoint.timeoutMs", self.checkpoint.timeout_ms)?;
        at_least_one(
            "checkpoint.retainedCount",
            self.checkpoint.retained_count.into(),
        )?;
        if self.checkpoint.interval_ms == Some(0) {
            let rule = "leave it out to take savepoints only".to_owned();
            return Err(refused("checkpoint.intervalMs", 0, rule));
        }
        if !(1..=PARALLELISM_LIMIT).contains(&self.max_parallelism) {
            let rule = format!("it must be from 1 to {PARALLELISM_LIMIT}");
            return Err(refused("maxParallelism", self.max_parallelism, rule));
        }
        if self.parallelism > self.max_parallelism {
            let rule = format!(
                "it must not exceed maxParallelism, {}",
                self.max_parallelism
            );
            return Err(refused("parallelism", self.parallelism, rule));
        }
        let named = [
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("storage.url", &self.storage.url),
        ];
        match named.iter().find(|(_, value)| value.is_empty()) {
            Some((field, _)) => Err(refused(field, "empty", "it must be given".to_owned())),
            None => self.secure_api.as_ref().map_or(Ok(()), check_secure_api),
        }
    }
}

/// The folder of a job below a storage URL, `<storage URL>/<namespace>/<name>`, without a slash at
/// the end. An S3 URL's parameters stay behind it, as in `s3://bucket/default/job?region=eu`.
pub fn job_folder(storage_url: &str, namespace: &str, name: &str) -> String {
    let (base, parameters) = match storage_url.find('?') {
        Some(at) if storage_url.contains("://") => storage_url.split_at(at),
        _ => (storage_url, ""),
    };
    format!(
        "{}/{namespace}/{name}{parameters}",
        base.trim_end_matches('/')
    )
}

fn check_secure_api(config: &SecureApiConfig) -> Result<(), JobConfigError> {
    let has_gap = |names: &[String]| names.is_empty() || names.iter().any(String::is_empty);
    let gaps = [
        ("secureApi.address", config.address.is_empty()),
        (
            "secureApi.certificateFolder",
            config.certificate_folder.is_empty(),
        ),
        ("secureApi.serverNames", has_gap(&config.server_names)),
        ("secureApi.clientNames", has_gap(&config.client_names)),
    ];
    match gaps.iter().find(|(_, is_gap)| *is_gap) {
        Some((field, _)) => Err(refused(field, "empty", "it must be given".to_owned())),
        None => Ok(()),
    }
}

const fn is_false(value: &bool) -> bool {
    !*value
}

fn refused(field: &'static str, value: impl ToString, rule: String) -> JobConfigError {
    JobConfigError::Value {
        field,
        value: value.to_string(),
        rule,
    }
}
