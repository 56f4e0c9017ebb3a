//! `cargo xtask bench`: measures a release build on this machine.

use tidegate_testkit::cluster::Life;

use crate::step::{self, Failure, cargo};
use crate::{cluster, operator};

pub(crate) const ABOUT: &str = "measure; one JSON object a line with --json; only NAMEs if given";

/// Passes everything on: the benchmarks know their names and flags.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (package, arguments) = match arguments.split_first() {
        Some((first, rest)) if first == "operator" => {
            cluster::started(0, Life::UntilDown)?;
            operator::install("release")?;
            ("tidegate-bench-operator", rest)
        }
        _ => ("tidegate-bench", arguments),
    };
    let mut command = cargo(&["run", "--quiet", "--release", "--package", package, "--"]);
    command.args(arguments);
    step::run("bench", command, "its own message says why")
}
