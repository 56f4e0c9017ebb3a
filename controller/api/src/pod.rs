//! What the controller and the job process agree on about a job's pod: ports, paths, environment,
//! names in certificates.

use crate::labels;

/// The container that runs the job.
pub const JOB_CONTAINER: &str = labels::JOB_CONTAINER;

/// The job API over TLS, where both sides show a certificate.
pub const JOB_API_PORT: u16 = 8443;
/// The name of [`JOB_API_PORT`] in the pod.
pub const JOB_API_PORT_NAME: &str = "job-api";
/// `/livez`, `/readyz` and `/metrics`, without TLS.
pub const METRICS_PORT: u16 = 8080;
/// The name of [`METRICS_PORT`] in the pod.
pub const METRICS_PORT_NAME: &str = "metrics";

/// The folder of the job's configuration, from a ConfigMap.
pub const CONFIG_FOLDER: &str = "/etc/tidegate/job";
/// The configuration's file in [`CONFIG_FOLDER`], and its key in the ConfigMap.
pub const CONFIG_FILE: &str = "config.json";
/// The file that [`JOB_CONFIG_ENV`](crate::job_config::JOB_CONFIG_ENV) names in a pod.
pub const CONFIG_PATH: &str = "/etc/tidegate/job/config.json";

/// The folder of the job's certificates, from a Secret.
pub const CERTIFICATE_FOLDER: &str = "/etc/tidegate/tls";
/// The certificates that the other side's must come from, PEM.
pub const CA_FILE: &str = "ca.crt";
/// The own certificate and what leads from it to the authority, PEM.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The own certificate's private key, PEM.
pub const KEY_FILE: &str = "tls.key";

/// The folder of the storage's credentials, from the Secret that the spec names.
pub const STORAGE_CREDENTIALS_FOLDER: &str = "/etc/tidegate/storage";
/// The environment variable that names [`STORAGE_CREDENTIALS_FOLDER`].
pub const STORAGE_CREDENTIALS_FOLDER_ENV: &str = "TIDEGATE_STORAGE_CREDENTIALS_FOLDER";

/// The one folder that a job's container can write to.
pub const SCRATCH_FOLDER: &str = "/tmp";
/// Where Kubernetes reads a container's last words from.
pub const TERMINATION_LOG_PATH: &str = "/dev/termination-log";

/// The environment variable that, set to `1`, makes a program supervise itself: it runs as a child
/// of its own and is started again in place when it dies.
pub const SUPERVISE_ENV: &str = "TIDEGATE_SUPERVISE";

/// The name in the controller's client certificate.
pub const CONTROLLER_CLIENT_NAME: &str = "controller.tidegate.internal";

/// The name in the certificate of a job's pods, which are servers and each other's clients.
///
/// It stands for an identity, not for an address: no name server knows it.
pub fn job_server_name(namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}.job.tidegate.internal")
}

/// The name of the ConfigMap and the Deployment of a job's revision.
pub fn revision_name(job: &str, revision: &str) -> String {
    format!("{job}-{revision}")
}

/// The name of the Secret with the certificates of a job's revision, which come from an authority
/// of that id.
pub fn certificate_secret_name(job: &str, revision: &str, authority: &str) -> String {
    format!("{job}-{revision}-tls-{authority}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configurations_path_is_its_folder_and_file() {
        assert_eq!(CONFIG_PATH, format!("{CONFIG_FOLDER}/{CONFIG_FILE}"));
    }

    #[test]
    fn two_jobs_never_share_a_server_name() {
        // Neither a namespace nor a job's name has a dot, so the first two labels tell them apart.
        assert_eq!(
            job_server_name("shop", "orders"),
            "orders.shop.job.tidegate.internal"
        );
        assert_ne!(job_server_name("a", "b"), job_server_name("b", "a"));
        assert_ne!(job_server_name("a", "b"), CONTROLLER_CLIENT_NAME);
    }
}
