//! `cargo xtask lint`: clippy over every target, then licences, bans and sources.

use std::process::Command;

use tidegate_testkit::Program;

use crate::step::{self, Failure, cargo, workspace_root};
use crate::{e2e, servers};

pub(crate) const ABOUT: &str = "clippy and cargo-deny; advisories only on demand (they are online)";

const CARGO_DENY: Program = Program::cargo("cargo-deny", "0.20.2", "");

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step::flags(arguments, &["--advisories"])?;
    clippy("clippy", &["--all-targets"])?;
    // Those that need a cluster are none of all targets, and ignored beside them.
    let tests: Vec<&str> = e2e::targets().collect();
    clippy("clippy of the cluster's tests", &tests)?;
    // The advisory database is another repository, which a build machine may not reach; without
    // this flag it is left out, and nothing here claims otherwise.
    let checks: &[&str] = if arguments.is_empty() {
        &["licenses", "bans", "sources"]
    } else {
        &["licenses", "bans", "sources", "advisories"]
    };
    let mut command = cargo_deny()?;
    command
        .current_dir(workspace_root())
        .args(["check", "--hide-inclusion-graph"])
        .args(checks);
    step::run("cargo-deny", command, "see deny.toml for what may come in")
}

fn clippy(name: &str, targets: &[&str]) -> Result<(), Failure> {
    let mut command = cargo(&["clippy", "--workspace", "--all-features", "--quiet"]);
    command.args(targets).args(["--", "-D", "warnings"]);
    step::run(name, command, "each warning above is an error")
}

/// The installed `cargo-deny` of the version that `deny.toml` is written for, else the cache's.
fn cargo_deny() -> Result<Command, Failure> {
    let mut version = Command::new("cargo-deny");
    version.arg("--version");
    let wanted = format!("{} {}", CARGO_DENY.name(), CARGO_DENY.version());
    if step::output(version).is_ok_and(|found| found.trim() == wanted) {
        return Ok(Command::new("cargo-deny"));
    }
    servers::install(CARGO_DENY).map(Command::new)
}
