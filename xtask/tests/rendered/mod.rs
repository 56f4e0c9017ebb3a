//! The chart as helm renders it, for tests.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tidegate_testkit::cluster::helm_program;
use xtask::workspace_root;

/// What the chart is rendered for. Helm's own default is older than the chart allows.
const KUBERNETES: &str = "1.34.0";
/// Every switch that is off by default, and a value for whatever is empty.
pub const ALL_SWITCHES: &str = "xtask/tests/golden/chart-all-values.yaml";

fn chart() -> PathBuf {
    workspace_root().join("charts/tidegate")
}

/// A file of the workspace.
pub fn read(path: &str) -> String {
    let path = workspace_root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs helm in the workspace's folder.
pub fn helm(arguments: &[&str]) -> Output {
    let program = helm_program().expect("helm is built into the cache of test programs");
    let mut command = Command::new(program);
    command.current_dir(workspace_root()).args(arguments);
    command.output().expect("helm starts")
}

/// What `helm template` says about these further arguments.
pub fn template(arguments: &[&str]) -> Output {
    let chart = chart();
    let chart = chart.to_str().expect("the workspace's path is text");
    let mut all = vec!["template", "tidegate", chart];
    all.extend([
        "--namespace",
        "tidegate-system",
        "--kube-version",
        KUBERNETES,
    ]);
    all.extend(arguments);
    helm(&all)
}

/// What a program printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("helm prints text")
}

/// Everything that is rendered, as it is printed.
pub fn rendered(arguments: &[&str]) -> String {
    let output = template(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The same, each object parsed.
pub fn objects(arguments: &[&str]) -> Vec<Value> {
    let text = rendered(arguments);
    let documents = text.split("\n---\n").filter(|text| !text.trim().is_empty());
    documents
        .map(|text| yaml_serde::from_str(text).unwrap_or_else(|e| panic!("{e}:\n{text}")))
        .collect()
}

/// Those of one kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let found = objects.iter().filter(|object| object["kind"] == kind);
    found.collect()
}

/// The items of a list; none where there is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A value that is text.
pub fn word(value: &Value) -> &str {
    value.as_str().expect("it is text")
}
