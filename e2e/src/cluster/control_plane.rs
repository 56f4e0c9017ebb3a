//! A Kubernetes API server alone, with its etcd: no node, no controllers, nothing that acts by
//! itself. Tests that play those parts themselves need no more, and can have many.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::binaries::Binaries;
use super::{Error, Result, command};
use crate::port::PortLease;
use crate::process::Child;

/// A busy machine needs a while.
const READY_DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// A running API server; killed, and its data removed, when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: processes before their folder and ports.
    api_server: Child,
    _etcd: Child,
    folder: TempDir,
    binaries: Binaries,
    port: PortLease,
    _etcd_ports: [PortLease; 2],
}

impl ControlPlane {
    /// Starts an empty one on loopback: some three seconds.
    ///
    /// # Errors
    /// When its programs cannot be had or do not come up.
    pub fn start() -> Result<Self> {
        let binaries = Binaries::install()?;
        let folder = tempfile::tempdir().map_err(|source| Error::Run {
            program: "the API server".into(),
            source,
        })?;
        let etcd_ports = [PortLease::take()?, PortLease::take()?];
        let port = PortLease::take()?;
        certificates(&binaries, &folder)?;
        let program = binaries.folder().join("kubernetes").display().to_string();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let start = |name: &str, flags: &[(&str, &str)]| {
            let mut argv = vec![program.clone(), name.to_string()];
            argv.extend(
                flags
                    .iter()
                    .map(|(flag, value)| format!("--{flag}={value}")),
            );
            Child::start(&argv, &[], &folder.path().join(format!("{name}.log")))
        };
        let [client, peer] = [&etcd_ports[0], &etcd_ports[1]].map(|port| url(port.port()));
        let etcd = start(
            "etcd",
            &[
                ("data-dir", &path("etcd")),
                ("listen-client-urls", &client),
                ("advertise-client-urls", &client),
                ("listen-peer-urls", &peer),
                ("initial-advertise-peer-urls", &peer),
                ("initial-cluster", &format!("default={peer}")),
                ("unsafe-no-fsync", "true"),
                ("log-level", "warn"),
            ],
        )?;
        let secure_port = port.port().to_string();
        let flags = api_server(&folder, &client, &secure_port);
        let flags: Vec<(&str, &str)> = flags.iter().map(|(f, v)| (*f, v.as_str())).collect();
        let api_server = start("kube-apiserver", &flags)?;
        let mut started = Self {
            api_server,
            _etcd: etcd,
            folder,
            binaries,
            port,
            _etcd_ports: etcd_ports,
        };
        started.write_kubeconfig()?;
        started.wait()?;
        Ok(started)
    }

    /// The kubeconfig of an administrator.
    #[must_use]
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// `kubectl` for this API server, arguments still to be added.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(self.binaries.folder().join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig_path());
        command
    }

    /// Runs `kubectl`, which must succeed; what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = command::output(self.kubectl_command().args(arguments), None)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn write_kubeconfig(&self) -> Result<()> {
        let path = |name: &str| self.folder.path().join(name);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port.port()),
                "certificate-authority": path("ca.crt"),
            }}],
            "users": [{"name": "admin", "user": {
                "client-certificate": path("admin.crt"), "client-key": path("admin.key"),
            }}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        });
        let file = self.kubeconfig_path();
        std::fs::write(&file, config.to_string())
            .map_err(|error| crate::Error::file("write", &file, error).into())
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        let ready = ["--request-timeout=5s", "get", "--raw=/readyz"];
        while self.kubectl(&ready).is_err() {
            if self.api_server.has_ended() || Instant::now() > deadline {
                return Err(Error::Component {
                    what: "the API server did not come up".into(),
                    log: self.folder.path().join("kube-apiserver.log"),
                    tail: self.api_server.tail(),
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

fn api_server(folder: &TempDir, etcd: &str, port: &str) -> Vec<(&'static str, String)> {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let plain = [
        ("advertise-address", "127.0.0.1"),
        ("bind-address", "127.0.0.1"),
        ("secure-port", port),
        ("etcd-servers", etcd),
        ("service-cluster-ip-range", "10.0.0.0/24"),
        ("service-account-issuer", "https://kubernetes.default.svc"),
        ("authorization-mode", "RBAC"),
        // No controller makes the account that it would ask for.
        ("disable-admission-plugins", "ServiceAccount"),
        ("profiling", "false"),
    ];
    let files = [
        ("client-ca-file", "ca.crt"),
        ("tls-cert-file", "server.crt"),
        ("tls-private-key-file", "server.key"),
        ("service-account-key-file", "service-accounts.key"),
        ("service-account-signing-key-file", "service-accounts.key"),
    ];
    let plain = plain.map(|(flag, value)| (flag, value.to_string()));
    let files = files.map(|(flag, name)| (flag, path(name)));
    plain.into_iter().chain(files).collect()
}

fn certificates(binaries: &Binaries, folder: &TempDir) -> Result<()> {
    let wanted = json!([
        {"name": "server", "common": "kube-apiserver", "dns": ["localhost"],
         "addresses": ["127.0.0.1"]},
        {"name": "admin", "common": "admin", "groups": ["system:masters"]},
        // Only its key is used.
        {"name": "service-accounts", "common": "service-accounts"},
    ]);
    let mut make = Command::new(binaries.folder().join("make"));
    make.arg("certificates").arg(folder.path());
    command::output(&mut make, Some(wanted.to_string().as_bytes()))?;
    Ok(())
}
