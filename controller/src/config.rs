//! The controller's command line and environment.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tidegate_api::spec::{LogLevel, SecretReference, Storage};

use crate::settings::Settings;

/// Reconciles StreamJobs and Checkpoints: turns each job into pods that run it, and reports how it
/// is.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidegate-controller", version)]
pub struct Arguments {
    /// Look after these namespaces only, separated by commas; after all when empty.
    #[arg(long, env = "TIDEGATE_CONTROLLER_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// The image with the tidegate command, for pods that remove files.
    #[arg(long, env = "TIDEGATE_CONTROLLER_RUNTIME_IMAGE")]
    pub runtime_image: String,
    /// Where /metrics, /livez and /readyz are served.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_METRICS_ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    pub metrics_address: SocketAddr,
    /// The Lease that the one controller which works holds.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_LEASE_NAME",
        default_value = "tidegate-controller"
    )]
    pub lease_name: String,
    /// After so many seconds without a renewal another controller takes over.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_LEASE_SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(5..=600)
    )]
    pub lease_seconds: u32,
    /// The Secret, in the controller's namespace, with the authority of the jobs' certificates;
    /// made if there is none.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_CA_SECRET",
        default_value = "tidegate-ca"
    )]
    pub ca_secret: String,
    /// Where checkpoints of jobs without spec.checkpoint.storage are kept, such as
    /// s3://bucket/prefix.
    #[arg(long, env = "TIDEGATE_CONTROLLER_DEFAULT_STORAGE_URL")]
    pub default_storage_url: Option<String>,
    /// The S3 endpoint of the default storage.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_DEFAULT_STORAGE_ENDPOINT",
        requires = "default_storage_url"
    )]
    pub default_storage_endpoint: Option<String>,
    /// The S3 region of the default storage.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_DEFAULT_STORAGE_REGION",
        requires = "default_storage_url"
    )]
    pub default_storage_region: Option<String>,
    /// The Secret, in each job's namespace, with the credentials of the default storage.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_DEFAULT_STORAGE_SECRET",
        requires = "default_storage_url"
    )]
    pub default_storage_secret: Option<String>,
    /// How many writes a minute may go into mirroring checkpoints, over all jobs.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_MIRROR_WRITES_PER_MINUTE",
        default_value_t = 45
    )]
    pub mirror_writes_per_minute: u32,
    /// How many jobs are worked on at once.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_CONCURRENCY",
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    pub concurrency: u16,
    /// The lowest level that is logged: error, warn, info, debug or trace.
    #[arg(
        long,
        env = "TIDEGATE_CONTROLLER_LOG_LEVEL",
        default_value = "info",
        value_parser = level
    )]
    pub log_level: LogLevel,
    /// How log lines look.
    #[arg(long, env = "TIDEGATE_CONTROLLER_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// The controller's own name; the pod's, on a cluster.
    #[arg(long, env = "POD_NAME", default_value = "tidegate-controller")]
    pub pod_name: String,
    /// The controller's own namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "tidegate-system")]
    pub pod_namespace: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the controller works with.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it decides for all jobs.
    pub settings: Settings,
    /// The namespaces that it looks after; all if none.
    pub namespaces: Vec<String>,
    /// The Lease.
    pub lease_name: String,
    /// How long the Lease lasts.
    pub lease: Duration,
    /// What it calls itself in the Lease and in events.
    pub identity: String,
    /// The Secret with the authority.
    pub ca_secret: String,
    /// Mirroring writes a minute.
    pub mirror_writes_per_minute: u32,
    /// Jobs worked on at once.
    pub concurrency: usize,
}

impl From<&Arguments> for Config {
    fn from(arguments: &Arguments) -> Self {
        let namespaces = arguments
            .namespaces
            .iter()
            .map(|name| name.trim().to_owned());
        let default_storage = arguments.default_storage_url.as_ref().map(|url| Storage {
            url: url.clone(),
            endpoint: arguments.default_storage_endpoint.clone(),
            region: arguments.default_storage_region.clone(),
            secret_ref: (arguments.default_storage_secret.clone())
                .map(|name| SecretReference { name }),
        });
        Self {
            settings: Settings {
                runtime_image: arguments.runtime_image.clone(),
                default_storage,
                own_namespace: arguments.pod_namespace.clone(),
            },
            namespaces: namespaces.filter(|name| !name.is_empty()).collect(),
            lease_name: arguments.lease_name.clone(),
            lease: Duration::from_secs(arguments.lease_seconds.into()),
            identity: arguments.pod_name.clone(),
            ca_secret: arguments.ca_secret.clone(),
            mirror_writes_per_minute: arguments.mirror_writes_per_minute,
            concurrency: arguments.concurrency.into(),
        }
    }
}

fn level(text: &str) -> Result<LogLevel, String> {
    let levels = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ];
    let found = levels
        .into_iter()
        .find(|level| level.as_str() == text.to_ascii_lowercase());
    found.ok_or_else(|| "write error, warn, info, debug or trace".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Config {
        let program = ["tidegate-controller", "--runtime-image=example/tidegate:1"];
        let all = program.iter().chain(arguments);
        Config::from(&Arguments::try_parse_from(all).unwrap())
    }

    #[test]
    fn an_empty_list_of_namespaces_means_all() {
        assert!(config(&[]).namespaces.is_empty());
        assert!(config(&["--namespaces="]).namespaces.is_empty());
        assert_eq!(config(&["--namespaces=a, b"]).namespaces, ["a", "b"]);
    }

    #[test]
    fn the_default_storage_is_whole_or_not_there() {
        assert_eq!(config(&[]).settings.default_storage, None);
        let storage = config(&[
            "--default-storage-url=s3://b/p",
            "--default-storage-secret=s3",
        ]);
        let storage = storage.settings.default_storage.unwrap();
        assert_eq!(storage.url, "s3://b/p");
        assert_eq!(storage.secret_ref.unwrap().name, "s3");
    }
}
