//! Who may reach what: pods under the restricted level, the job API behind the job's certificate.

use serde_json::{Value, json};

use crate::support::{Job, SOON, Space, until};

/// Runs a pod that asks `url`, with the certificate of a Secret if one is named, and tells how it
/// ended and what it printed.
fn ask(space: &Space, name: &str, url: &str, secret: Option<&str>) -> (bool, String) {
    let image = space.cluster.pod_image().expect("an image for test pods");
    let mounts = secret.map_or(json!([]), |_| json!([{"name": "tls", "mountPath": "/tls"}]));
    let volumes = secret.map_or(
        json!([]),
        |secret| json!([{"name": "tls", "secret": {"secretName": secret}}]),
    );
    let env = secret.map_or(json!([]), |_| {
        json!([
            {"name": "CERTIFICATE", "value": "/tls/tls.crt"},
            {"name": "KEY", "value": "/tls/tls.key"},
        ])
    });
    space.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "ask", "image": image, "args": ["get", url], "env": env,
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    }));
    let pod = space.wait(("pod", name), SOON, "it has ended", |pod| {
        ["Succeeded", "Failed"]
            .iter()
            .any(|phase| pod["status"]["phase"] == *phase)
    });
    (
        pod["status"]["phase"] == "Succeeded",
        space.kubectl(&["logs", name]),
    )
}

fn address(pod: &Value) -> String {
    pod["status"]["podIP"]
        .as_str()
        .expect("an address")
        .to_owned()
}

/// The Secret with the certificate that a pod of the job shows.
fn certificate(pod: &Value) -> String {
    let volumes = pod["spec"]["volumes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut names = volumes
        .iter()
        .filter_map(|volume| volume["secret"]["secretName"].as_str());
    let found = names.find(|name| name.contains("-tls-"));
    found.expect("a Secret with certificates").to_owned()
}

#[test]
fn only_who_has_the_jobs_certificate_reaches_its_api() {
    let space = Space::new("mtls");
    let (one, other) = (Job::new(&space, "one"), Job::new(&space, "other"));
    one.apply();
    other.start();
    one.wait_ready();
    let pod = one.pods().remove(0);
    let url = format!("https://{}:8443/v1/job", address(&pod));
    let (is_answered, text) = ask(&space, "nobody", &url, None);
    assert!(!is_answered, "without a certificate: {text}");
    let others = until("the other job has a pod", SOON, || {
        let mut pods = space.list("pods", "tidegate.dev/job=other");
        pods.pop().ok_or_else(|| "none".to_owned())
    });
    let (is_answered, text) = ask(&space, "stranger", &url, Some(&certificate(&others)));
    assert!(!is_answered, "with another job's certificate: {text}");
    let (is_answered, text) = ask(&space, "itself", &url, Some(&certificate(&pod)));
    assert!(
        is_answered && text.contains("\"phase\""),
        "with its own certificate: {text}"
    );
    // What anybody may read, and no more than that.
    let plain = |path: &str| format!("http://{}:8080{path}", address(&pod));
    let (is_answered, text) = ask(&space, "scraper", &plain("/metrics"), None);
    assert!(is_answered && text.contains("tidegate_job_"), "{text}");
    let (_, text) = ask(&space, "snooper", &plain("/v1/job"), None);
    assert!(text.starts_with("404"), "{text}");
}

#[test]
fn pods_hold_no_token_and_run_without_rights() {
    let space = Space::new("rights");
    let job = Job::new(&space, "counts").start();
    let pod = job.pods().remove(0);
    let spec = &pod["spec"];
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    let container = &spec["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    let volumes = spec["volumes"].to_string();
    assert!(!volumes.contains("serviceAccountToken"), "{volumes}");
    let policies = space.list("networkpolicies", "tidegate.dev/job=counts");
    assert_eq!(policies.len(), 1, "who may talk to the pods is said");
}

#[test]
fn metrics_of_the_job_and_the_controller_carry_the_documented_labels() {
    let space = Space::new("metrics");
    let job = Job::new(&space, "counts").start();
    job.wait_results_beyond(100);
    let pod = job.pods().remove(0);
    let url = format!("http://{}:8080/metrics", address(&pod));
    let (is_answered, text) = ask(&space, "scrape", &url, None);
    assert!(is_answered, "{text}");
    let labels = format!("job_namespace=\"{}\"", space.namespace);
    let is_labelled = |line: &&str| line.contains(&labels) && line.contains("job_name=\"counts\"");
    assert!(text.lines().filter(is_labelled).count() > 10, "{text}");
    let controller = crate::support::operator::metrics();
    for name in ["reconciles_total", "api_writes_total", "leader"] {
        let name = format!("tidegate_controller_{name}");
        assert!(controller.contains(&name), "no {name} in {controller}");
    }
}
