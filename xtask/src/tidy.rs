//! The style rules that a machine can hold, as one list of findings.
//!
//! ```text
//!   sources ──► Source (text, code without comments and literals, test lines) ──► rules
//!   cargo metadata, cargo tree ──► edges            README, .ci/run ──► readme
//! ```
//!
//! Rules are pure functions over one source or one table; only this file reads disk or runs
//! cargo. Each rule's tests show it a sample that it must refuse.

mod architecture;
mod edges;
mod functions;
mod layout;
mod readme;
mod source;
mod text;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use crate::generate;
use crate::step::{self, Failure, cargo, workspace_root};
use source::Source;

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the workspace's folder, or a package's name.
    pub place: String,
    /// The line, counted from 1; 0 when it is about the whole place.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl Finding {
    fn new(place: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.place, self.message),
            line => write!(formatter, "{}:{line}: {}", self.place, self.message),
        }
    }
}

pub(crate) const ABOUT: &str = "say what breaks a style rule, under PATH only if given";

/// Prints all findings whose place starts with the argument; stale files are `generate --check`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if arguments.len() > 1 {
        return Err(Failure::new(
            "tidy takes one path at most, from the workspace's folder",
        ));
    }
    let prefix = arguments
        .first()
        .map_or("", String::as_str)
        .trim_start_matches("./");
    let root = workspace_root();
    let all = [
        check_sources(&root)?,
        check_edges()?,
        check_commands(&root)?,
        check_architecture(&root)?,
    ];
    let findings: Vec<Finding> = all
        .into_iter()
        .flatten()
        .filter(|finding| finding.place.starts_with(prefix))
        .collect();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure::new(format!("{count} findings"))),
    }
}

/// Everything in the sources that breaks a rule, sorted by place.
///
/// # Errors
/// When a source cannot be read.
pub fn check_sources(root: &Path) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for source in read_sources(root)? {
        findings.extend(layout::check(&source));
        findings.extend(words::check(&source));
        findings.extend(functions::check(&source));
    }
    findings.sort();
    Ok(findings)
}

/// Every crate edge that the architecture forbids.
///
/// # Errors
/// When cargo fails.
pub fn check_edges() -> Result<Vec<Finding>, Failure> {
    let metadata = step::output(cargo(&["metadata", "--format-version", "1", "--no-deps"]))?;
    let packages = edges::parse_metadata(&metadata)?;
    let mut findings = edges::check_direct(&packages);
    for rule in edges::NEVER {
        if !packages.iter().any(|package| package.name == rule.package) {
            continue;
        }
        let mut command = cargo(&["tree", "--prefix", "none", "--format", "{p}", "--edges"]);
        command.args(["normal", "--all-features", "--package", rule.package]);
        let tree = edges::parse_tree(&step::output(command)?);
        findings.extend(edges::check_never(rule, &tree));
    }
    let mut command = cargo(&["tree", "--workspace", "--prefix", "none", "--format", "{p}"]);
    command.args(["--edges", "normal,build,dev", "--all-features"]);
    let everything = edges::parse_tree(&step::output(command)?);
    findings.extend(edges::check_never(&edges::NOWHERE, &everything));
    findings.sort();
    Ok(findings)
}

/// Whether the README's two commands stand alone, and CI runs the second.
///
/// # Errors
/// When a file cannot be read.
pub fn check_commands(root: &Path) -> Result<Vec<Finding>, Failure> {
    let readme_text = read(&root.join("README.md"))?;
    let ci = read(&root.join(".ci/run"))?;
    Ok(readme::check(&readme_text, &ci))
}

/// Every file that the architecture's page names and that is not there.
///
/// # Errors
/// When the page cannot be read.
pub fn check_architecture(root: &Path) -> Result<Vec<Finding>, Failure> {
    let page = read(&root.join(architecture::PAGE))?;
    Ok(architecture::check(&page, |path| root.join(path).exists()))
}

/// Every committed file that its generator would write differently.
///
/// # Errors
/// When a generator fails.
pub fn check_generated() -> Result<Vec<Finding>, Failure> {
    let message = "differs from what its generator prints; run `cargo xtask generate`";
    let stale = generate::stale_after_tests()?;
    Ok(stale
        .into_iter()
        .map(|path| Finding::new(path, 0, message))
        .collect())
}

/// All Rust sources under `root`, each marked as test code if a `#[cfg(test)]` declares it.
fn read_sources(root: &Path) -> Result<Vec<Source>, Failure> {
    let mut paths = Vec::new();
    walk(root, root, &mut paths)?;
    let mut sources = Vec::new();
    for path in paths {
        let text = read(&root.join(&path))?;
        sources.push(Source::parse(&path, text));
    }
    let test_modules: BTreeSet<String> = sources
        .iter()
        .flat_map(Source::declared_test_modules)
        .collect();
    for source in &mut sources {
        source.mark_if_in(&test_modules);
    }
    Ok(sources)
}

/// Collects `.rs` files, paths from `root`; build output and hidden folders are left out.
fn walk(root: &Path, folder: &Path, paths: &mut Vec<String>) -> Result<(), Failure> {
    let cannot = |e| Failure::new(format!("cannot list {}: {e}", folder.display()));
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_folder = entry.file_type().map_err(cannot)?.is_dir();
        if is_folder && name != "target" && name != "node_modules" && !name.starts_with('.') {
            walk(root, &path, paths)?;
        } else if !is_folder && name.ends_with(".rs") {
            let relative = path.strip_prefix(root).expect("walk stays under its root");
            paths.push(relative.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|e| Failure::new(format!("cannot read {}: {e}", path.display())))
}
