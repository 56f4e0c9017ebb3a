//! A job process as far as the controller sees it: its phases and its API.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tidegate_api::job_config::JobConfig;
use tidegate_api::pod::JOB_API_PORT;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::log::{Log, SharedLog};

/// How often ordinary checkpoints complete.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);

/// A running process; it is gone when dropped.
pub(crate) struct Process {
    _tasks: JoinSet<()>,
}

/// The PEM files of the Secret that its pod mounts.
pub(crate) struct Certificates {
    pub(crate) ca: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

struct Job {
    log: SharedLog,
    config: JobConfig,
    state: Mutex<Running>,
}

struct Running {
    phase: &'static str,
    attempt: u64,
    parallelism: u32,
    completed: u64,
    interval_ms: Option<u64>,
    retained: u32,
    log_level: Value,
}

impl Process {
    pub(crate) async fn start(
        ip: IpAddr,
        certificates: &Certificates,
        config: JobConfig,
        log: SharedLog,
    ) -> Self {
        let state = Running {
            phase: "Starting",
            attempt: 0,
            parallelism: config.parallelism,
            completed: 0,
            interval_ms: config.checkpoint.interval_ms,
            retained: config.checkpoint.retained_count,
            log_level: json!(config.log_level),
        };
        let job = Arc::new(Job {
            log,
            config,
            state: Mutex::new(state),
        });
        let listener = TcpListener::bind(SocketAddr::new(ip, JOB_API_PORT))
            .await
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(certificates)));
        let mut tasks = JoinSet::new();
        let router = router(Arc::clone(&job));
        tasks.spawn(async move {
            axum::serve(Listener { listener, acceptor }, router)
                .await
                .unwrap();
        });
        tasks.spawn(async move {
            job.begin();
            loop {
                tokio::time::sleep(CHECKPOINT_INTERVAL).await;
                job.checkpoint();
            }
        });
        Self { _tasks: tasks }
    }
}

fn server_config(files: &Certificates) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&files.ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let chain = vec![CertificateDer::from_pem_slice(&files.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&files.key).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap()
}

struct Listener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else {
                continue;
            };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Job {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.state.lock().unwrap()
    }

    fn generation(&self) -> u64 {
        self.config.start_generation.unwrap_or_default()
    }

    /// Goes as far as the job would by itself.
    fn begin(&self) {
        let generation = self.log.lock().generation;
        let mut state = self.lock();
        if generation > self.generation() {
            state.phase = "Fenced";
        } else if self.config.hold && generation < self.generation() {
            state.phase = "Holding";
        } else {
            self.run(&mut state);
        }
    }

    fn run(&self, state: &mut Running) {
        state.attempt = self.log.lock().begin(self.generation());
        state.phase = "Running";
    }

    fn checkpoint(&self) {
        let (mut state, mut log) = (self.lock(), self.log.lock());
        let is_on = state.interval_ms.is_some() && !log.is_frozen;
        if is_on && state.is_running(&log) {
            state.append(&mut log, None);
        }
    }

    fn view(&self) -> Value {
        let (mut state, mut log) = (self.lock(), self.log.lock());
        state.is_running(&log);
        log.look_count += 1;
        let newest = log.newest().map(|entry| (entry.id, entry.view()));
        let (id, newest) = newest.unzip();
        json!({
            "phase": state.phase, "reason": null, "category": null,
            "attempt": (state.attempt > 0).then_some(state.attempt), "restoredCheckpoint": id,
            "restartCount": 0, "parallelism": state.parallelism, "startedMs": 1,
            "startGeneration": self.config.start_generation,
            "settings": settings(&state), "lastCheckpoint": newest,
            "completedCheckpointCount": state.completed, "failingCheckpointCount": 0,
        })
    }
}

impl Running {
    /// Whoever was fenced notices when it appends.
    fn is_running(&mut self, log: &Log) -> bool {
        if self.phase == "Running" && log.attempt != self.attempt {
            self.phase = "Fenced";
        }
        self.phase == "Running"
    }

    fn append(&mut self, log: &mut Log, savepoint: Option<Option<String>>) -> u64 {
        self.completed += 1;
        let retained = usize::try_from(self.retained).unwrap();
        log.append(savepoint, self.parallelism, retained)
    }
}

fn settings(state: &Running) -> Value {
    json!({
        "checkpointIntervalMs": state.interval_ms, "retainedCheckpoints": state.retained,
        "logLevel": state.log_level,
    })
}

type Answer = Result<(StatusCode, Json<Value>), (StatusCode, Json<Value>)>;

fn problem(status: StatusCode, detail: &str) -> (StatusCode, Json<Value>) {
    (status, Json(json!({"detail": detail})))
}

fn router(job: Arc<Job>) -> Router {
    Router::new()
        .route(
            "/v1/job",
            get(|State(job): State<Arc<Job>>| async move { Json(job.view()) }),
        )
        .route("/v1/checkpoints", get(checkpoints))
        .route("/v1/checkpoints/{id}", delete(release))
        .route("/v1/start", post(start))
        .route("/v1/stop", post(stop))
        .route("/v1/rescale", post(rescale))
        .route("/v1/savepoints", post(savepoint))
        .route("/v1/settings", patch(change))
        .with_state(job)
}

async fn checkpoints(State(job): State<Arc<Job>>) -> Json<Value> {
    let log = job.log.lock();
    Json(
        log.entries
            .iter()
            .rev()
            .map(super::log::Entry::view)
            .collect(),
    )
}

async fn release(State(job): State<Arc<Job>>, Path(id): Path<u64>) -> Answer {
    let mut log = job.log.lock();
    let before = log.entries.len();
    log.entries.retain(|entry| entry.id != id);
    if log.entries.len() == before {
        return Err(problem(StatusCode::NOT_FOUND, "not retained"));
    }
    Ok((StatusCode::OK, Json(json!({}))))
}

async fn start(State(job): State<Arc<Job>>) -> Answer {
    let mut state = job.lock();
    match state.phase {
        "Holding" => job.run(&mut state),
        "Running" => {}
        _ => return Err(problem(StatusCode::CONFLICT, "it is not held")),
    }
    Ok((StatusCode::OK, Json(json!({"checkpoint": null}))))
}

async fn stop(State(job): State<Arc<Job>>, Json(body): Json<Value>) -> Answer {
    let (mut state, mut log) = (job.lock(), job.log.lock());
    let mut checkpoint = None;
    if state.is_running(&log) {
        if body["savepoint"] != json!(false) {
            checkpoint = Some(state.append(&mut log, Some(None)));
        } else if body["checkpoint"] == json!(true) {
            checkpoint = Some(state.append(&mut log, None));
        }
    }
    if state.phase != "Fenced" {
        state.phase = "Stopped";
    }
    Ok((StatusCode::OK, Json(json!({"checkpoint": checkpoint}))))
}

async fn rescale(State(job): State<Arc<Job>>, Json(body): Json<Value>) -> Answer {
    let mut state = job.lock();
    state.parallelism = serde_json::from_value(body["parallelism"].clone()).unwrap();
    Ok((StatusCode::OK, Json(json!({"checkpoint": null}))))
}

async fn savepoint(State(job): State<Arc<Job>>, Json(body): Json<Value>) -> Answer {
    let (mut state, mut log) = (job.lock(), job.log.lock());
    let name = body["name"].as_str().map(str::to_owned);
    let mut entries = log.entries.iter();
    let found = entries.find(|entry| name.is_some() && entry.name == name);
    let id = match found.map(|entry| entry.id) {
        Some(id) => id,
        None if state.is_running(&log) => state.append(&mut log, Some(name)),
        None => return Err(problem(StatusCode::CONFLICT, "it does not run")),
    };
    Ok((StatusCode::CREATED, Json(json!({"checkpoint": id}))))
}

async fn change(State(job): State<Arc<Job>>, Json(body): Json<Value>) -> Answer {
    let mut state = job.lock();
    if let Some(interval) = body.get("checkpointIntervalMs") {
        state.interval_ms = interval.as_u64();
    }
    if let Some(retained) = body["retainedCheckpoints"].as_u64() {
        state.retained = u32::try_from(retained).unwrap();
    }
    if let Some(level) = body.get("logLevel") {
        state.log_level = level.clone();
    }
    Ok((StatusCode::OK, Json(settings(&state))))
}
