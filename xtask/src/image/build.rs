//! The workspace's programs: which there are, and building them.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{cannot, read};
use crate::step::{self, Failure, cargo, workspace_root};

/// How programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// Optimised; what users get.
    Release,
    /// Quickly built.
    Dev,
    /// Those that `cargo xtask test` has built already.
    Tests,
}

impl Profile {
    pub(super) fn parse(name: &str) -> Result<Self, Failure> {
        let all = [Self::Release, Self::Dev, Self::Tests];
        let found = all.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| {
            Failure::new(format!(
                "no profile `{name}`; there are release, dev and tests"
            ))
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
            Self::Tests => "tests",
        }
    }
}

/// A package of the workspace with programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) folder: PathBuf,
    /// Sorted.
    pub(super) programs: Vec<String>,
    pub(super) is_example: bool,
}

/// The workspace as cargo tells it.
#[derive(Debug)]
pub(super) struct Workspace {
    /// What `cargo metadata` says, dependencies included.
    pub(super) metadata: Value,
    pub(super) version: String,
    /// Those with programs, by name.
    pub(super) packages: Vec<Package>,
}

impl Workspace {
    pub(super) fn read() -> Result<Self, Failure> {
        let text = step::output(cargo(&["metadata", "--format-version", "1"]))?;
        let metadata: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("cargo metadata is no JSON: {error}")))?;
        let members = |package: &&Value| package["source"].is_null();
        let all = metadata["packages"].as_array().into_iter().flatten();
        let mut packages: Vec<_> = all.filter(members).filter_map(package).collect();
        packages.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self {
            packages,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            metadata,
        })
    }

    pub(super) fn package(&self, name: &str) -> Option<Package> {
        self.packages.iter().find(|it| it.name == name).cloned()
    }
}

fn package(package: &Value) -> Option<Package> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let folder = PathBuf::from(package["manifest_path"].as_str()?);
    let folder = folder.parent()?.to_owned();
    let is_program = |target: &&Value| target["kind"] == serde_json::json!(["bin"]);
    let targets = package["targets"].as_array()?.iter().filter(is_program);
    let mut programs: Vec<_> = targets.filter_map(|it| text(&it["name"])).collect();
    programs.sort();
    if programs.is_empty() {
        return None;
    }
    Some(Package {
        name: text(&package["name"])?,
        about: text(&package["description"]).unwrap_or_default(),
        is_example: folder.starts_with(workspace_root().join("examples")),
        folder,
        programs,
    })
}

/// A program that was built.
#[derive(Debug)]
pub(super) struct Program {
    package: String,
    name: String,
    pub(super) path: PathBuf,
}

impl Program {
    #[cfg(test)]
    pub(super) fn new(package: &str, name: &str, path: PathBuf) -> Self {
        Self {
            package: package.to_owned(),
            name: name.to_owned(),
            path,
        }
    }

    /// Its bytes without symbols and debugging information.
    pub(super) fn stripped(&self) -> Result<Vec<u8>, Failure> {
        let target = workspace_root().join("target/images");
        std::fs::create_dir_all(&target).map_err(|e| cannot("create", &target, &e))?;
        let random = RandomState::new().hash_one(&self.name);
        let copy = target.join(format!(".{}-{random:016x}", self.name));
        let mut strip = Command::new("strip");
        strip
            .arg("--strip-all")
            .arg("-o")
            .arg(&copy)
            .arg(&self.path);
        step::output(strip)?;
        let content = read(&copy);
        // Nothing depends on whether a copy is left.
        let _ = std::fs::remove_file(&copy);
        content
    }
}

/// Programs that were built.
#[derive(Debug)]
pub(super) struct Programs(Vec<Program>);

impl Programs {
    #[cfg(test)]
    pub(super) const fn new(programs: Vec<Program>) -> Self {
        Self(programs)
    }

    pub(super) fn find(&self, package: &str, name: &str) -> Result<&Program, Failure> {
        let is_it = |program: &&Program| program.package == package && program.name == name;
        self.0.iter().find(is_it).ok_or_else(|| {
            Failure::new(format!("cargo has not built program `{name}` of {package}"))
        })
    }
}

/// Builds the programs of these packages.
pub(super) fn build(profile: Profile, packages: &[&Package]) -> Result<Programs, Failure> {
    let mut command = match profile {
        Profile::Release => cargo(&["build", "--release", "--locked", "--bins"]),
        Profile::Dev => cargo(&["build", "--bins"]),
        // As `generate` does: another choice would build the tree again with other features.
        Profile::Tests => cargo(&[
            "test",
            "--no-run",
            "--quiet",
            "--workspace",
            "--all-features",
        ]),
    };
    if profile != Profile::Tests {
        for package in packages {
            command.args(["--package", &package.name]);
        }
    }
    command.args(["--message-format", "json-render-diagnostics"]);
    command.stderr(Stdio::inherit());
    let output = command
        .output()
        .map_err(|e| step::cannot_start(&command, &e))?;
    if !output.status.success() {
        let problem = "the programs cannot be built; cargo's messages say why";
        return Err(Failure::new(problem));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(program).collect();
    Ok(Programs(built))
}

/// The program that one of cargo's messages tells of.
fn program(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let is_program = target["kind"] == serde_json::json!(["bin"]);
    let is_test = message["profile"]["test"] == true;
    if !is_program || is_test {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    Some(Program {
        package: package_name(message["package_id"].as_str()?, manifest),
        name: target["name"].as_str()?.to_owned(),
        path: message["executable"].as_str()?.into(),
    })
}

/// The name in an id as `path+file:///work/runtime/cli#tidegate-cli@0.1.0`, or `…/word-count#0.1.0`
/// where the folder has the package's name.
fn package_name(id: &str, manifest: &Path) -> String {
    let fragment = id.rsplit('#').next().unwrap_or_default();
    match fragment.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => {
            let folder = manifest.parent().and_then(Path::file_name);
            folder
                .map(|it| it.to_string_lossy().into_owned())
                .unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_cargos_message_whatever_its_package_id_looks_like() {
        for (id, name) in [
            (
                "path+file:///w/runtime/cli#tidegate-cli@0.1.0",
                "tidegate-cli",
            ),
            ("path+file:///w/examples/word-count#0.1.0", "word-count"),
        ] {
            let message = serde_json::json!({
                "package_id": id,
                "manifest_path": "/w/examples/word-count/Cargo.toml",
                "target": {"kind": ["bin"], "name": "it"},
                "profile": {"test": false},
                "executable": "/w/target/debug/it",
            });
            let found = program(&message.to_string()).unwrap();
            assert_eq!(found.package, name);
            assert_eq!(found.path, Path::new("/w/target/debug/it"));
        }
    }

    #[test]
    fn an_unknown_profile_is_named_together_with_the_known_ones() {
        let failure = Profile::parse("debug").unwrap_err().to_string();
        assert!(
            failure.contains("`debug`") && failure.contains("dev"),
            "{failure}"
        );
    }
}
