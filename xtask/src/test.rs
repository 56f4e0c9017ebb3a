//! `cargo xtask test`: everything that CI runs, and a summary.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::step::{self, Failure, cannot_start, cargo};
use crate::{cluster, e2e, fmt, lint, operator, servers};

/// All tests; failing ones do not stop the others.
const TESTS: [&str; 4] = ["test", "--workspace", "--all-features", "--no-fail-fast"];

/// Where proptest takes the seed of its cases from. With one, a property has the same cases in
/// each run, so that no change fails for a case that it has nothing to do with.
const SEED_VARIABLE: &str = "PROPTEST_RNG_SEED";
const SEED: &str = "1";

pub(crate) const ABOUT: &str = "everything that CI runs: format, lints, drift, all tests";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step::flags(arguments, &[])?;
    let start = Instant::now();
    fmt::run(&["--check".to_string()])?;
    lint::run(&[])?;
    servers::run(&[])?;
    step::run(
        "building the tests",
        cargo(&[&TESTS[..], &["--no-run"]].concat()),
        "see above",
    )?;
    let mut on_cluster = cargo(&[&TESTS[..], &["--no-run"]].concat());
    on_cluster.args(e2e::targets());
    step::run("building those on the cluster", on_cluster, "see above")?;
    // Not before the compiler has left the machine. It goes when this process does.
    let cluster = cluster::started_for_tests()?;
    let mut tally = Tally::default();
    eprintln!("xtask: cargo test …");
    cargo_test(&TESTS, &mut tally)?;
    operator::install("tests")?;
    for test in e2e::TESTS {
        eprintln!("xtask: {test} …");
        let arguments = [&TESTS[..], &["--test", test, "--", e2e::THREADS]].concat();
        cargo_test(&arguments, &mut tally)?;
    }
    drop(cluster);
    println!("\ntested in {:.0} s", start.elapsed().as_secs_f64());
    for name in &tally.failed_names {
        println!("failed: {name}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.ignored
    );
    if tally.has_failed {
        return Err(Failure::new(
            "tests failed; run `cargo test -p PACKAGE NAME` for one of them",
        ));
    }
    // A run without tests must not look like a success.
    if tally.passed == 0 {
        return Err(Failure::new("no test ran"));
    }
    Ok(())
}

/// What `cargo test` printed, added up over all test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    failed_names: Vec<String>,
    has_failed: bool,
}

impl Tally {
    /// Takes one line of a test binary's output.
    fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |word: &str| {
                let mut parts = result.split([';', '.']).map(str::trim);
                let number = parts.find_map(|part| part.strip_suffix(word));
                number
                    .and_then(|number| number.trim().parse::<u64>().ok())
                    .unwrap_or(0)
            };
            self.passed += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
        } else if let Some(test) = line.strip_prefix("test ")
            && let Some(name) = test.strip_suffix(" ... FAILED")
        {
            self.failed_names.push(name.to_string());
        }
    }
}

/// Runs tests, shows their output as it comes, and adds them up.
fn cargo_test(arguments: &[&str], tally: &mut Tally) -> Result<(), Failure> {
    let mut command = cargo(arguments);
    let is_chosen = std::env::var_os(SEED_VARIABLE).is_some();
    seed(&mut command, is_chosen);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| cannot_start(&command, &e))?;
    let stdout = child.stdout.take().expect("stdout is piped");
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.map_err(|e| Failure::new(format!("cannot read cargo's output: {e}")))?;
        let line = String::from_utf8_lossy(&line);
        tally.read(&line);
        println!("{line}");
    }
    let status = child.wait().map_err(|e| cannot_start(&command, &e))?;
    tally.has_failed |= !status.success();
    Ok(())
}

/// Gives properties their seed, unless whoever runs the tests has chosen one.
fn seed(command: &mut Command, is_chosen: bool) {
    if !is_chosen {
        command.env(SEED_VARIABLE, SEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_have_the_same_cases_in_each_run_unless_a_seed_is_chosen() {
        let seed_of = |is_chosen| {
            let mut command = cargo(&TESTS);
            seed(&mut command, is_chosen);
            let mut given = command.get_envs();
            let given = given.find(|(name, _)| *name == SEED_VARIABLE);
            given.and_then(|(_, value)| value?.to_str()?.parse::<u64>().ok())
        };
        assert!(seed_of(false).is_some());
        assert_eq!(seed_of(true), None);
    }

    #[test]
    fn results_of_several_binaries_are_added_up() {
        let mut tally = Tally::default();
        let output = "running 3 tests\n\
            test a::b ... ok\n\
            test a::c ... FAILED\n\
            test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out\n\
            test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        output.lines().for_each(|line| tally.read(line));
        assert_eq!((tally.passed, tally.failed, tally.ignored), (5, 1, 1));
        assert_eq!(tally.failed_names, ["a::c"]);
    }
}
