//! The alerts: Prometheus takes them, they fire when they should, and their page has each.

mod rendered;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate_testkit::Program;

use rendered::{ALL_SWITCHES, list, objects, of_kind, read, text, word};

const ALERTS: &str = "charts/tidegate/files/alerts.yaml";

/// The one on PATH, else the distribution's.
fn promtool() -> Command {
    let own = Command::new("promtool").arg("--version").output();
    if own.is_ok_and(|output| output.status.success()) {
        return Command::new("promtool");
    }
    let program = Program::PROMTOOL.install();
    Command::new(program.expect("promtool is on PATH, or Debian's package can be had"))
}

fn run_promtool(arguments: &[&str], file: &Path) {
    let mut command = promtool();
    let output = command.args(arguments).arg(file).output();
    let output = output.expect("promtool starts");
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
}

#[test]
fn alerts_fire_when_they_should_and_not_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("alerts.yaml"), read(ALERTS)).unwrap();
    let cases = read("xtask/tests/golden/alerts-test.yaml").replace("ALERTS", "alerts.yaml");
    let file = folder.path().join("test.yaml");
    fs::write(&file, cases).unwrap();
    run_promtool(&["test", "rules"], &file);
}

#[test]
fn every_alert_is_tried_out() {
    let cases = read("xtask/tests/golden/alerts-test.yaml");
    for alert in names() {
        assert!(cases.contains(&format!("alertname: {alert}\n")), "{alert}");
    }
}

#[test]
fn prometheus_takes_the_alerts_that_the_chart_renders() {
    let objects = objects(&["--values", ALL_SWITCHES]);
    let rules = &of_kind(&objects, "PrometheusRule")[0]["spec"];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.json");
    fs::write(&file, rules.to_string()).unwrap();
    run_promtool(&["check", "rules"], &file);
    for rule in list(&rules["groups"][0]["rules"]) {
        let name = word(&rule["alert"]).to_lowercase();
        let runbook = format!("https://runbooks.example/tidegate#{name}");
        assert_eq!(rule["annotations"]["runbook_url"], runbook);
        assert!(["page", "ticket"].contains(&word(&rule["labels"]["severity"])));
        let age = word(&rule["expr"]).contains("> 900");
        assert_eq!(age, name == "tidegatejobcheckpointold", "{name}");
    }
}

fn names() -> BTreeSet<String> {
    let rules: Value = yaml_serde::from_str(&read(ALERTS)).expect("the alerts are YAML");
    let rules = list(&rules["groups"][0]["rules"]);
    rules
        .iter()
        .map(|rule| word(&rule["alert"]).to_string())
        .collect()
}

#[test]
fn every_alert_has_its_section_with_what_to_do() {
    let page = read("docs/operator/monitoring.md");
    let sections = page.lines().filter_map(|line| line.strip_prefix("### "));
    assert_eq!(sections.map(String::from).collect::<BTreeSet<_>>(), names());
}
