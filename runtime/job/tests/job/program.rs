//! The job's process: counts numbers by their last digits, and can be told to fail.

use std::env;
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::Duration;

use tidegate::job_config::{JOB_CONFIG_ENV, JobConfig};
use tidegate::prelude::*;
use tidegate::{Exit, JobGraph};
use tidegate_protocol::MaxParallelism;

use crate::numbers::Numbers;
use crate::places::{self, Files};
use crate::written::Written;

/// The variable with [`Plan`], by which a test tells the process what to do.
pub(crate) const PLAN_ENV: &str = "TIDEGATE_TEST_PLAN";

/// What a process does besides counting.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Plan {
    pub(crate) output: PathBuf,
    pub(crate) count: u64,
    pub(crate) pause_us: u64,
    /// Reads no split to its end before this file is there, so that the job does not end.
    pub(crate) ends_with: Option<PathBuf>,
    /// Panics as soon as this file is there; removes it first.
    pub(crate) panics_with: Option<PathBuf>,
    /// Holds up the first number, and every barrier behind it, until the first file is there; makes
    /// the second one when it does.
    pub(crate) waits_for: Option<(PathBuf, PathBuf)>,
    /// Returns an error at this number, always.
    pub(crate) fail_at: Option<u64>,
    /// Returns an error as soon as this file is there; removes it first.
    pub(crate) fails_with: Option<PathBuf>,
    /// Panics before the job begins.
    pub(crate) dies: bool,
    /// The same unless the marker file is there; makes it first.
    pub(crate) dies_once: Option<PathBuf>,
    /// Keeps text instead of a number.
    pub(crate) keeps_text: bool,
    /// Prints onto a disk that is full.
    pub(crate) is_output_full: bool,
    /// Writes numbers to files instead of counting them.
    pub(crate) files: Option<Files>,
}

pub(crate) const KEY_COUNT: u64 = 100;

#[derive(Clone)]
struct Count(Plan);

impl KeyedProcess for Count {
    type Key = u64;
    type Input = u64;
    type Output = String;
    type State = ValueState<u64>;

    fn process(
        &mut self,
        number: u64,
        context: &mut KeyedContext<'_, u64, ValueState<u64>>,
        _: &mut Output<String>,
    ) -> Result<()> {
        if self.0.fail_at == Some(number) {
            return Err(format!("number {number} is not wanted").into());
        }
        if let Some(file) = &self.0.fails_with
            && std::fs::remove_file(file).is_ok()
        {
            return Err("told to fail".into());
        }
        if let Some((go_on, waits)) = self.0.waits_for.as_ref().filter(|(it, _)| !it.exists()) {
            std::fs::write(waits, "")?;
            while !go_on.exists() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        if let Some(file) = &self.0.panics_with
            && std::fs::remove_file(file).is_ok()
        {
            panic!("told to panic");
        }
        context.state.update(|count| *count += 1);
        context.set_end_of_input_timer();
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        context: &mut KeyedContext<'_, u64, ValueState<u64>>,
        output: &mut Output<String>,
    ) -> Result<()> {
        let line = format!("{} {}\n", context.key(), context.state.get_or_default());
        output.push(&line);
        Ok(())
    }
}

/// The same operator with another state.
#[derive(Clone)]
struct Remember;

impl KeyedProcess for Remember {
    type Key = u64;
    type Input = u64;
    type Output = String;
    type State = ValueState<String>;

    fn process(
        &mut self,
        number: u64,
        context: &mut KeyedContext<'_, u64, ValueState<String>>,
        _: &mut Output<String>,
    ) -> Result<()> {
        context.state.set(number.to_string());
        Ok(())
    }
}

fn graph(max_parallelism: u32, plan: Plan) -> JobGraph {
    let mut pipeline = Pipeline::new();
    pipeline.set_max_parallelism(MaxParallelism::new(max_parallelism).unwrap());
    let source = Numbers {
        count: plan.count,
        split_count: 7,
        pause: Duration::from_micros(plan.pause_us),
        ends_with: plan.ends_with.clone(),
    };
    if let Some(files) = &plan.files {
        return places::graph(pipeline, source, plan.output.clone(), files);
    }
    let sink = Written {
        folder: plan.output.clone(),
    };
    let keyed = pipeline
        .source("numbers", source)
        .key_by::<u64>(|number: u64| number % KEY_COUNT);
    if plan.keeps_text {
        keyed.process("count", Remember).sink("written", sink);
    } else {
        keyed.process("count", Count(plan)).sink("written", sink);
    }
    pipeline.build().unwrap()
}

/// No test, but the job's process itself, which tests start.
#[test]
#[ignore = "started by other tests"]
fn job_process() {
    let code = tidegate::supervised(|| {
        let config = std::fs::read_to_string(env::var(JOB_CONFIG_ENV).unwrap()).unwrap();
        let config = JobConfig::from_json(&config).unwrap();
        let plan: Plan = serde_json::from_str(&env::var(PLAN_ENV).unwrap()).unwrap();
        assert!(!plan.dies, "this program is told to die");
        if let Some(marker) = plan.dies_once.as_ref().filter(|marker| !marker.exists()) {
            std::fs::write(marker, "").unwrap();
            panic!("this program is told to die once");
        }
        if plan.is_output_full {
            let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
            rustix::stdio::dup2_stdout(full.unwrap()).unwrap();
        }
        let code = match tidegate::run_job(&config, graph(config.max_parallelism, plan)) {
            Ok(outcome) => Exit::of_outcome(&outcome),
            Err(error) => {
                eprintln!("error: {}", tidegate::describe(&error));
                Exit::of_error(&error)
            }
        };
        code as u8
    });
    process::exit(i32::from(code));
}
