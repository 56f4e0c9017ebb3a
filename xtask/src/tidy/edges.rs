//! Which crate may know which: the architecture as a table.

use serde_json::Value;

use super::Finding;
use crate::step::Failure;

/// Who may depend on which workspace crates. A crate without a row is refused, so that a new one
/// gets its place in the architecture together with its code.
const EDGES: &[(&str, &[&str])] = &[
    ("tidegate-protocol", &[]),
    ("tidegate-api", &[]),
    (
        "tidegate-controller",
        &["tidegate-api", "tidegate-protocol"],
    ),
    ("tidegate-derive", &[]),
    // The snapshot files' format is storage's; the engine encodes into it.
    ("tidegate-storage", &["tidegate-protocol"]),
    (
        "tidegate-engine",
        &["tidegate-protocol", "tidegate-storage", "tidegate-derive"],
    ),
    (
        "tidegate-connectors",
        &["tidegate-protocol", "tidegate-storage", "tidegate-engine"],
    ),
    // The job process joins the parts.
    (
        "tidegate",
        &[
            "tidegate-protocol",
            "tidegate-api",
            "tidegate-storage",
            "tidegate-engine",
            "tidegate-connectors",
        ],
    ),
    (
        "tidegate-cli",
        &[
            "tidegate-protocol",
            "tidegate-api",
            "tidegate-storage",
            "tidegate-engine",
            "tidegate-connectors",
            "tidegate",
        ],
    ),
    (
        "tidegate-bench",
        &[
            "tidegate-protocol",
            "tidegate-storage",
            "tidegate-engine",
            "tidegate-connectors",
            "tidegate",
        ],
    ),
    ("tidegate-bench-operator", &["tidegate-testkit"]),
    ("tidegate-testkit", &[]),
    ("job-under-test", &["tidegate", "tidegate-storage"]),
    ("xtask", &["tidegate-testkit"]),
];

/// What an example may use is what a user may use.
const EXAMPLE_EDGES: &[&str] = &["tidegate"];
/// Whatever may be used, tests may use besides: servers, and for the derives what they derive.
const TEST_EDGES: &[(&str, &str)] = &[
    ("*", "tidegate-testkit"),
    ("tidegate-derive", "tidegate-engine"),
];

/// Only this folder knows the SQL planner.
const SQL_FOLDER: &str = "runtime/sql";

/// Packages that must not be in a package's tree. A name that ends in `*` is a prefix.
pub(crate) struct Never {
    pub(crate) package: &'static str,
    pub(crate) banned: &'static [&'static str],
    pub(crate) reason: &'static str,
}

/// What some crates must never reach, by whatever path.
pub(crate) const NEVER: &[Never] = &[
    Never {
        package: "tidegate-protocol",
        banned: &[
            "tokio",
            "arrow*",
            "futures",
            "tracing",
            "hyper",
            "kube*",
            "k8s-openapi",
        ],
        reason: "the protocol is pure logic",
    },
    Never {
        package: "tidegate-storage",
        banned: &["kube*", "k8s-openapi", "datafusion*"],
        reason: "the runtime does not know Kubernetes",
    },
    Never {
        package: "tidegate-engine",
        banned: &["kube*", "k8s-openapi", "datafusion*"],
        reason: "the engine does not know Kubernetes or SQL",
    },
    Never {
        package: "tidegate-connectors",
        banned: &["kube*", "k8s-openapi", "datafusion*"],
        reason: "connectors do not know Kubernetes or SQL",
    },
    Never {
        package: "tidegate-api",
        banned: &[
            "tokio",
            "hyper*",
            "reqwest",
            "kube-client",
            "kube-runtime",
            "tower",
        ],
        reason: "the custom resources' crate has no client and no async runtime",
    },
];

/// What nothing in the workspace may reach, tests included.
pub(crate) const NOWHERE: Never = Never {
    package: "the workspace",
    banned: &["ring", "openssl", "openssl-sys", "native-tls", "serde_yaml"],
    reason: "rustls with aws-lc-rs is our TLS, yaml_serde our YAML",
};

/// A workspace package and the names that its manifest depends on.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest: String,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_dev: bool,
}

/// Reads `cargo metadata --no-deps`.
///
/// # Errors
/// When it is not the JSON that cargo documents.
pub(crate) fn parse_metadata(json: &str) -> Result<Vec<Package>, Failure> {
    let metadata: Value = serde_json::from_str(json)
        .map_err(|e| Failure::new(format!("cargo metadata is no JSON: {e}")))?;
    let packages = metadata["packages"].as_array();
    let packages = packages.ok_or_else(|| Failure::new("cargo metadata lists no packages"))?;
    Ok(packages.iter().map(package).collect())
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let dependencies = value["dependencies"].as_array().into_iter().flatten();
    Package {
        name: text(&value["name"]),
        manifest: text(&value["manifest_path"]),
        dependencies: dependencies
            .map(|dependency| Dependency {
                name: text(&dependency["name"]),
                is_dev: dependency["kind"] == "dev",
            })
            .collect(),
    }
}

/// The package names that `cargo tree --prefix none --format {p}` prints.
pub(crate) fn parse_tree(tree: &str) -> Vec<String> {
    let names = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let mut names: Vec<String> = names.map(String::from).collect();
    names.sort();
    names.dedup();
    names
}

/// Findings about what manifests name directly.
pub(crate) fn check_direct(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(allowed) = allowed(package) else {
            let message = "has no row in xtask/src/tidy/edges.rs; say what it may depend on";
            findings.push(Finding::new(&package.name, 0, message));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let is_ours = packages.iter().any(|package| package.name == name);
            let is_test_edge =
                |(from, to): &(&str, &str)| (*from == "*" || *from == package.name) && *to == name;
            let is_for_tests = dependency.is_dev && TEST_EDGES.iter().any(is_test_edge);
            if is_ours && !allowed.contains(&name) && !is_for_tests && name != package.name {
                let message = format!("must not depend on {name} (docs/ARCHITECTURE.md)");
                findings.push(Finding::new(&package.name, 0, message));
            }
            if name.starts_with("datafusion") && !package.manifest.contains(SQL_FOLDER) {
                let message = format!("must not depend on {name}: only {SQL_FOLDER} knows it");
                findings.push(Finding::new(&package.name, 0, message));
            }
        }
    }
    findings
}

fn allowed(package: &Package) -> Option<&'static [&'static str]> {
    if package.manifest.contains("/examples/") {
        return Some(EXAMPLE_EDGES);
    }
    EDGES
        .iter()
        .find(|(name, _)| *name == package.name)
        .map(|(_, allowed)| *allowed)
}

/// Findings about what a package's tree reaches.
pub(crate) fn check_never(rule: &Never, tree: &[String]) -> Vec<Finding> {
    let matches = |name: &str| {
        rule.banned
            .iter()
            .any(|banned| match banned.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == *banned,
            })
    };
    let reached = tree.iter().filter(|name| matches(name));
    let message = |name| format!("must not reach {name}: {}", rule.reason);
    reached
        .map(|name| Finding::new(rule.package, 0, message(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, manifest: &str, dependencies: &[(&str, bool)]) -> Package {
        let dependency = |(name, is_dev): &(&str, bool)| Dependency {
            name: (*name).to_string(),
            is_dev: *is_dev,
        };
        Package {
            name: name.to_string(),
            manifest: manifest.to_string(),
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    fn messages(packages: &[Package]) -> Vec<String> {
        check_direct(packages)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_edge_against_the_architecture_is_refused() {
        let engine = package("tidegate-engine", "/w/runtime/engine/Cargo.toml", &[]);
        let protocol = package(
            "tidegate-protocol",
            "/w/runtime/protocol/Cargo.toml",
            &[("tidegate-engine", false), ("serde", false)],
        );
        let found = messages(&[engine, protocol]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("tidegate-protocol: must not depend on tidegate-engine"));
    }

    #[test]
    fn the_testkit_is_for_tests_only() {
        let testkit = package("tidegate-testkit", "/w/e2e/Cargo.toml", &[]);
        let storage = |is_dev| {
            let edge = [("tidegate-testkit", is_dev)];
            package("tidegate-storage", "/w/runtime/storage/Cargo.toml", &edge)
        };
        assert_eq!(messages(&[testkit.clone(), storage(true)]), [""; 0]);
        assert_eq!(messages(&[testkit, storage(false)]).len(), 1);
    }

    #[test]
    fn an_example_uses_what_a_user_uses() {
        let engine = package("tidegate-engine", "/w/runtime/engine/Cargo.toml", &[]);
        let edge = [("tidegate-engine", false)];
        let example = package("word-count", "/w/examples/word-count/Cargo.toml", &edge);
        assert_eq!(messages(&[engine, example]).len(), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        assert_eq!(
            messages(&[package("tidegate-new", "/w/new/Cargo.toml", &[])]).len(),
            1
        );
    }

    #[test]
    fn only_sql_depends_on_datafusion() {
        let edge = [("datafusion-expr", false)];
        let engine = package("tidegate-engine", "/w/runtime/engine/Cargo.toml", &edge);
        assert_eq!(messages(&[engine]).len(), 1);
    }

    #[test]
    fn a_banned_package_deep_in_the_tree_is_found_by_name_and_by_prefix() {
        let tree = parse_tree("a v1.0.0\nring v0.17.0\nstring v1.0.0\nkube-core v5.0.0 (*)\n");
        assert_eq!(check_never(&NOWHERE, &tree).len(), 1);
        assert_eq!(check_never(&NEVER[0], &tree).len(), 1);
    }

    #[test]
    fn metadata_gives_names_and_kinds() {
        let json = r#"{"packages":[{"name":"a","manifest_path":"/w/a/Cargo.toml","dependencies":
            [{"name":"b","kind":null},{"name":"c","kind":"dev"}]}]}"#;
        let packages = parse_metadata(json).unwrap();
        let kinds: Vec<_> = packages[0]
            .dependencies
            .iter()
            .map(|d| (&*d.name, d.is_dev))
            .collect();
        assert_eq!(kinds, [("b", false), ("c", true)]);
        assert!(parse_metadata("{}").is_err());
    }
}
