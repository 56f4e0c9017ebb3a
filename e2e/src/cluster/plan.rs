//! What a cluster is made of: names, addresses and paths, decided before anything starts.
//!
//! The plan lies as `cluster.json` in the cluster's folder. Whoever starts it, the first process
//! inside, and everybody who uses it read the same file.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::address::Addresses;
use super::binaries::Binaries;
use super::{Error, Result};
use crate::{Program, cache};

/// The S3 server's access key and secret.
const S3_KEYS: (&str, &str) = ("tidegate-cluster", "tidegate-cluster-secret");
/// The image of every pod's sandbox, which tests may use for pods of their own.
pub(crate) const POD_IMAGE: &str = "tidegate.test/pod:1";

/// Names, addresses and paths of one cluster.
///
/// # Invariants
/// Nothing in it changes while the cluster runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    /// Distinguishes clusters on one machine; names links and cgroups.
    pub(crate) name: String,
    pub(crate) node_name: String,
    pub(crate) folder: PathBuf,
    pub(crate) addresses: Addresses,
    pub(crate) api_server: String,
    pub(crate) s3_endpoint: String,
    pub(crate) s3_access_key: String,
    pub(crate) s3_secret_key: String,
    pub(crate) pod_image: String,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) kubectl: PathBuf,
    pub(crate) helm: PathBuf,
    pub(crate) containerd_socket: PathBuf,
    pub(crate) binaries: PathBuf,
    pub(crate) minio: PathBuf,
}

impl Plan {
    /// The plan of the cluster with this index; builds what the cache does not have.
    pub(crate) fn new(index: u8) -> Result<Self> {
        let binaries = Binaries::install()?;
        let folder = folder(index)?;
        let addresses = Addresses::of(index);
        Ok(Self {
            name: format!("tidegate{index}"),
            node_name: "node-1".to_string(),
            api_server: format!("https://{}:6443", addresses.node),
            s3_endpoint: format!("http://{}:9000", addresses.node),
            s3_access_key: S3_KEYS.0.to_string(),
            s3_secret_key: S3_KEYS.1.to_string(),
            pod_image: POD_IMAGE.to_string(),
            kubeconfig: folder.join("kubeconfig"),
            kubectl: binaries.folder().join("kubectl"),
            helm: binaries.folder().join("helm"),
            containerd_socket: folder.join("containerd.sock"),
            binaries: binaries.folder().to_path_buf(),
            minio: Program::MINIO.install()?,
            addresses,
            folder,
        })
    }

    /// Reads the plan in `folder`; `None` when there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("cluster.json");
        let Ok(text) = fs::read(&path) else {
            return Ok(None);
        };
        let plan = serde_json::from_slice(&text);
        plan.map(Some)
            .map_err(|source| Error::State { path, source })
    }

    pub(crate) fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("strings and paths become JSON");
        write(&self.folder.join("cluster.json"), &text)
    }

    pub(crate) fn log(&self, component: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{component}.log"))
    }

    pub(crate) fn pki(&self, name: &str) -> String {
        self.folder.join("pki").join(name).display().to_string()
    }

    /// The link's end on the host.
    pub(crate) fn host_link(&self) -> &str {
        &self.name
    }
}

/// Where the cluster with this index keeps everything.
pub(crate) fn folder(index: u8) -> Result<PathBuf> {
    let clusters = cache::folder()?.join("cluster");
    Ok(match index {
        0 => clusters.join("current"),
        _ => clusters.join(format!("other-{index}")),
    })
}

/// Writes a file of the cluster.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let written = fs::write(path, content);
    Ok(written.map_err(|e| crate::Error::file("write", path, e))?)
}

/// Creates a folder of the cluster.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    let created = fs::create_dir_all(path);
    Ok(created.map_err(|e| crate::Error::file("create", path, e))?)
}
