//! `cargo xtask generate`: files that are made from code and committed.
//!
//! To add one, let an example of the crate that owns the types print it to standard output, and
//! add a row to [`ARTIFACTS`]; the tidy test then fails whenever the committed file differs. The
//! chart's copies of the definitions in `crds` follow by themselves: a chart can only take along
//! what lies in its own folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::step::{self, Failure, cargo, workspace_root};

pub(crate) const ABOUT: &str = "write generated files; with --check, only say which are stale";

/// One committed file that a program prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Artifact {
    /// Where it is committed, from the workspace's folder.
    pub(crate) path: &'static str,
    /// The example that prints it, of whichever crate has it.
    pub(crate) example: &'static str,
}

/// Every generated file.
pub(crate) const ARTIFACTS: &[Artifact] = &[
    Artifact {
        path: "crds/streamjob.yaml",
        example: "crd",
    },
    Artifact {
        path: "crds/checkpoint.yaml",
        example: "checkpoint_crd",
    },
    Artifact {
        path: "docs/job-api.openapi.json",
        example: "openapi",
    },
];

/// The folder of the definitions, and the one of the chart's copies.
const DEFINITIONS: (&str, &str) = ("crds", "charts/tidegate/files/crds");

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step::flags(arguments, &["--check"])?;
    let is_check = !arguments.is_empty();
    let start = Instant::now();
    if is_check {
        let stale = stale(Build::Example)?;
        if !stale.is_empty() {
            let names = stale.join(", ");
            return Err(Failure::new(format!(
                "stale: {names}; run `cargo xtask generate`"
            )));
        }
    } else {
        for artifact in ARTIFACTS {
            let path = workspace_root().join(artifact.path);
            write(&path, &print(artifact, Build::Example)?)?;
            eprintln!("xtask: wrote {}", artifact.path);
        }
        copy_definitions(&workspace_root())?;
    }
    eprintln!(
        "xtask: generate took {:.1} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// [`stale`] for a test, which finds everything built.
pub(crate) fn stale_after_tests() -> Result<Vec<String>, Failure> {
    stale(Build::Tests)
}

/// The paths of those artifacts whose committed text differs from what is printed now.
fn stale(build: Build) -> Result<Vec<String>, Failure> {
    let mut stale = stale_definitions(&workspace_root())?;
    for artifact in ARTIFACTS {
        let printed = print(artifact, build)?;
        if differs(&workspace_root().join(artifact.path), &printed) {
            stale.push(artifact.path.to_string());
        }
    }
    Ok(stale)
}

/// The chart's copies that are missing, different or of no definition any more.
fn stale_definitions(root: &Path) -> Result<Vec<String>, Failure> {
    let (from, to) = DEFINITIONS;
    let (wanted, found) = (files(&root.join(from))?, files(&root.join(to))?);
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let stale = names
        .into_iter()
        .filter(|name| wanted.get(*name) != found.get(*name));
    Ok(stale.map(|name| format!("{to}/{name}")).collect())
}

fn copy_definitions(root: &Path) -> Result<(), Failure> {
    let (from, to) = DEFINITIONS;
    let wanted = files(&root.join(from))?;
    for path in stale_definitions(root)? {
        let name = path.rsplit('/').next().unwrap_or_default();
        let target = root.join(&path);
        match wanted.get(name) {
            Some(text) => write(&target, text)?,
            None => fs::remove_file(&target).map_err(|error| {
                Failure::new(format!("cannot remove {}: {error}", target.display()))
            })?,
        }
        eprintln!("xtask: copied {from}/{name} into {to}");
    }
    Ok(())
}

/// The files of a folder by name; none where there is no folder.
fn files(folder: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let cannot = |error| Failure::new(format!("cannot read {}: {error}", folder.display()));
    let mut files = BTreeMap::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let text = fs::read_to_string(entry.path()).map_err(cannot)?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    Ok(files)
}

/// Which build leaves the examples.
#[derive(Debug, Clone, Copy)]
enum Build {
    /// The example alone, whatever else does not compile.
    Example,
    /// All that `cargo xtask test` builds: fresh after it, where another choice of targets would
    /// choose other features and build the whole tree again.
    Tests,
}

fn print(artifact: &Artifact, build: Build) -> Result<String, Failure> {
    let mut command = match build {
        Build::Example => cargo(&["build", "--example", artifact.example]),
        Build::Tests => cargo(&["test", "--no-run"]),
    };
    command.args([
        "--quiet",
        "--workspace",
        "--all-features",
        "--message-format",
        "json",
    ]);
    let messages = step::output(command)?;
    let program = executable(&messages, artifact.example).ok_or_else(|| {
        Failure::new(format!(
            "no crate of the workspace has an example `{}`",
            artifact.example
        ))
    })?;
    step::output(Command::new(program))
}

/// The path of the example's program in cargo's messages, one JSON object a line.
fn executable(messages: &str, example: &str) -> Option<String> {
    let mut messages = messages
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok());
    messages.find_map(|message| {
        let is_it = message["target"]["name"] == example && message["executable"].is_string();
        is_it
            .then(|| message["executable"].as_str().map(String::from))
            .flatten()
    })
}

/// A missing file differs from everything.
fn differs(path: &Path, printed: &str) -> bool {
    fs::read_to_string(path).map_or(true, |committed| committed != printed)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let cannot = |error| Failure::new(format!("cannot write {}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(cannot)?;
    }
    fs::write(path, text).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_missing_file_is_stale_and_a_written_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crds/job.yaml");
        assert!(differs(&path, "a\n"));
        write(&path, "a\n").unwrap();
        assert!(!differs(&path, "a\n"));
        assert!(differs(&path, "b\n"));
    }

    #[test]
    fn the_charts_copies_follow_the_definitions() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(&root.join("crds/job.yaml"), "a\n").unwrap();
        write(&root.join("charts/tidegate/files/crds/gone.yaml"), "b\n").unwrap();
        assert_eq!(
            stale_definitions(root).unwrap(),
            [
                "charts/tidegate/files/crds/gone.yaml",
                "charts/tidegate/files/crds/job.yaml"
            ]
        );
        copy_definitions(root).unwrap();
        assert_eq!(stale_definitions(root).unwrap(), [""; 0]);
        write(&root.join("crds/job.yaml"), "c\n").unwrap();
        assert_eq!(stale_definitions(root).unwrap().len(), 1);
    }

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"a"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"crd"},"executable":"/t/crd"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "crd").as_deref(), Some("/t/crd"));
        assert_eq!(executable(messages, "a"), None);
    }
}
