//! `cargo xtask bench`: measures a release build on this machine.

use crate::step::{self, Failure, cargo};

pub(crate) const ABOUT: &str = "measure; one JSON object a line with --json; only NAMEs if given";

/// Passes everything on: the benchmarks know their names and flags.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut command = cargo(&[
        "run",
        "--quiet",
        "--release",
        "--package",
        "tidegate-bench",
        "--",
    ]);
    command.args(arguments);
    step::run("bench", command, "its own message says why")
}
