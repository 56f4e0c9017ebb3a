//! The chart: what it renders, what it refuses, and that its pages say the same.
//!
//! `UPDATE_GOLDEN=1` rewrites the golden files.

mod rendered;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use xtask::workspace_root;

use rendered::{ALL_SWITCHES, helm, objects, of_kind, read, rendered, template, text};

fn compare(name: &str, actual: &str) {
    let path = workspace_root().join("xtask/tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).expect("the golden file can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if let Some(line) = first_difference(&expected, actual) {
        panic!(
            "{} differs from line {line} on; UPDATE_GOLDEN=1 rewrites it. Rendered:\n{actual}",
            path.display()
        );
    }
}

fn first_difference(expected: &str, actual: &str) -> Option<usize> {
    let mut pairs = expected.lines().zip(actual.lines());
    match pairs.position(|(one, other)| one != other) {
        Some(index) => Some(index + 1),
        None => (expected != actual).then(|| expected.lines().count().min(actual.lines().count())),
    }
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    for values in [None, Some(ALL_SWITCHES)] {
        let mut arguments = vec!["lint", "--strict", "charts/tidegate"];
        arguments.extend(values.into_iter().flat_map(|file| ["--values", file]));
        let output = helm(&arguments);
        assert!(output.status.success(), "{}", text(&output.stdout));
    }
}

#[test]
fn the_default_values_render_as_the_golden_file() {
    let rendered = rendered(&["--set", "crds.install=false"]);
    compare("chart-default.yaml", &rendered);
}

#[test]
fn all_switches_render_as_the_golden_file() {
    compare("chart-all.yaml", &rendered(&["--values", ALL_SWITCHES]));
}

#[test]
fn the_definitions_are_those_of_the_crds_folder_and_outlive_the_chart() {
    let objects = objects(&[]);
    let mut in_chart = BTreeMap::new();
    for definition in of_kind(&objects, "CustomResourceDefinition") {
        let mut definition = definition.clone();
        let metadata = definition["metadata"].as_object_mut().expect("it has some");
        metadata.remove("labels");
        let annotations = metadata.remove("annotations").unwrap_or_default();
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        in_chart.insert(definition["metadata"]["name"].to_string(), definition);
    }
    let mut in_folder = BTreeMap::new();
    for entry in fs::read_dir(workspace_root().join("crds")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let definition: Value = yaml_serde::from_str(&text).unwrap();
        in_folder.insert(definition["metadata"]["name"].to_string(), definition);
    }
    assert!(!in_folder.is_empty());
    assert_eq!(
        in_chart.keys().collect::<Vec<_>>(),
        in_folder.keys().collect::<Vec<_>>()
    );
    for (name, definition) in in_folder {
        assert!(
            plain(&in_chart[&name]) == plain(&definition),
            "{name} differs; run `cargo xtask generate`"
        );
    }
}

/// The same with every number in one form: helm writes 1.0 as 1.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), plain(value)));
            members.collect()
        }
        other => other.clone(),
    }
}

#[test]
fn values_that_cannot_work_are_refused_with_their_place() {
    for (value, says) in [
        (
            "replicaCount=3",
            "additional properties 'replicaCount' not allowed",
        ),
        (
            "image.tga=1",
            "at '/image': additional properties 'tga' not allowed",
        ),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("replicas=-1", "at '/replicas': minimum: got -1, want 0"),
        (
            "image.digest=latest",
            "at '/image/digest': 'latest' does not match pattern",
        ),
        (
            "image.pullPolicy=Sometimes",
            "at '/image/pullPolicy': value must be one of",
        ),
        (
            "controller.logLevel=loud",
            "at '/controller/logLevel': value must be one of",
        ),
        (
            "controller.leaseSeconds=1",
            "at '/controller/leaseSeconds': minimum",
        ),
        (
            "storage.url=bucket",
            "at '/storage/url': 'bucket' does not match pattern",
        ),
        (
            "storage.url=s3://key:secret@bucket/jobs",
            "at '/storage/url'",
        ),
        ("storage.secretName=My_Secret", "at '/storage/secretName'"),
        (
            "storage.region=eu",
            "without storage.url: give the bucket, as in s3://bucket/prefix",
        ),
        ("serviceAccount.create=false", "give serviceAccount.name"),
        (
            "namespaces={Shop}",
            "at '/namespaces/0': 'Shop' does not match pattern",
        ),
        (
            "networkPolicy.apiServer.ports={0}",
            "at '/networkPolicy/apiServer/ports/0'",
        ),
        (
            "metrics.podMonitor.interval=often",
            "at '/metrics/podMonitor/interval'",
        ),
        (
            "crds.keep=false",
            "additional properties 'keep' not allowed",
        ),
    ] {
        let output = template(&["--set", value]);
        let errors = text(&output.stderr);
        assert!(!output.status.success(), "{value} was taken");
        assert!(errors.contains(says), "{value}: {errors}");
    }
}

#[test]
fn the_schema_knows_every_value_and_no_other() {
    let values: Value = yaml_serde::from_str(&read("charts/tidegate/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("charts/tidegate/values.schema.json")).unwrap();
    check_against(&values, &schema, "");
}

fn check_against(value: &Value, schema: &Value, path: &str) {
    // Without its own list of names a part is Kubernetes' own, whose fields it checks itself.
    let (Some(known), Some(value)) = (schema["properties"].as_object(), value.as_object()) else {
        return;
    };
    assert_eq!(
        schema["additionalProperties"], false,
        "{path} takes any name"
    );
    let mut known: BTreeSet<&String> = known.keys().collect();
    known.retain(|name| !path.is_empty() || *name != "global");
    assert_eq!(known, value.keys().collect(), "at {path}/");
    for (name, value) in value {
        check_against(
            value,
            &schema["properties"][name],
            &format!("{path}/{name}"),
        );
    }
}

#[test]
fn chart_and_workspace_have_one_version() {
    let chart: Value = yaml_serde::from_str(&read("charts/tidegate/Chart.yaml")).unwrap();
    let line = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(read("Cargo.toml").lines().any(|text| text == line));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
