//! What the operator's pages say is what the chart and the controller do.

mod rendered;

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use xtask::workspace_root;

use rendered::{ALL_SWITCHES, list, objects, of_kind, read, word};

/// A group, a resource and, where it is limited to one object, that one's name; and a verb.
type Right = (String, String);

/// The rows of the tables between this heading and the next one.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let lines = page.lines().skip_while(|line| *line != heading).skip(1);
    let section = lines.take_while(|line| !line.starts_with('#'));
    let rows = section.filter(|line| line.starts_with("| "));
    let cells = |row: &str| {
        let row = row.trim_matches('|');
        row.split(" | ")
            .map(|cell| cell.trim().to_string())
            .collect()
    };
    rows.skip(2).map(cells).collect()
}

fn rights_of_page(heading: &str) -> BTreeSet<Right> {
    let page = read("docs/operator/security.md");
    let rows = rows(&page, heading);
    let mut rights = BTreeSet::new();
    for row in &rows {
        let [resource, verb, why] = row.as_slice() else {
            panic!("{row:?} has not three cells");
        };
        assert!(why.len() > 10, "{resource} {verb} has no reason");
        let is_new = rights.insert((resource.clone(), verb.clone()));
        assert!(is_new, "{resource} {verb} stands there twice");
    }
    assert!(!rights.is_empty(), "no table under {heading}");
    rights
}

fn rights_of_role(role: &Value) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in list(&role["rules"]) {
        let names = match list(&rule["resourceNames"]) {
            [] => vec![String::new()],
            names => names
                .iter()
                .map(|name| format!(" {}", word(name)))
                .collect(),
        };
        for group in list(&rule["apiGroups"]) {
            let group = match word(group) {
                "" => "core",
                group => group,
            };
            for resource in list(&rule["resources"]) {
                for name in &names {
                    for verb in list(&rule["verbs"]) {
                        let resource = format!("{group}/{}{name}", word(resource));
                        rights.insert((resource, word(verb).to_string()));
                    }
                }
            }
        }
    }
    rights
}

#[test]
fn the_controllers_rights_are_those_that_the_security_page_justifies() {
    let jobs = rights_of_page("### In the namespaces it serves");
    let own = rights_of_page("### In its own namespace");

    let everywhere = objects(&[]);
    let mut roles = of_kind(&everywhere, "ClusterRole");
    roles.retain(|role| {
        !role["metadata"]["labels"]
            .to_string()
            .contains("aggregate-to-")
    });
    assert_eq!(roles.len(), 1);
    assert_eq!(rights_of_role(roles[0]), jobs);
    let roles = of_kind(&everywhere, "Role");
    assert_eq!(roles.len(), 1);
    assert_eq!(rights_of_role(roles[0]), own);

    let listed = objects(&[
        "--set",
        "namespaces={shop,billing}",
        "--set",
        "rbac.aggregateToUsers=false",
    ]);
    assert_eq!(of_kind(&listed, "ClusterRole").len(), 0);
    assert_eq!(of_kind(&listed, "ClusterRoleBinding").len(), 0);
    for namespace in ["shop", "billing", "tidegate-system"] {
        let mut roles = of_kind(&listed, "Role");
        roles.retain(|role| role["metadata"]["namespace"] == namespace);
        let expected = if namespace == "tidegate-system" {
            &own
        } else {
            &jobs
        };
        assert_eq!(roles.len(), 1, "{namespace}");
        assert_eq!(&rights_of_role(roles[0]), expected, "{namespace}");
    }
}

#[test]
fn no_right_is_a_wildcard_or_reads_secrets_of_others() {
    let all = objects(&[]);
    for role in all.iter().filter(|o| word(&o["kind"]).ends_with("Role")) {
        for (resource, verb) in rights_of_role(role) {
            assert!(!resource.contains('*') && verb != "*", "{resource} {verb}");
            let reads = resource == "core/secrets" && verb != "create";
            assert!(!reads, "{resource} {verb}");
        }
    }
}

#[test]
fn the_charts_pods_meet_the_restricted_level() {
    let all = objects(&[]);
    let deployment = &of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"];
    let test = &of_kind(&all, "Pod")[0]["spec"];
    for pod in [deployment, test] {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        for container in list(&pod["containers"]) {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["readOnlyRootFilesystem"], true);
            assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
            assert!(container["resources"]["limits"]["memory"].is_string());
        }
    }
    assert_eq!(test["automountServiceAccountToken"], false);
}

#[test]
fn the_controller_knows_every_flag_that_the_chart_gives_it() {
    let code = read("controller/src/config.rs");
    let all = objects(&["--values", ALL_SWITCHES]);
    let pod = &of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"];
    let arguments = list(&pod["containers"][0]["args"]);
    let flag = |argument| word(argument).split_once('=').expect("a value").0;
    let flags: BTreeSet<&str> = arguments.iter().map(flag).collect();
    assert!(flags.len() > 10, "{flags:?}");
    for flag in flags {
        let field = flag.trim_start_matches('-').replace('-', "_");
        assert!(code.contains(&format!("pub {field}: ")), "{flag}");
    }
}

#[test]
fn every_reason_of_a_condition_stands_on_its_page() {
    let code = read("controller/api/src/status/reason.rs");
    let arms = code
        .lines()
        .filter(|line| line.contains("Self::") && line.contains("=> \""));
    let reasons: BTreeSet<&str> = arms.filter_map(|line| line.split('"').nth(1)).collect();
    assert!(reasons.len() > 30, "the reasons are found in the code");
    let page = read("docs/operator/conditions.md");
    let mut told = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if let [reason, _, meaning, what_to_do] = cells.as_slice() {
            assert!(!meaning.is_empty() && !what_to_do.is_empty(), "{reason}");
            assert!(
                told.insert(reason.trim_matches('`')),
                "{reason} stands there twice"
            );
        }
    }
    assert_eq!(told, reasons);
}

/// The names of metrics in a text that begin with `tidegate_`.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !is_part(c));
    words
        .filter(|word| word.starts_with("tidegate_controller_"))
        .collect()
}

#[test]
fn alerts_and_dashboard_use_metrics_that_the_page_explains() {
    let page = read("docs/operator/monitoring.md");
    let explained = metrics(&page);
    for file in ["files/alerts.yaml", "files/dashboard.json"] {
        let text = read(&format!("charts/tidegate/{file}"));
        let unknown: Vec<&str> = metrics(&text).difference(&explained).copied().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let folder = workspace_root().join("docs/operator");
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let page = fs::read_to_string(&path).unwrap();
        for link in page.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                folder.join(file)
            };
            let text = fs::read_to_string(&target);
            let text = text.unwrap_or_else(|_| panic!("{}: {link}", path.display()));
            let is_there = anchor.is_empty() || anchors(&text).contains(anchor);
            assert!(is_there, "{}: {link}", path.display());
        }
    }
}

/// Headings as links name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}
