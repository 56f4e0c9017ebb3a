//! The `tidegate` command: runs a manifest's job on this machine, and looks at what jobs keep.
//!
//! ```text
//! args ─┬─ run, validate: yaml ─▶ manifest (overrides, fields) ─▶ ValidJob ─▶ program, launch
//!       └─ checkpoints, state: a job's folder ─▶ table or JSON
//! ```

mod args;
mod failure;
mod fields;
mod launch;
mod manifest;
mod overrides;
mod path;
mod problem;
mod program;
mod run;
mod yaml;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (result, is_json) = match cli.command {
        Command::Run(args) => {
            let is_json = args.json;
            (run::run(*args), is_json)
        }
        Command::Validate(args) => (run::validate(&args), args.json),
        Command::Checkpoints(_) | Command::State(_) => (Ok(1), false),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(is_json),
    }
}
