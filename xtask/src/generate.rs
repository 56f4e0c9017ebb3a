//! `cargo xtask generate`: files that are made from code and committed.
//!
//! To add one, let a program print it to standard output and add a row to [`ARTIFACTS`]; the
//! tidy test then fails whenever the committed file differs.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::step::{self, Failure, cargo, workspace_root};

pub(crate) const ABOUT: &str = "write generated files; with --check, only say which are stale";

/// One committed file that a program prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Artifact {
    /// Where it is committed, from the workspace's folder.
    pub(crate) path: &'static str,
    /// What `cargo run --quiet` runs to have it printed.
    pub(crate) cargo_run: &'static [&'static str],
}

/// Every generated file.
pub(crate) const ARTIFACTS: &[Artifact] = &[];

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step::flags(arguments, &["--check"])?;
    let is_check = !arguments.is_empty();
    let start = Instant::now();
    if is_check {
        let stale = stale(ARTIFACTS)?;
        if !stale.is_empty() {
            let names = stale.join(", ");
            return Err(Failure::new(format!(
                "stale: {names}; run `cargo xtask generate`"
            )));
        }
    } else {
        for artifact in ARTIFACTS {
            let path = workspace_root().join(artifact.path);
            write(&path, &print(artifact)?)?;
            eprintln!("xtask: wrote {}", artifact.path);
        }
    }
    eprintln!(
        "xtask: generate took {:.1} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The paths of those artifacts whose committed text differs from what is printed now.
pub(crate) fn stale(artifacts: &[Artifact]) -> Result<Vec<&'static str>, Failure> {
    let mut stale = Vec::new();
    for artifact in artifacts {
        let printed = print(artifact)?;
        if differs(&workspace_root().join(artifact.path), &printed) {
            stale.push(artifact.path);
        }
    }
    Ok(stale)
}

fn print(artifact: &Artifact) -> Result<String, Failure> {
    let mut command = cargo(&["run", "--quiet"]);
    command.args(artifact.cargo_run);
    step::output(command)
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
}
