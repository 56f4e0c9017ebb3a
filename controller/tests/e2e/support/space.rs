//! A namespace and a bucket of a test's own.

use std::process::Output;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use opendal::Operator;
use serde_json::{Value, json};
use tidegate_testkit::cluster::Cluster;

use super::wait::{SOON, until};
use super::{bucket, objects, operator};

/// Held by every test, and alone by one that harms the whole cluster.
static CLUSTER_IN_USE: RwLock<()> = RwLock::new(());

enum Use {
    Shared(#[allow(dead_code, reason = "held until the test ends")] RwLockReadGuard<'static, ()>),
    Alone(#[allow(dead_code, reason = "held until the test ends")] RwLockWriteGuard<'static, ()>),
}

/// A namespace and a bucket of a test's own, with the operator at work. Both go when it does.
pub(crate) struct Space {
    _use: Use,
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: String,
    pub(crate) bucket: String,
    /// What is in the bucket.
    pub(super) objects: Operator,
}

impl Space {
    /// A namespace that enforces the restricted Pod Security level, and the Secret `storage` with
    /// the S3 server's credentials in it.
    pub(crate) fn new(name: &str) -> Self {
        let shared = CLUSTER_IN_USE
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Self::with(Use::Shared(shared), name)
    }

    /// The same while no other test runs.
    pub(crate) fn alone(name: &str) -> Self {
        let alone = CLUSTER_IN_USE
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Self::with(Use::Alone(alone), name)
    }

    fn with(in_use: Use, name: &str) -> Self {
        let cluster = operator::installed();
        let namespace = format!("e2e-{name}-{:x}", std::process::id());
        let bucket = format!("bucket-{namespace}");
        cluster.create_bucket(&bucket).expect("a bucket");
        let space = Self {
            _use: in_use,
            cluster,
            namespace,
            objects: bucket::open(cluster, &bucket),
            bucket,
        };
        let s3 = cluster.s3().expect("an S3 server");
        let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        space.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": space.namespace, "labels": restricted},
        }));
        space.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "storage"},
            "stringData": {
                "AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            },
        }));
        space
    }

    /// Runs kubectl in the namespace; its output whatever it says.
    pub(crate) fn try_kubectl(&self, arguments: &[&str], input: Option<&str>) -> Output {
        let own = [&["--namespace", &self.namespace], arguments].concat();
        self.cluster.try_kubectl(&own, input).expect("kubectl runs")
    }

    /// Runs kubectl in the namespace; it must succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        succeeded(arguments, &self.try_kubectl(arguments, None))
    }

    /// Applies an object in the namespace.
    pub(crate) fn apply(&self, object: &Value) {
        let arguments = ["apply", "-f", "-"];
        until("the API server takes an object", SOON, || {
            let output = self.try_kubectl(&arguments, Some(&object.to_string()));
            let error = String::from_utf8_lossy(&output.stderr);
            // It could not, which is no refusal; etcd was too slow.
            let is_unable = error.contains("(InternalError)") || error.contains("(Timeout)");
            if is_unable {
                return Err(error.into_owned());
            }
            succeeded(&arguments, &output);
            Ok(())
        });
    }

    /// An object, if there is one.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<Value> {
        self.get(&format!("{}/{name}", objects::path(&self.namespace, kind)))
    }

    /// All objects of a kind that a selector includes.
    pub(crate) fn list(&self, kind: &str, selector: &str) -> Vec<Value> {
        let selector = selector.replace('=', "%3D");
        let path = objects::path(&self.namespace, kind);
        let list = self.get(&format!("{path}?labelSelector={selector}"));
        let list = list.unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// What is at a path, once the API server tells it.
    fn get(&self, path: &str) -> Option<Value> {
        let what = format!("an answer for {path}");
        until(&what, SOON, || objects::get(self.cluster, path))
    }

    /// Waits until an object satisfies `holds`, which says what it is about.
    pub(crate) fn wait(
        &self,
        (kind, name): (&str, &str),
        limit: Duration,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let what = format!("{kind} {name}: {what}");
        until(&what, limit, || match self.find(kind, name) {
            Some(object) if holds(&object) => Ok(object),
            Some(object) => Err(object["status"].to_string()),
            None => Err("no such object".to_owned()),
        })
    }

    /// Waits until an object is gone.
    pub(crate) fn wait_gone(&self, kind: &str, name: &str) {
        until(&format!("{kind} {name} is gone"), SOON, || {
            self.find(kind, name)
                .map_or(Ok(()), |object| Err(object["metadata"].to_string()))
        });
    }
}

impl Drop for Space {
    #[allow(clippy::print_stderr, reason = "a failed test's own report")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What a person would look at first.
            for arguments in [
                &[
                    "get",
                    "streamjobs,checkpoints,deployments,pods",
                    "--output",
                    "wide",
                ][..],
                &["get", "streamjobs", "--output", "yaml"],
                &["get", "events", "--sort-by", ".lastTimestamp"],
                &[
                    "logs",
                    "--selector",
                    "tidegate.dev/job",
                    "--tail",
                    "60",
                    "--prefix",
                ],
            ] {
                let output = self.try_kubectl(arguments, None);
                eprintln!("$ kubectl {}", arguments.join(" "));
                eprintln!("{}", String::from_utf8_lossy(&output.stdout));
            }
        }
        let arguments = ["delete", "namespace", &self.namespace, "--wait=false"];
        // A cluster that is gone has no namespace to delete.
        let _ = self.cluster.try_kubectl(&arguments, None);
    }
}

fn succeeded(arguments: &[&str], output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "kubectl {}: {error}",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout.clone()).expect("kubectl prints UTF-8")
}
