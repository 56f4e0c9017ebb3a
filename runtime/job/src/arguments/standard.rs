//! The options that every program has when it is started by hand, and the settings they make.

use tidegate_api::job_config::{
    CheckpointConfig, JOB_CONFIG_VERSION, JobConfig, JobConfigError, OnTerminate, OutputConfig,
    OutputFormat, RestartConfig, StorageConfig,
};
use tidegate_api::spec::{CheckpointMode, LogLevel};
use tidegate_api::start_from::{StartFrom, is_bare_path};

use super::ArgumentError;

/// The longest that a checkpoint may take before it counts as failed.
const CHECKPOINT_TIMEOUT_MS: u64 = 600_000;

/// One standard option: its name, what stands for its value, what it does.
pub(super) struct Standard {
    pub(super) name: &'static str,
    /// Empty for a flag.
    pub(super) value_name: &'static str,
    pub(super) default: &'static str,
    pub(super) help: &'static str,
}

const fn standard(
    name: &'static str,
    value_name: &'static str,
    default: &'static str,
    help: &'static str,
) -> Standard {
    Standard {
        name,
        value_name,
        default,
        help,
    }
}

/// Every standard option but `--help`.
pub(super) const STANDARD: &[Standard] = &[
    standard(
        "name",
        "NAME",
        "",
        "the job's name; the program's own by default",
    ),
    standard("namespace", "NAME", "default", "the job's namespace"),
    standard(
        "parallelism",
        "COUNT",
        "1",
        "how many subtasks each operator gets",
    ),
    standard(
        "max-parallelism",
        "COUNT",
        "128",
        "how many key groups the state has; fixed for its life",
    ),
    standard(
        "state-dir",
        "URL",
        "tidegate-data",
        "where checkpoints are kept: a folder or s3://…",
    ),
    standard(
        "checkpoint-interval-ms",
        "MS",
        "1000",
        "from one checkpoint's start to the next; 0: savepoints only",
    ),
    standard(
        "retained-checkpoints",
        "COUNT",
        "3",
        "how many checkpoints are kept besides savepoints",
    ),
    standard(
        "start-from",
        "WHERE",
        "Latest",
        "Latest, Empty, <job>-<number> or <job folder>#<number>",
    ),
    standard(
        "restart-attempts",
        "COUNT",
        "10",
        "restarts in a row before the job has failed",
    ),
    standard(
        "listen",
        "ADDRESS",
        "",
        "serve the job API and metrics here, such as 127.0.0.1:8082",
    ),
    standard(
        "log-level",
        "LEVEL",
        "warn",
        "error, warn, info, debug or trace",
    ),
    standard(
        "json",
        "",
        "",
        "print what happens as JSON lines on standard output",
    ),
];

/// Which option sets a field of the settings whose value may be refused.
const OPTION_OF_FIELD: &[(&str, &str)] = &[
    ("name", "name"),
    ("namespace", "namespace"),
    ("parallelism", "parallelism"),
    ("maxParallelism", "max-parallelism"),
    ("storage.url", "state-dir"),
    ("checkpoint.retainedCount", "retained-checkpoints"),
];

/// The values of the standard options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandardOptions {
    config: JobConfig,
    start_from: StartFrom,
    /// As it was given.
    start_from_text: String,
}

impl StandardOptions {
    /// The settings without any option, for a program of this name.
    pub(crate) fn new(program: &str, is_terminal: bool) -> Self {
        let config = JobConfig {
            version: JOB_CONFIG_VERSION,
            namespace: "default".to_owned(),
            name: job_name(program),
            parallelism: 1,
            max_parallelism: 128,
            checkpoint: CheckpointConfig {
                interval_ms: Some(1000),
                timeout_ms: CHECKPOINT_TIMEOUT_MS,
                min_pause_ms: 0,
                mode: CheckpointMode::Aligned,
                retained_count: 3,
            },
            storage: StorageConfig {
                url: "tidegate-data".to_owned(),
                endpoint: None,
                region: None,
            },
            start_from: tidegate_api::job_config::StartPoint::Latest,
            restart: RestartConfig {
                initial_delay_ms: 200,
                max_delay_ms: 60_000,
                attempts: 10,
                reset_after_ms: 600_000,
            },
            log_level: LogLevel::Warn,
            listen_address: None,
            output: OutputConfig {
                format: OutputFormat::Text,
                is_terminal,
            },
            parent_process_id: None,
            start_from_generation: None,
            start_generation: None,
            hold: false,
            linger: false,
            on_terminate: OnTerminate::Savepoint,
            secure_api: None,
        };
        Self {
            config,
            start_from: StartFrom::Latest,
            start_from_text: "Latest".to_owned(),
        }
    }

    /// Takes one option's value; empty for a flag.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), ArgumentError> {
        let config = &mut self.config;
        match name {
            "name" => value.clone_into(&mut config.name),
            "namespace" => value.clone_into(&mut config.namespace),
            "parallelism" => config.parallelism = number(name, value)?,
            "max-parallelism" => config.max_parallelism = number(name, value)?,
            "state-dir" => value.clone_into(&mut config.storage.url),
            "checkpoint-interval-ms" => {
                let interval_ms = number(name, value)?;
                config.checkpoint.interval_ms = Some(interval_ms).filter(|ms| *ms > 0);
            }
            "retained-checkpoints" => config.checkpoint.retained_count = number(name, value)?,
            "restart-attempts" => config.restart.attempts = number(name, value)?,
            "start-from" => {
                value.clone_into(&mut self.start_from_text);
                let parsed = StartFrom::parse(value);
                self.start_from = parsed.map_err(|error| match is_bare_path(value) {
                    true => {
                        let problem = format!(
                            "a folder begins with `/` or `./`, unlike a checkpoint's name; write \
                             `./{value}`"
                        );
                        invalid(name, value, problem)
                    }
                    false => invalid(name, value, error),
                })?;
            }
            "listen" => config.listen_address = Some(value.to_owned()),
            "log-level" => config.log_level = log_level(value)?,
            "json" => config.output.format = OutputFormat::Json,
            _ => unreachable!("the caller looked the name up in STANDARD"),
        }
        Ok(())
    }

    /// The settings that the options make.
    ///
    /// # Errors
    /// Values that no job can have, or that do not go together.
    pub(super) fn into_config(self) -> Result<JobConfig, ArgumentError> {
        let Self {
            mut config,
            start_from,
            start_from_text,
        } = self;
        let start = start_from.resolve(&config.storage.url, &config.namespace);
        config.start_from = start.map_err(|error| {
            let problem = format!(
                "{error}; a checkpoint's own name is known on a cluster only: give <job>-<number> \
                 or <job folder>#<number>"
            );
            invalid("start-from", &start_from_text, problem)
        })?;
        JobConfig::from_json(&config.to_json()).map_err(refused)
    }
}

/// What is wrong with the settings, by the option that sets the field.
fn refused(error: JobConfigError) -> ArgumentError {
    let (field, value, rule) = match error {
        JobConfigError::Value { field, value, rule } => (field, value, rule),
        other => {
            let problem = other.to_string();
            return ArgumentError::Settings { problem };
        }
    };
    match OPTION_OF_FIELD.iter().find(|(own, _)| *own == field) {
        Some((_, name)) => ArgumentError::Refused {
            name: (*name).to_owned(),
            value,
            problem: rule.replace("maxParallelism", "`--max-parallelism`"),
        },
        None => ArgumentError::Settings {
            problem: format!("{field} is {value}: {rule}"),
        },
    }
}

fn number<T>(name: &str, value: &str) -> Result<T, ArgumentError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    value.parse().map_err(|error| invalid(name, value, error))
}

fn log_level(value: &str) -> Result<LogLevel, ArgumentError> {
    let levels = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ];
    let mut levels = levels.into_iter();
    let found = levels.find(|level| level.as_str().eq_ignore_ascii_case(value));
    let problem = "give error, warn, info, debug or trace";
    found.ok_or_else(|| invalid("log-level", value, problem))
}

fn invalid(name: &str, value: &str, problem: impl std::fmt::Display) -> ArgumentError {
    let standard = STANDARD.iter().find(|standard| standard.name == name);
    ArgumentError::Invalid {
        name: name.to_owned(),
        value: value.to_owned(),
        wanted: standard
            .map_or("", |standard| standard.value_name)
            .to_owned(),
        problem: problem.to_string(),
    }
}

/// A program's file name as a job's name: a DNS label.
fn job_name(program: &str) -> String {
    let plain = |c: char| {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            c
        } else {
            '-'
        }
    };
    let name: String = program.chars().map(plain).take(63).collect();
    match name.trim_matches('-') {
        "" => "job".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_becomes_a_valid_job_name() {
        assert_eq!(job_name("word_count"), "word-count");
        assert_eq!(job_name("Zähler"), "z-hler");
        assert_eq!(job_name("__"), "job");
    }

    #[test]
    fn every_standard_option_can_be_set() {
        for standard in STANDARD {
            let mut options = StandardOptions::new("x", false);
            let value = match standard.default {
                "" => "1",
                default => default,
            };
            options.set(standard.name, value).unwrap();
        }
    }

    #[test]
    fn the_defaults_in_the_help_are_the_defaults() {
        let untouched = StandardOptions::new("x", false);
        let mut options = untouched.clone();
        for standard in STANDARD
            .iter()
            .filter(|standard| !standard.default.is_empty())
        {
            options.set(standard.name, standard.default).unwrap();
        }
        assert_eq!(options, untouched);
    }
}
