//! A job process: everything set up, run to the job's end, and taken down again.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use tidegate_api::job_config::JobConfig;
use tidegate_engine::JobGraph;
use tidegate_protocol::{
    CoordinatorConfig, JobOutcome, OperatorKind, OperatorPlan, Parallelism, RestartPolicy,
};
use tokio::runtime::{Builder, Runtime};

use crate::clock::system_ms;
use crate::command::Commands;
use crate::error::{Exit, StartError};
use crate::http::{self, Api, Serving};
use crate::job_event::JobEvent;
use crate::life::Life;
use crate::logging;
use crate::model::{
    GraphView, JobView, OperatorView, Phase, PhaseView, ProgressView, ResultView, SettingsView,
};
use crate::output::{Output, Screen};
use crate::parent;
use crate::signals::Interrupts;
use crate::start::Prepared;
use crate::status::JobStatus;
use crate::supervised::SupervisorLink;

/// Threads that wait for stores, sockets and clocks; records are processed on threads of their own.
const IO_THREADS: usize = 2;
/// Threads for blocking calls, such as writes to local files; started when needed.
const BLOCKING_THREADS_MAX: usize = 64;
/// How long answers of the job API that are on their way may take once the job is over.
const HTTP_LINGER: Duration = Duration::from_secs(1);

/// Runs a job until it is over, printing what happens. Signals stop it.
///
/// For programs that bring their own configuration; most call [`crate::run`]. Without a listen
/// address no job API is served. The number of key groups is the graph's.
///
/// # Errors
/// The job could not start, and nothing was changed; or it is over as it should be, but its events
/// could not all be written to standard output.
pub fn run_job(config: &JobConfig, graph: JobGraph) -> Result<JobOutcome, StartError> {
    if let Some(starter) = config.parent_process_id {
        parent::watch(starter).map_err(system("the watch over the starter"))?;
    }
    let is_redrawn = config.output.is_terminal && !prints_beside(&graph);
    let screen = Screen::stderr(is_redrawn);
    let runtime = io_runtime()?;
    let ended = runtime.block_on(run(config, Arc::new(graph), screen));
    let result = ended.and_then(|(outcome, output)| match output.finish() {
        // In a pod nobody but Kubernetes reads it, and a job that is over is not to start again.
        Some(failure) if Exit::of_outcome(&outcome) == Exit::Done && !config.linger => {
            Err(StartError::Output(failure))
        }
        _ => Ok(outcome),
    });
    runtime.shutdown_timeout(HTTP_LINGER);
    result
}

/// Whether a sink may print on the terminal on which progress is shown: then no line there can be
/// redrawn. A sink that keeps its result somewhere else says where.
fn prints_beside(graph: &JobGraph) -> bool {
    let is_sink = |operator: &&OperatorPlan| operator.kind == OperatorKind::Sink;
    let sink_count = graph.plan().operators().filter(is_sink).count();
    io::stdout().is_terminal() && sink_count > graph.sink_locations().len()
}

fn io_runtime() -> Result<Runtime, StartError> {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(IO_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX);
    builder.thread_name("tidegate-io").enable_all();
    builder.build().map_err(system("the I/O threads"))
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

async fn run(
    config: &JobConfig,
    graph: Arc<JobGraph>,
    screen: Arc<Screen>,
) -> Result<(JobOutcome, Output), StartError> {
    let interrupts = Interrupts::catch().map_err(system("the handling of signals"))?;
    let supervisor = SupervisorLink::take().map_err(system("the talk with the supervisor"))?;
    let view = job_view(config, &graph, &supervisor);
    let log_levels = logging::start(view.settings.log_level, Arc::clone(&screen));
    let status = Arc::new(JobStatus::new(view, graph_view(&graph)));
    let output = Output::start(config, Arc::clone(&screen), status.subscribe());
    let output = output.map_err(system("the thread that prints"))?;

    let (sender, commands) = Commands::channel();
    let api = Api::new(Arc::clone(&status), sender.clone(), log_levels, config);
    let serving = http::serve_all(config, api).await?;
    if config.linger {
        tell_start(config, &status, &serving);
    }
    let life = Life {
        config,
        graph: Arc::clone(&graph),
        status,
        sender,
        commands,
        interrupts,
        screen,
        start_generation: config.start_generation.or(supervisor.start_generation()),
        supervisor,
        parallelism: Parallelism::new(config.parallelism)?,
    };
    let outcome = life
        .run(|prepared, status| {
            if !config.linger {
                tell_start(config, status, &serving);
            }
            announce(config, &graph, prepared, status);
        })
        .await;
    for server in serving {
        server.finish(HTTP_LINGER).await;
    }
    Ok((outcome?, output))
}

pub(crate) fn coordinator_config(
    config: &JobConfig,
    settings: &SettingsView,
    prepared: &Prepared,
    parallelism: Parallelism,
) -> CoordinatorConfig {
    CoordinatorConfig {
        parallelism,
        checkpoint_interval_ms: settings.checkpoint_interval_ms,
        checkpoint_timeout_ms: config.checkpoint.timeout_ms,
        min_pause_ms: config.checkpoint.min_pause_ms,
        retained_checkpoints: settings.retained_checkpoints,
        restart: RestartPolicy {
            initial_backoff_ms: config.restart.initial_delay_ms,
            max_backoff_ms: config.restart.max_delay_ms,
            max_restarts: Some(config.restart.attempts),
            reset_after_ms: config.restart.reset_after_ms,
        },
        start_from: prepared.start_from.clone(),
        start_from_generation: config.start_from_generation,
        start_generation: prepared.start_generation,
        writer: writer(),
        // The hasher's keys are random and differ for every process.
        nonce_seed: RandomState::new().hash_one((process::id(), system_ms())),
    }
}

/// This process, for people who read the checkpoint log.
fn writer() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("process {} on {}", process::id(), host.trim())
}

/// Tells that the process is set up.
fn tell_start(config: &JobConfig, status: &JobStatus, serving: &[Serving]) {
    let event = JobEvent::Started {
        namespace: config.namespace.clone(),
        name: config.name.clone(),
        folder: status.view().folder,
        parallelism: config.parallelism,
        address: serving.first().map(|server| server.address.to_string()),
    };
    status.publish(system_ms(), event);
}

/// Tells what a user should know before anything runs.
fn announce(config: &JobConfig, graph: &JobGraph, prepared: &Prepared, status: &JobStatus) {
    let now_ms = system_ms();
    let known = status.view().warnings;
    for source in graph.unreplayable_sources() {
        let message = format!(
            "source `{source}` cannot be read again: after a failure, what it gave since the last \
             checkpoint is lost; after a planned stop or a rescale, what was on its way"
        );
        if !known.contains(&message) {
            status.publish(now_ms, JobEvent::Warning { message });
        }
    }
    if let Some(message) = prepared.finished_notice(config) {
        status.publish(now_ms, JobEvent::Notice { message });
    }
}

fn job_view(config: &JobConfig, graph: &JobGraph, supervisor: &SupervisorLink) -> JobView {
    let results = graph.sink_locations().into_iter();
    let started_ms = system_ms();
    JobView {
        namespace: config.namespace.clone(),
        name: config.name.clone(),
        folder: config.job_folder(),
        phase: PhaseView::new(Phase::Starting, 0),
        parallelism: config.parallelism,
        max_parallelism: graph.plan().max_parallelism.get(),
        phase_since_ms: started_ms,
        started_ms,
        start_generation: config.start_generation,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: SettingsView::new(config),
        last_exit: supervisor.last_exit().cloned(),
        process_restart_count: supervisor.restart_count(),
        last_failure: None,
        last_checkpoint: None,
        damaged_entries: Vec::new(),
        damaged_below: None,
        completed_checkpoint_count: 0,
        failed_checkpoint_count: 0,
        failing_checkpoint_count: 0,
        last_failed_checkpoint: None,
        progress: ProgressView::default(),
        results: results
            .map(|(sink, location)| ResultView { sink, location })
            .collect(),
        warnings: Vec::new(),
    }
}

fn graph_view(graph: &JobGraph) -> GraphView {
    GraphView {
        operators: graph.describe().iter().map(OperatorView::new).collect(),
    }
}
