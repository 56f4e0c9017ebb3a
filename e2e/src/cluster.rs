//! A real Kubernetes cluster of one node on this machine, with an S3 server inside it.
//!
//! ```text
//!   host ── link ──► node's namespaces: etcd, kube-apiserver, …, kubelet, containerd ─► pods
//!    │                     198.18.255.2:6443 API   :9000 S3   :53 DNS
//!    └─ kubectl, helm, the test's own client; /proc and signals for every process inside
//! ```
//!
//! `cargo xtask cluster up` starts it, and [`Cluster::running`] finds it. With
//! `TIDEGATE_TEST_KUBECONFIG` set it is another cluster, about which only `kubectl` and `helm`
//! can do anything.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

mod address;
mod binaries;
mod cgroup;
mod command;
mod component;
mod control;
mod control_plane;
mod error;
mod files;
mod lifetime;
mod node;
mod outage;
mod packages;
mod plan;
mod process;

pub use address::CLUSTER_COUNT_MAX;
pub use component::Component;
pub use control_plane::ControlPlane;
pub use error::Error;
pub use lifetime::{Life, Started, own_program, start, stop};
pub use node::run_node;

use control::Request;
use plan::Plan;

/// The result of whatever is done with the cluster.
pub type Result<T> = std::result::Result<T, Error>;

/// Names a cluster to use in place of the own one.
pub const KUBECONFIG_VARIABLE: &str = "TIDEGATE_TEST_KUBECONFIG";

const POLL: Duration = Duration::from_millis(50);

/// The S3 server inside the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterS3 {
    /// As pods and the host reach it, such as `http://198.18.255.2:9000`; by path.
    pub endpoint: String,
    /// The access key id.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
    /// The region to sign for.
    pub region: String,
}

/// A client's certificate for the API server, as files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The authority of the server's certificate, and of the client's.
    pub authority: PathBuf,
    /// The client's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A cluster to test in. Dropping it does nothing to the cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    kubeconfig: PathBuf,
    /// `None` for a cluster of somebody else's.
    plan: Option<Plan>,
}

impl Cluster {
    /// The cluster that runs: the one that `TIDEGATE_TEST_KUBECONFIG` names, else the one that
    /// `cargo xtask cluster up` or `cargo xtask test` has started.
    ///
    /// # Errors
    /// [`Error::NotUp`] when there is none.
    pub fn running() -> Result<Self> {
        match std::env::var_os(KUBECONFIG_VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => Ok(Self::external(path)),
            None => Self::with_index(0),
        }
    }

    /// A cluster of somebody else's.
    #[must_use]
    pub fn external(kubeconfig: impl Into<PathBuf>) -> Self {
        Self {
            kubeconfig: kubeconfig.into(),
            plan: None,
        }
    }

    /// The running cluster with this index; 0 is what everybody uses.
    ///
    /// # Errors
    /// [`Error::NotUp`] when it does not run.
    pub fn with_index(index: u8) -> Result<Self> {
        let folder = plan::folder(index)?;
        if !lifetime::is_up(&folder)? {
            return Err(Error::NotUp);
        }
        let plan = Plan::read(&folder)?.ok_or(Error::NotUp)?;
        Ok(Self {
            kubeconfig: plan.kubeconfig.clone(),
            plan: Some(plan),
        })
    }

    fn own(&self, action: &'static str) -> Result<&Plan> {
        self.plan.as_ref().ok_or(Error::External { action })
    }

    /// The kubeconfig of an administrator, for clients of any kind.
    #[must_use]
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// `kubectl` for this cluster, arguments still to be added.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        let program = self
            .plan
            .as_ref()
            .map_or(Path::new("kubectl"), |plan| &plan.kubectl);
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// `helm` for this cluster, arguments still to be added. Its caches are the cluster's own.
    #[must_use]
    pub fn helm_command(&self) -> Command {
        let mut command = match &self.plan {
            None => Command::new("helm"),
            Some(plan) => {
                let mut command = Command::new(&plan.helm);
                command.env("HELM_CACHE_HOME", plan.folder.join("helm/cache"));
                command.env("HELM_CONFIG_HOME", plan.folder.join("helm/config"));
                command.env("HELM_DATA_HOME", plan.folder.join("helm/data"));
                command
            }
        };
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs `kubectl` to its end, whether it succeeds or not.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub fn try_kubectl(&self, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        command::run(
            self.kubectl_command().args(arguments),
            input.map(str::as_bytes),
        )
    }

    /// Runs `kubectl`, which must succeed; returns what it printed on standard output.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        text(command::output(
            self.kubectl_command().args(arguments),
            None,
        )?)
    }

    /// As [`Cluster::kubectl`], with `input` on standard input (`-f -`).
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = self.kubectl_command();
        text(command::output(
            command.args(arguments),
            Some(input.as_bytes()),
        )?)
    }

    /// Runs `helm`, which must succeed; returns what it printed on standard output.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        text(command::output(self.helm_command().args(arguments), None)?)
    }

    /// Makes the images of an archive (docker's or OCI's) available to pods, whose
    /// `imagePullPolicy` must be `IfNotPresent` or `Never`.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        import_image(&self.own("load an image")?.containerd_socket, archive)
    }

    /// An image whose `/pod` waits, or with an argument `resolve NAME`, `get URL` or
    /// `serve PORT TEXT`; see `e2e/cluster/pod`.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn pod_image(&self) -> Result<&str> {
        Ok(&self.own("use the image for test pods")?.pod_image)
    }

    /// The S3 server inside the node.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn s3(&self) -> Result<ClusterS3> {
        let plan = self.own("use its S3 server")?;
        Ok(ClusterS3 {
            endpoint: plan.s3_endpoint.clone(),
            access_key: plan.s3_access_key.clone(),
            secret_key: plan.s3_secret_key.clone(),
            region: "us-east-1".to_string(),
        })
    }

    /// Where the S3 server keeps objects; each bucket is a folder in it.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn s3_data_folder(&self) -> Result<PathBuf> {
        Ok(self.own("look into its S3 server")?.folder.join("s3"))
    }

    /// Creates a bucket; one that exists is left as it is. Names need three characters.
    ///
    /// # Errors
    /// When its folder cannot be created.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        plan::create_folder(&self.s3_data_folder()?.join(name))
    }

    /// SIGKILLs a component of the node, which stays down until
    /// [`Cluster::start_component`].
    ///
    /// # Errors
    /// When the cluster is gone or somebody else's.
    pub fn stop_component(&self, component: Component) -> Result<()> {
        let plan = self.own("stop a component")?;
        control::send(&plan.folder, Request::Stop(component))
    }

    /// Starts a component that was stopped; nothing when it runs.
    ///
    /// # Errors
    /// When the cluster is gone or somebody else's.
    pub fn start_component(&self, component: Component) -> Result<()> {
        let plan = self.own("start a component")?;
        control::send(&plan.folder, Request::Start(component))
    }

    /// The processes of a running container, as numbers of this machine, each after its parent:
    /// the container's first process comes first. Empty while the container is not running.
    ///
    /// # Errors
    /// When there is no such pod, or the cluster is somebody else's.
    pub fn pids_of_container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<Vec<u32>> {
        self.own("look at a container's processes")?;
        let path = format!(
            "jsonpath={{.status.containerStatuses[?(@.name==\"{container}\")].containerID}}"
        );
        let id = self.kubectl(&["get", "pod", "-n", namespace, pod, "-o", &path])?;
        match id.trim().rsplit_once("://") {
            None => Ok(Vec::new()),
            Some((_, id)) => Ok(process::in_cgroup(id)),
        }
    }

    /// SIGKILLs a process; one that is gone already is fine.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill_process(&self, pid: u32) -> Result<()> {
        self.own("kill a process")?;
        let raw = rustix::process::Pid::from_raw(pid.cast_signed());
        let Some(raw) = raw else {
            return Ok(());
        };
        match rustix::process::kill_process(raw, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::Run {
                program: format!("kill -9 {pid}"),
                source: error.into(),
            }),
        }
    }

    /// The node's name.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn node_name(&self) -> Result<&str> {
        Ok(&self.own("name its node")?.node_name)
    }

    /// The API server's address, such as `https://198.18.255.2:6443`, for a proxy before it.
    /// Its certificate is also valid for `127.0.0.1`, `localhost` and the host's address.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn api_server_url(&self) -> Result<&str> {
        Ok(&self.own("name its API server")?.api_server)
    }

    /// This machine's address as pods reach it, such as `198.18.255.1`: what a test serves there
    /// (or on all addresses), pods can use.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn host_address(&self) -> Result<&str> {
        Ok(&self.own("name the host's address")?.addresses.host)
    }

    /// The administrator's certificate.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn client_certificate(&self) -> Result<ClientCertificate> {
        let plan = self.own("use its certificates")?;
        Ok(ClientCertificate {
            authority: plan.pki("ca.crt").into(),
            certificate: plan.pki("admin.crt").into(),
            key: plan.pki("admin.key").into(),
        })
    }

    /// The certificate and key of the API server itself, for a proxy in front of it.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn server_certificate(&self) -> Result<ClientCertificate> {
        let plan = self.own("use its certificates")?;
        Ok(ClientCertificate {
            authority: plan.pki("ca.crt").into(),
            certificate: plan.pki("api-server.crt").into(),
            key: plan.pki("api-server.key").into(),
        })
    }

    /// What was asked of the API server by others than the cluster's own components and the
    /// administrator, one JSON object (`audit.k8s.io/v1` Event, level Metadata) a line.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn audit_log(&self) -> Result<PathBuf> {
        Ok(self.own("read its audit log")?.log("audit"))
    }

    /// The cluster's folder: `logs/`, `s3/`, `pki/`, `cluster.json`.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn folder(&self) -> Result<&Path> {
        Ok(&self.own("look into its folder")?.folder)
    }

    /// The last lines that a component printed, for a failing test's message.
    #[must_use]
    pub fn log_tail(&self, component: Component) -> String {
        let log = self.plan.as_ref().map(|plan| plan.log(component.name()));
        log.map(|log| crate::process::tail(&log))
            .unwrap_or_default()
    }
}

/// Builds the cluster's programs unless the cache has them; true when there was work to do.
///
/// # Errors
/// When a build fails.
pub fn build() -> crate::Result<bool> {
    let was_there = binaries::Binaries::are_installed();
    binaries::Binaries::install()?;
    Ok(!was_there)
}

/// Whether the cluster's programs are in the cache.
#[must_use]
pub fn is_built() -> bool {
    binaries::Binaries::are_installed()
}

/// `helm` itself, for what needs no cluster.
///
/// # Errors
/// As [`build`].
pub fn helm_program() -> crate::Result<PathBuf> {
    Ok(binaries::Binaries::install()?.folder().join("helm"))
}

fn import_image(socket: &Path, archive: &Path) -> Result<()> {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address").arg(socket);
    ctr.args(["--namespace", "k8s.io", "images", "import"])
        .arg(archive);
    command::output(&mut ctr, None)?;
    Ok(())
}

fn text(output: Output) -> Result<String> {
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
