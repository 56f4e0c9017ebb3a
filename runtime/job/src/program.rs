//! A whole program: its options, its pipeline, and its exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use tidegate_engine::{BoxError, Pipeline, describe};
use tidegate_protocol::MaxParallelism;

use crate::arguments::{Arguments, Declared};
use crate::error::{Exit, StartError};
use crate::job::run_job;
use crate::settings::{self, Settings};
use crate::supervised::die_with_supervisor;
use crate::supervisor;

/// Runs a program without options of its own: what its `main` calls.
///
/// ```no_run
/// use std::process::ExitCode;
/// use tidegate::prelude::*;
/// use tidegate::SourceOutput;
///
/// fn main() -> ExitCode {
///     tidegate::run(|pipeline, _| {
///         let numbers = Generator::new(|index, out: &mut SourceOutput<u64>| out.push(index));
///         pipeline.source("numbers", numbers.with_count(10)).sink("out", Print::new());
///         Ok(())
///     })
/// }
/// ```
pub fn run<F>(build: F) -> ExitCode
where
    F: FnOnce(&mut Pipeline, &Arguments) -> Result<(), BoxError>,
{
    Program::new("").run(build)
}

/// Runs `main`, or, where the environment asks for it by `TIDEGATE_SUPERVISE=1` as in a pod, starts
/// this program once more as a child that does so, and again whenever it dies. Gives the exit code.
///
/// [`run`] and [`Program::run`] do so by themselves; programs that call [`run_job`] wrap all that
/// they do in it.
pub fn supervised(main: impl FnOnce() -> u8) -> u8 {
    if supervisor::is_asked_for() {
        return supervisor::supervise();
    }
    if let Err(error) = die_with_supervisor() {
        tell(&error.to_string());
        return Exit::Interrupted as u8;
    }
    main()
}

fn tell(error: &str) {
    // There is nobody to tell that standard error is gone.
    let _ = writeln!(io::stderr(), "error: {error}");
}

/// A program with options of its own, which `--help` lists together with those of every job.
#[derive(Debug, Default)]
pub struct Program {
    about: String,
    declared: Vec<Declared>,
}

impl Program {
    /// A program; `about` is the first line of its help.
    pub fn new(about: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            declared: Vec::new(),
        }
    }

    /// Declares `--name VALUE`, which may be left out.
    #[must_use]
    pub fn option(self, name: &str, value_name: &str, help: &str) -> Self {
        self.declare(name, Some(value_name), None, help)
    }

    /// Declares `--name VALUE` with a value for when it is left out.
    #[must_use]
    pub fn option_with_default(
        self,
        name: &str,
        value_name: &str,
        default: &str,
        help: &str,
    ) -> Self {
        self.declare(name, Some(value_name), Some(default), help)
    }

    /// Declares `--name` without a value.
    #[must_use]
    pub fn flag(self, name: &str, help: &str) -> Self {
        self.declare(name, None, None, help)
    }

    fn declare(
        mut self,
        name: &str,
        value_name: Option<&str>,
        default: Option<&str>,
        help: &str,
    ) -> Self {
        self.declared.push(Declared {
            name: name.to_owned(),
            value_name: value_name.map(str::to_owned),
            default: default.map(str::to_owned),
            help: help.to_owned(),
        });
        self
    }

    /// Builds the pipeline and runs it until it ends or is stopped. What happens meanwhile is
    /// printed; the exit code is one of [`Exit`].
    ///
    /// With `TIDEGATE_SUPERVISE=1` in the environment, as in a pod, this process starts the program
    /// once more as a child that does so, and starts it again whenever it dies.
    pub fn run<F>(self, build: F) -> ExitCode
    where
        F: FnOnce(&mut Pipeline, &Arguments) -> Result<(), BoxError>,
    {
        let run = || {
            let exit = self.try_run(build).unwrap_or_else(|error| {
                tell(&describe(&error));
                Exit::of_error(&error)
            });
            exit as u8
        };
        supervised(run).into()
    }

    fn try_run<F>(self, build: F) -> Result<Exit, StartError>
    where
        F: FnOnce(&mut Pipeline, &Arguments) -> Result<(), BoxError>,
    {
        let (arguments, config) = match settings::read(&self.about, &self.declared)? {
            Settings::Help(text) => {
                let _ = io::stdout().write_all(text.as_bytes());
                return Ok(Exit::Done);
            }
            Settings::Run { arguments, config } => (arguments, config),
        };
        let mut pipeline = Pipeline::new();
        pipeline.set_max_parallelism(MaxParallelism::new(config.max_parallelism)?);
        build(&mut pipeline, &arguments).map_err(StartError::Build)?;
        let graph = pipeline
            .build()
            .map_err(|error| StartError::Graph(error.into()))?;
        let outcome = run_job(&config, graph)?;
        Ok(Exit::of_outcome(&outcome))
    }
}
