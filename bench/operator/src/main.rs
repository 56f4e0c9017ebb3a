//! `cargo xtask bench operator [--json]`: the operator on the test cluster, seen from outside.
//!
//! ```text
//!   apply, delete, kill ──► cluster ──► the job's own metrics   (time to the first record)
//!   20 busy jobs        ──► cluster ──► the API server's audit log   (writes a minute)
//! ```
//! The figures hold for a release build of everything and a machine that does nothing else.

mod controller;
mod figure;
mod job;
mod space;
mod wait;

use std::process::ExitCode;

use anyhow::{Result, bail};

use figure::{FIGURES, Figure};
use space::Space;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr)]
fn print_error(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout)]
fn print_line(text: &str) {
    println!("{text}");
}

fn run() -> Result<()> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let is_json = names.iter().any(|name| name == "--json");
    names.retain(|name| name != "--json");
    for name in &names {
        if !FIGURES.iter().any(|figure| figure.name == name) {
            let known: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
            bail!(
                "there is no figure `{name}`; there are {}",
                known.join(", ")
            );
        }
    }
    let is_chosen =
        |figure: &&Figure| names.is_empty() || names.iter().any(|name| name == figure.name);
    for figure in FIGURES.iter().filter(is_chosen) {
        if !is_json {
            print_error(&format!("{} …", figure.name));
        }
        let space = Space::new(figure.name)?;
        let value = (figure.measure)(&space)?;
        print_line(&figure.show(value, is_json));
    }
    Ok(())
}
