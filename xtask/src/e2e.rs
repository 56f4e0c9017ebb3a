//! `cargo xtask e2e`: the operator's tests on the real cluster.

use tidegate_testkit::cluster::Life;

use crate::step::{self, Failure, cargo};
use crate::{cluster, operator};

pub(crate) const ABOUT: &str = "the operator's tests on a real cluster; only NAMEs if given";

/// At once: each job under test takes a part of a core.
pub(crate) const THREADS: &str = "--test-threads=4";
/// The test programs, in their order: the second one looks at what the first one needed, the third
/// has an API server of its own.
pub(crate) const TESTS: [&str; 3] = ["e2e", "rights", "fault"];

/// The arguments that have cargo build them.
pub(crate) fn targets() -> impl Iterator<Item = &'static str> {
    TESTS.into_iter().flat_map(|test| ["--test", test])
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    // One that runs already is used and stays; one of our own ends with us.
    let _cluster = cluster::started(0, Life::Mine)?;
    operator::install("dev")?;
    for test in TESTS {
        // What all of them together needed is known only after all of them.
        if test == TESTS[0] || arguments.is_empty() {
            let mut command = cargo(&["test", "--package", "tidegate-controller", "--test", test]);
            command.args(["--", THREADS]).args(arguments);
            step::run(test, command, "its own message says why")?;
        }
    }
    Ok(())
}
