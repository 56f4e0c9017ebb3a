//! The controller has no right that its tests did not need.
//!
//! Run after the end-to-end tests, in the same cluster: the API server's audit log says what the
//! controller asked for. What it has is read from the cluster, not from the chart.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tidegate_testkit::cluster::Cluster;

/// The operator's namespace and its service account.
const NAMESPACE: &str = "tidegate-system";
const USER: &str = "system:serviceaccount:tidegate-system:tidegate";

/// A right as `group/resource verb`.
type Rights = BTreeSet<String>;

#[test]
fn every_right_was_needed() {
    let cluster = Cluster::running().expect("a cluster: run `cargo xtask e2e`");
    let (granted, used) = (granted(&cluster), used(&cluster));
    assert!(
        granted.len() > 20,
        "what the chart grants was not found: {granted:?}"
    );
    let needless = granted.difference(&used);
    let needless: Vec<&String> = needless
        .filter(|right| !is_fallback(right, &used))
        .collect();
    assert!(
        needless.is_empty(),
        "granted, but no test needed it: {needless:?}"
    );
    let refused: Vec<&String> = used.difference(&granted).collect();
    assert!(refused.is_empty(), "asked for without a right: {refused:?}");
}

/// What a watch falls back to on an API server that cannot stream the list which it begins with.
fn is_fallback(right: &str, used: &Rights) -> bool {
    let resource = right.strip_suffix(" list");
    resource.is_some_and(|resource| used.contains(&format!("{resource} watch")))
}

fn granted(cluster: &Cluster) -> Rights {
    let selector = "app.kubernetes.io/instance=tidegate";
    let mut rights = Rights::new();
    for kind in ["clusterroles", "roles"] {
        let arguments = [
            "get",
            kind,
            "--namespace",
            NAMESPACE,
            "--selector",
            selector,
            "--output",
            "json",
        ];
        let text = cluster.kubectl(&arguments).expect("the roles");
        let list: Value = serde_json::from_str(&text).expect("JSON of kubectl");
        for role in list["items"].as_array().expect("a list") {
            // Those for people, which the cluster's own roles take over.
            let labels = role["metadata"]["labels"].to_string();
            if labels.contains("aggregate-to") {
                continue;
            }
            for rule in role["rules"].as_array().into_iter().flatten() {
                rights.extend(of_rule(rule));
            }
        }
    }
    rights
}

fn of_rule(rule: &Value) -> Vec<String> {
    let words = |name: &str| -> Vec<String> {
        let list = rule[name].as_array().into_iter().flatten();
        list.filter_map(|word| word.as_str().map(str::to_owned))
            .collect()
    };
    let mut rights = Vec::new();
    for group in words("apiGroups") {
        for resource in words("resources") {
            for verb in words("verbs") {
                rights.push(format!("{group}/{resource} {verb}"));
            }
        }
    }
    rights
}

fn used(cluster: &Cluster) -> Rights {
    let path = cluster.audit_log().expect("an audit log");
    let text = fs::read_to_string(path).expect("the audit log");
    let mut rights = Rights::new();
    for line in text.lines() {
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if event["user"]["username"] == USER && event["objectRef"]["resource"].is_string() {
            rights.extend(of_event(&event));
        }
    }
    rights
}

fn of_event(event: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let target = &event["objectRef"];
    let mut resource = format!(
        "{}/{}",
        text(&target["apiGroup"]),
        text(&target["resource"])
    );
    if let Some(part) = target["subresource"].as_str() {
        resource = format!("{resource}/{part}");
    }
    let verb = text(&event["verb"]);
    let mut rights = vec![format!("{resource} {verb}")];
    // Server-side apply of what is not there yet needs both.
    if verb == "patch" && event["responseStatus"]["code"] == 201 {
        rights.push(format!("{resource} create"));
    }
    rights
}
