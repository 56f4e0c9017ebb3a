//! The operator as its chart installs it.

use std::sync::OnceLock;

use serde_json::Value;
use tidegate_testkit::cluster::Cluster;

use super::{SOON, until};

/// The namespace of the operator.
pub(crate) const NAMESPACE: &str = "tidegate-system";
/// The image of the job under test.
pub(crate) const JOB_IMAGE: &str = "registry.example/tidegate/job-under-test:0.1.0";

/// The same under another name.
pub(crate) const NEXT_JOB_IMAGE: &str = "registry.example/tidegate/job-under-test:next";

/// The cluster, in which `cargo xtask operator` has installed the chart.
pub(crate) fn installed() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::running().expect("a cluster: run `cargo xtask e2e`");
        let there = cluster.kubectl(&["get", "namespace", NAMESPACE]);
        there.expect("the operator: run `cargo xtask operator`, or all by `cargo xtask e2e`");
        cluster
    })
}

/// The pod that leads, as its Lease tells.
///
/// # Errors
/// The API server does not answer, or nobody leads.
fn leader() -> Result<String, String> {
    let get = ["get", "leases", "--namespace", NAMESPACE];
    let text = installed().kubectl(&[&get[..], &["--output", "json"]].concat());
    let text = text.map_err(|error| error.to_string())?;
    let leases: Value = serde_json::from_str(&text).expect("JSON");
    let holder = leases["items"][0]["spec"]["holderIdentity"].as_str();
    let holder = holder.filter(|holder| !holder.is_empty());
    holder.map(str::to_owned).ok_or(text)
}

/// SIGKILLs the controller that leads. Its pod is replaced, since kubelet would let a container
/// that is killed again and again wait longer and longer.
pub(crate) fn kill_leader() {
    let cluster = installed();
    until("the leading controller is killed", SOON, || {
        let pod = leader()?;
        let pids = cluster.pids_of_container(NAMESPACE, &pod, "controller");
        let pids = pids.map_err(|error| error.to_string())?;
        let first = pids.first().ok_or_else(|| format!("no process in {pod}"))?;
        cluster
            .kill_process(*first)
            .map_err(|error| error.to_string())?;
        let delete = ["delete", "pod", &pod, "--namespace", NAMESPACE];
        let at_once = ["--grace-period=0", "--force", "--wait=false"];
        let deleted = cluster.kubectl(&[&delete[..], &at_once].concat());
        deleted.map(drop).map_err(|error| error.to_string())
    });
}

/// How often kubelet has restarted the controllers that stand now.
pub(crate) fn restart_count() -> i64 {
    let selector = "app.kubernetes.io/component=controller";
    let get = [
        "get",
        "pods",
        "--namespace",
        NAMESPACE,
        "--selector",
        selector,
    ];
    let text = installed().kubectl(&[&get[..], &["--output", "json"]].concat());
    let pods: Value = serde_json::from_str(&text.expect("pods")).expect("JSON");
    let pods = pods["items"].as_array().expect("a list");
    assert!(!pods.is_empty(), "no controller has the label {selector}");
    let count = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64();
    pods.iter().filter_map(count).sum()
}

/// What the leading controller's `/metrics` gives.
pub(crate) fn metrics() -> String {
    until("the controller's metrics", SOON, || {
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/pods/{}:8080/proxy/metrics",
            leader()?
        );
        let metrics = installed().kubectl(&["get", "--raw", &path]);
        metrics.map_err(|error| error.to_string())
    })
}
