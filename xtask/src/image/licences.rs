//! The licences of everything that is in an image's programs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::build::Package;
use super::layer::Layer;
use super::{files, read};
use crate::step::{Failure, workspace_root};

/// How the names of files with licences begin.
const NAMES: [&str; 5] = ["license", "licence", "copying", "notice", "unlicense"];
const FOLDER: &str = "usr/share/licenses/tidegate";

/// Adds our licence, and one file with those of all packages that the programs are built from.
///
/// # Errors
/// A package's folder cannot be read.
pub(super) fn add(
    layer: &mut Layer,
    metadata: &Value,
    packages: &[Package],
) -> Result<(), Failure> {
    let own = read(&workspace_root().join("LICENSE"))?;
    layer.file(&format!("{FOLDER}/LICENSE"), 0o644, own);
    let crates = crates(metadata, packages);
    layer.file(
        &format!("{FOLDER}/THIRD-PARTY.txt"),
        0o644,
        render(&crates)?,
    );
    Ok(())
}

/// A package of somebody else.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
    repository: String,
    folder: PathBuf,
}

/// What the programs are built from, sorted: whatever they depend on, except for tests and builds.
fn crates(metadata: &Value, packages: &[Package]) -> BTreeSet<Crate> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let nodes: BTreeMap<String, Value> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| (text(&node["id"]), node))
        .collect();
    let is_root = |package: &Value| {
        package["source"].is_null() && packages.iter().any(|it| package["name"] == it.name)
    };
    let mut open: Vec<String> = all
        .iter()
        .filter(|(_, package)| is_root(package))
        .map(|(id, _)| id.clone())
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        for dependency in nodes
            .get(&id)
            .map(|it| list(&it["deps"]))
            .unwrap_or_default()
        {
            let kinds = list(&dependency["dep_kinds"]);
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                open.push(text(&dependency["pkg"]));
            }
        }
    }
    let foreign = seen.iter().filter_map(|id| all.get(id));
    let foreign = foreign.filter(|package| !package["source"].is_null());
    foreign
        .map(|package| Crate {
            name: text(&package["name"]),
            version: text(&package["version"]),
            licence: text(&package["license"]),
            repository: text(&package["repository"]),
            folder: Path::new(&text(&package["manifest_path"]))
                .parent()
                .unwrap_or(Path::new(""))
                .to_owned(),
        })
        .collect()
}

/// A list of the packages, then each licence's text once, with the packages that it came with.
fn render(crates: &BTreeSet<Crate>) -> Result<String, Failure> {
    let mut text = "This program contains the following packages.\n\n".to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for it in crates {
        let Crate {
            name,
            version,
            licence,
            repository,
            ..
        } = it;
        text += &format!("{name} {version}: {licence}; {repository}\n");
        for (file, content) in files(&it.folder)? {
            let lower = file.to_lowercase();
            if NAMES.iter().any(|name| lower.starts_with(name)) {
                let content = String::from_utf8_lossy(&content).trim().to_owned();
                texts
                    .entry(content)
                    .or_default()
                    .push(format!("{name} {version}"));
            }
        }
    }
    for (licence, names) in texts {
        let rule = "=".repeat(80);
        text += &format!("\n{rule}\n{}\n{rule}\n\n{licence}\n", names.join(", "));
    }
    Ok(text)
}
