//! A namespace, a bucket and the manifests of jobs in it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tidegate_testkit::cluster::Cluster;

use crate::wait::until;

/// The program of the jobs: it counts what it generates.
const IMAGE: &str = "registry.example/tidegate/job-under-test:0.1.0";

/// A namespace and a bucket of one figure's own; the namespace goes when it does.
pub(crate) struct Space {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
}

impl Space {
    pub(crate) fn new(figure: &str) -> Result<Self> {
        let cluster = Cluster::running()?;
        let namespace = format!("bench-{}-{}", figure.replace('_', "-"), std::process::id());
        cluster.create_bucket(&namespace)?;
        let space = Self { cluster, namespace };
        space.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space.namespace},
        }))?;
        let s3 = space.cluster.s3()?;
        space.apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "storage", "namespace": space.namespace},
            "stringData": {
                "AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            },
        }))?;
        Ok(space)
    }

    /// A job that counts, with a checkpoint each second.
    pub(crate) fn job(&self, name: &str) -> Result<Value> {
        let s3 = self.cluster.s3()?;
        let (namespace, bucket) = (&self.namespace, &self.namespace);
        Ok(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "program": {
                    "image": IMAGE,
                    "args": ["--output", format!("s3://{bucket}/results/{name}"), "--rate", "200"],
                },
                "checkpoint": {
                    "intervalSeconds": 1,
                    "storage": {
                        "url": format!("s3://{bucket}/checkpoints"), "endpoint": s3.endpoint,
                        "region": s3.region, "secretRef": {"name": "storage"},
                    },
                },
            },
        }))
    }

    /// Applies an object, or a list of them.
    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        self.cluster
            .kubectl_with(&["apply", "-f", "-"], &object.to_string())?;
        Ok(())
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let own = [&["--namespace", &self.namespace], arguments].concat();
        Ok(self.cluster.kubectl(&own)?)
    }

    /// All objects of a kind.
    pub(crate) fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let text = self.kubectl(&["get", kind, "--output", "json"])?;
        let list: Value = serde_json::from_str(&text).context("kubectl prints no JSON")?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until so many jobs have Ready's `reason`.
    pub(crate) fn wait_reason(&self, count: usize, reason: &str) -> Result<()> {
        until(&format!("{count} jobs are {reason}"), || {
            let has_reason = |job: &&Value| {
                let conditions = job["status"]["conditions"].as_array();
                let mut conditions = conditions.into_iter().flatten();
                conditions.any(|one| one["type"] == "Ready" && one["reason"] == reason)
            };
            let jobs = self.list("streamjobs")?;
            let found = jobs.iter().filter(has_reason).count();
            Ok((found == count).then_some(()))
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // A cluster that is gone has no namespace to delete.
        let arguments = ["delete", "namespace", &self.namespace, "--wait=false"];
        let _ = self.cluster.try_kubectl(&arguments, None);
    }
}
