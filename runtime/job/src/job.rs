//! A job process: everything set up, run to the job's end, and taken down again.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use tidegate_api::job_config::JobConfig;
use tidegate_engine::{JobGraph, Worker, WorkerConfig};
use tidegate_protocol::{
    Coordinator, CoordinatorConfig, FromWorker, JobOutcome, Manifest, OperatorKind, OperatorPlan,
    Parallelism, RestartPolicy, StartFrom,
};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

use crate::clock::system_ms;
use crate::command::Commands;
use crate::driver::{Driver, Inputs};
use crate::error::StartError;
use crate::http::{self, Api};
use crate::job_event::JobEvent;
use crate::logging;
use crate::model::{GraphView, JobView, OperatorView, Phase, PhaseView, ProgressView, ResultView};
use crate::output::{Output, Screen};
use crate::parent;
use crate::signals::{Signals, exit_at_once};
use crate::start::{Prepared, prepare};
use crate::status::JobStatus;

/// Threads that wait for stores, sockets and clocks; records are processed on threads of their own.
const IO_THREADS: usize = 2;
/// Threads for blocking calls, such as writes to local files; started when needed.
const BLOCKING_THREADS_MAX: usize = 64;
/// How long answers of the job API that are on their way may take once the job is over.
const HTTP_LINGER: Duration = Duration::from_secs(1);
/// How long user code may take to give its threads back.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// Runs a job until it is over, printing what happens. Signals stop it.
///
/// For programs that bring their own configuration; most call [`crate::run`]. Without a listen
/// address no job API is served. The number of key groups is the graph's.
///
/// # Errors
/// The job could not start; nothing was changed.
pub fn run_job(config: &JobConfig, graph: JobGraph) -> Result<JobOutcome, StartError> {
    if let Some(starter) = config.parent_process_id {
        parent::watch(starter).map_err(system("the watch over the starter"))?;
    }
    let is_redrawn = config.output.is_terminal && !prints_beside(&graph);
    let screen = Screen::stderr(is_redrawn);
    logging::start(config.log_level, Arc::clone(&screen));
    let runtime = io_runtime()?;
    let ended = runtime.block_on(run(config, Arc::new(graph), screen));
    let result = ended.map(|(outcome, worker, output)| {
        let ended = runtime
            .block_on(async { tokio::time::timeout(SHUTDOWN_LIMIT, worker.shutdown()).await });
        if ended.is_err() {
            tracing::warn!("user code does not let go of its thread; the process ends without it");
        }
        output.finish();
        outcome
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
) -> Result<(JobOutcome, Worker, Output), StartError> {
    let mut signals = Signals::catch().map_err(system("the handling of signals"))?;
    let prepared = tokio::select! {
        prepared = prepare(config) => prepared?,
        () = signals.next() => exit_at_once(&screen),
    };
    let listener = match &config.listen_address {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let status = Arc::new(JobStatus::new(
        job_view(config, &graph, &prepared),
        graph_view(&graph),
    ));
    let output = Output::start(&config.output, Arc::clone(&screen), status.subscribe());
    let output = output.map_err(system("the thread that prints"))?;
    announce(config, &graph, &prepared, listener.as_ref(), &status);

    let (commands, command_receiver) = Commands::channel();
    let serving = listener.map(|listener| {
        let api = Api::new(Arc::clone(&status), commands.clone(), config);
        http::serve(listener, api)
    });
    let stopping = tokio::spawn(signals.stop_job(commands, screen));

    let (worker_sender, worker_receiver) = mpsc::unbounded_channel();
    let worker = start_worker(&graph, &prepared, worker_sender)?;
    let coordinator = Coordinator::new(
        coordinator_config(config, prepared.start_from)?,
        graph.plan(),
    );
    let folder = prepared.folder;
    let slot_count = graph.plan().max_parallelism.get();
    let driver = Driver::new(coordinator, worker, slot_count, folder, status);
    let inputs = Inputs {
        worker: worker_receiver,
        commands: command_receiver,
    };
    let (outcome, worker) = driver.run(inputs).await;
    stopping.abort();
    if let Some(serving) = serving {
        serving.finish(HTTP_LINGER).await;
    }
    Ok((outcome, worker, output))
}

async fn listen(address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            address: address.to_owned(),
            source,
        })
}

fn start_worker(
    graph: &Arc<JobGraph>,
    prepared: &Prepared,
    events: mpsc::UnboundedSender<FromWorker>,
) -> Result<Worker, StartError> {
    let worker_config = WorkerConfig {
        // As many as a rescale may ask for; threads are started as they are needed.
        slot_count: graph.plan().max_parallelism.get(),
        io: Handle::current(),
        folder: Some(Arc::clone(&prepared.folder)),
    };
    let worker = Worker::start(Arc::clone(graph), worker_config, events);
    worker.map_err(system("the compute threads"))
}

fn coordinator_config(
    config: &JobConfig,
    start_from: StartFrom,
) -> Result<CoordinatorConfig, StartError> {
    Ok(CoordinatorConfig {
        parallelism: Parallelism::new(config.parallelism)?,
        checkpoint_interval_ms: config.checkpoint.interval_ms,
        checkpoint_timeout_ms: config.checkpoint.timeout_ms,
        min_pause_ms: config.checkpoint.min_pause_ms,
        retained_checkpoints: config.checkpoint.retained_count,
        restart: RestartPolicy {
            initial_backoff_ms: config.restart.initial_delay_ms,
            max_backoff_ms: config.restart.max_delay_ms,
            max_restarts: Some(config.restart.attempts),
            reset_after_ms: config.restart.reset_after_ms,
        },
        start_from,
        // Whoever starts the job by hand means it each time.
        start_generation: u64::try_from(system_ms()).unwrap_or(0),
        writer: writer(),
        // The hasher's keys are random and differ for every process.
        nonce_seed: RandomState::new().hash_one((process::id(), system_ms())),
    })
}

/// This process, for people who read the checkpoint log.
fn writer() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("process {} on {}", process::id(), host.trim())
}

/// Tells what a user should know before anything runs.
fn announce(
    config: &JobConfig,
    graph: &JobGraph,
    prepared: &Prepared,
    listener: Option<&TcpListener>,
    status: &JobStatus,
) {
    let now_ms = system_ms();
    let address = listener.and_then(|listener| listener.local_addr().ok());
    status.publish(
        now_ms,
        JobEvent::Started {
            namespace: config.namespace.clone(),
            name: config.name.clone(),
            folder: prepared.folder.url().to_string(),
            parallelism: config.parallelism,
            address: address.map(|address| address.to_string()),
        },
    );
    for source in graph.unreplayable_sources() {
        let message = format!(
            "source `{source}` cannot be read again: after a failure, what it gave since the last \
             checkpoint is lost"
        );
        status.publish(now_ms, JobEvent::Warning { message });
    }
    if let Some(manifest) = &prepared.finished {
        let message = finished_before(manifest);
        status.publish(now_ms, JobEvent::Notice { message });
    }
}

fn finished_before(manifest: &Manifest) -> String {
    format!(
        "this job has finished before, with checkpoint {}: all of its input is read; to run it \
         afresh, start it from Empty (`--start-from Empty`), with another place for its results",
        manifest.checkpoint
    )
}

fn job_view(config: &JobConfig, graph: &JobGraph, prepared: &Prepared) -> JobView {
    let results = graph.sink_locations().into_iter();
    JobView {
        namespace: config.namespace.clone(),
        name: config.name.clone(),
        folder: prepared.folder.url().to_string(),
        phase: PhaseView::new(Phase::Starting, 0),
        parallelism: config.parallelism,
        max_parallelism: graph.plan().max_parallelism.get(),
        started_ms: system_ms(),
        last_failure: None,
        last_checkpoint: None,
        completed_checkpoint_count: 0,
        failed_checkpoint_count: 0,
        failing_checkpoint_count: 0,
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
