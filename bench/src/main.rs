//! The benchmark: `cargo xtask bench [--json] [NAME…]`.
//!
//! Every case runs in a process of its own, through the job process that users run. The machine's
//! own limits are measured in the same run, since only ratios mean something on a shared machine.

mod bare_hash;
mod case;
mod job;
mod keyed_count;
mod machine;
mod process;
mod table;
mod text;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use case::{CASES, Case, Measured};

/// The first argument of the process that runs one case.
const CHILD: &str = "run-case";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint_line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr)]
fn eprint_line(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout)]
fn print_line(text: &str) {
    println!("{text}");
}

fn run() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == CHILD) {
        let name = arguments.get(1).context("no case was named")?;
        let value = (find(name)?.measure)()?;
        print_line(&format!("{value}"));
        return Ok(());
    }
    let is_json = arguments.iter().any(|argument| argument == "--json");
    arguments.retain(|argument| argument != "--json");
    if let Some(option) = arguments.iter().find(|argument| argument.starts_with('-')) {
        bail!("unknown option `{option}`; use `cargo xtask bench [--json] [NAME…]`");
    }
    let cases = match arguments.as_slice() {
        [] => CASES.iter().collect(),
        names => names
            .iter()
            .map(|name| find(name))
            .collect::<Result<Vec<_>>>()?,
    };
    let mut all = Vec::new();
    for case in cases {
        if !is_json {
            eprint_line(&format!("{} …", case.name));
        }
        let measured = Measured {
            case,
            value: process::measure(case.name)?,
        };
        if is_json {
            print_line(&measured.json());
        }
        all.push(measured);
    }
    if !is_json {
        print_line(&table::render(&all));
    }
    Ok(())
}

fn find(name: &str) -> Result<&'static Case> {
    let names = || {
        CASES
            .iter()
            .map(|case| case.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = CASES.iter().find(|case| case.name == name);
    found.with_context(|| format!("there is no case `{name}`; there are {}", names()))
}
