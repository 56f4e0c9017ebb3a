//! The `tidegate` command: runs a manifest's job on this machine, and looks at what jobs keep.
//!
//! ```text
//! args ─┬─ run, validate: yaml ─▶ manifest (overrides, fields) ─▶ ValidJob ─▶ program, launch
//!       └─ checkpoints, state: a job's folder ─▶ table or JSON
//! ```

mod args;
mod checkpoints;
mod failure;
mod fields;
mod folder;
#[cfg(test)]
#[path = "../tests/harness/golden.rs"]
mod golden;
mod launch;
mod manifest;
mod overrides;
mod path;
mod probe;
mod problem;
mod program;
mod run;
mod state;
mod table;
mod yaml;

use std::process::ExitCode;

use clap::Parser;

use args::{CheckpointsCommand, Cli, Command, StateCommand};
use failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let is_json = is_json(&cli.command);
    match run_command(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(is_json),
    }
}

/// Tells what is wrong with the command line, or the help that it asks for.
fn refuse(error: &clap::Error) -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let mut options = arguments.take_while(|argument| argument != "--");
    let is_json = options.any(|argument| argument == "--json");
    if !is_json || !error.use_stderr() {
        error.exit();
    }
    let text = error.render().to_string();
    let text = text.trim_end();
    Failure::invalid(text.strip_prefix("error: ").unwrap_or(text)).report(is_json)
}

fn run_command(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Run(args) => run::run(*args),
        Command::Validate(args) => run::validate(&args),
        Command::Checkpoints(command) => wait(checkpoints::run(command)),
        Command::State(command) => wait(state::run(command)),
        Command::Probe(args) => probe::run(&args),
    }
}

fn wait(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::failed(format!(
            "the operating system gives no event queue: {error}"
        ))
    })?;
    runtime.block_on(work)
}

fn is_json(command: &Command) -> bool {
    match command {
        Command::Run(args) => args.json,
        Command::Validate(args) => args.json,
        Command::Checkpoints(
            CheckpointsCommand::List(folder)
            | CheckpointsCommand::Show { folder, .. }
            | CheckpointsCommand::Verify { folder, .. }
            | CheckpointsCommand::Release { folder, .. }
            | CheckpointsCommand::Purge(folder),
        ) => folder.json,
        Command::State(StateCommand::Dump(args)) => args.folder.json,
        Command::Probe(_) => false,
    }
}
