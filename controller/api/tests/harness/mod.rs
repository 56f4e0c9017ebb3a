//! A namespace of a test's own, and objects to put into it.
//!
//! What is stored is of copies of the definitions, in a group and by names of their own: a
//! controller on the same cluster would write into the objects.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_testkit::cluster::Cluster;

/// How long the API server may take to serve a new definition.
const SERVED_DEADLINE: Duration = Duration::from_secs(30);
const COPIES_GROUP: &str = "admit.tidegate.test";

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The running cluster, with the definitions of this tree.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::running().expect("a cluster runs: `cargo xtask cluster up`");
        let crds = workspace().join("crds");
        let apply = ["apply", "--server-side", "--force-conflicts", "-f"];
        let crds = crds.to_str().unwrap();
        cluster.kubectl(&[&apply[..], &[crds]].concat()).unwrap();
        wait_until_served(&cluster, "sj,ckpt");
        cluster
    })
}

/// Makes sure that the copies are served; see the module's text.
fn serve_copies(cluster: &Cluster) {
    static SERVED: OnceLock<()> = OnceLock::new();
    SERVED.get_or_init(|| {
        for file in ["crds/streamjob.yaml", "crds/checkpoint.yaml"] {
            let text = fs::read_to_string(workspace().join(file)).unwrap();
            let text = text.replace("tidegate.dev", COPIES_GROUP);
            let mut copy: Value = yaml_serde::from_str(&text).unwrap();
            let names = &copy["spec"]["names"];
            let kind = format!("Copied{}", names["kind"].as_str().unwrap());
            let plural = format!("copied{}", names["plural"].as_str().unwrap());
            copy["metadata"]["name"] = json!(format!("{plural}.{COPIES_GROUP}"));
            copy["spec"]["names"] = json!({
                "kind": kind,
                "plural": plural,
                "singular": kind.to_lowercase(),
            });
            let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
            cluster.kubectl_with(&apply, &copy.to_string()).unwrap();
        }
        wait_until_served(cluster, "copiedstreamjobs,copiedcheckpoints");
    });
}

fn wait_until_served(cluster: &Cluster, resources: &str) {
    let deadline = Instant::now() + SERVED_DEADLINE;
    let get = ["get", resources, "--all-namespaces"];
    while !cluster.try_kubectl(&get, None).unwrap().status.success() {
        assert!(Instant::now() < deadline, "{resources} are not served");
        std::thread::yield_now();
    }
}

/// A namespace that goes with the test.
pub(crate) struct Namespace {
    cluster: &'static Cluster,
    name: String,
}

impl Namespace {
    pub(crate) fn new(purpose: &str) -> Self {
        let cluster = cluster();
        let name = format!("admit-{purpose}-{}", std::process::id());
        cluster.kubectl(&["create", "namespace", &name]).unwrap();
        Self { cluster, name }
    }

    /// Runs kubectl here; its output and whether it succeeded.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> (bool, String) {
        let arguments = [&["--namespace", self.name.as_str()], arguments].concat();
        let output = self.cluster.try_kubectl(&arguments, input).unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    pub(crate) fn done(&self, arguments: &[&str], input: Option<&str>) -> String {
        let (is_done, text) = self.kubectl(arguments, input);
        assert!(is_done, "kubectl {arguments:?}: {text}");
        text
    }

    pub(crate) fn refused(&self, arguments: &[&str], expected: &str) {
        let (is_done, text) = self.kubectl(arguments, None);
        assert!(
            !is_done && text.contains(expected),
            "kubectl {arguments:?}: {text}"
        );
    }

    /// Stores an object as one of a copied definition.
    pub(crate) fn store(&self, mut object: Value) {
        serve_copies(self.cluster);
        let kind = object["kind"].as_str().unwrap();
        object["kind"] = json!(format!("Copied{kind}"));
        object["apiVersion"] = json!(format!("{COPIES_GROUP}/v1alpha1"));
        self.done(&["apply", "-f", "-"], Some(&object.to_string()));
    }

    pub(crate) fn try_apply(&self, text: &str) -> (bool, String) {
        self.kubectl(&["apply", "--dry-run=server", "-f", "-"], Some(text))
    }

    pub(crate) fn get(&self, object: &str) -> Value {
        let text = self.done(&["get", object, "-o", "json"], None);
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let delete = ["delete", "namespace", &self.name, "--wait=false"];
        let _ = self.cluster.try_kubectl(&delete, None);
    }
}

pub(crate) fn job(name: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "StreamJob",
        "metadata": {"name": name},
        "spec": {"program": {"image": "word-count:1.0"}},
    });
    merge(&mut object["spec"], spec);
    object
}

pub(crate) fn checkpoint(name: &str, job: &str) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Checkpoint",
        "metadata": {"name": name},
        "spec": {"jobName": job},
    })
}

fn merge(target: &mut Value, patch: &Value) {
    match patch.as_object() {
        None => *target = patch.clone(),
        Some(members) => {
            for (name, member) in members {
                merge(&mut target[name], member);
            }
        }
    }
}
