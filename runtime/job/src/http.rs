//! The job API over HTTP: what the job is, what can be asked of it, health and metrics.
//!
//! Handlers read [`JobStatus`] and send [`Commands`]; they never touch the driver, the worker or
//! the store, so that no request can hold up the job.

mod bounded;
mod commands;
mod events;
mod guard;
mod health;
mod metrics;
mod openapi;
mod problem;
mod settings;
mod tls;
mod views;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::extract::connect_info::Connected;
use axum::routing::{delete, get, patch, post};
use axum::serve::{IncomingStream, Listener};
use axum::{Router, middleware};
use tidegate_api::job_config::JobConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::command::{Answer, Ask, Commands};
use crate::error::StartError;
use crate::logging::LogLevels;
use crate::status::JobStatus;
use bounded::{BoundedListener, Seat};
pub use openapi::openapi;
use problem::Problem;
use tls::TlsListener;

/// The largest request body; the largest that makes sense has some 30 bytes.
const BODY_BYTES_MAX: usize = 4096;
/// Event streams at once.
const EVENT_STREAMS_MAX: usize = 32;

/// What handlers know.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    status: Arc<JobStatus>,
    commands: Commands,
    log_levels: LogLevels,
    event_streams: Arc<Semaphore>,
    /// How long after its interval is over a checkpoint has completed or failed.
    checkpoint_lag_ms: u64,
    max_parallelism: u32,
}

impl Api {
    pub(crate) fn new(
        status: Arc<JobStatus>,
        commands: Commands,
        log_levels: LogLevels,
        config: &JobConfig,
    ) -> Self {
        let checkpoint = &config.checkpoint;
        Self {
            max_parallelism: status.view().max_parallelism,
            status,
            commands,
            log_levels,
            event_streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)),
            checkpoint_lag_ms: checkpoint
                .min_pause_ms
                .saturating_add(checkpoint.timeout_ms),
        }
    }

    /// Asks the job for something; the client that waits for it is not idle.
    async fn ask(&self, seat: &Seat, ask: Ask) -> Answer {
        let _work = seat.work();
        self.commands.ask(ask).await
    }
}

/// A server of the API, or of a part of it.
pub(crate) struct Serving {
    /// Where.
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Stops taking requests and waits for answers under way, but not for long.
    pub(crate) async fn finish(mut self, limit: Duration) {
        let _ = self.stop.send(());
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Serves what the settings ask for: the whole API at one address, or by TLS at one, and health and
/// metrics at another. The first one is the one to name to people.
///
/// # Errors
/// An address that cannot be listened at, or certificates that cannot be used.
pub(crate) async fn serve_all(config: &JobConfig, api: Api) -> Result<Vec<Serving>, StartError> {
    let mut serving = Vec::new();
    if let Some(secure) = &config.secure_api {
        let (listener, address) = listen(&secure.address).await?;
        let listener = TlsListener::start(listener, secure)
            .map_err(|error| StartError::Certificates(error.into()))?;
        serving.push(serve(listener, address, router(api.clone(), false)));
    }
    if let Some(address) = &config.listen_address {
        let (listener, address) = listen(address).await?;
        let is_loopback = address.ip().is_loopback();
        let router = match &config.secure_api {
            Some(_) => health_router(api, is_loopback),
            None => router(api, is_loopback),
        };
        let listener = BoundedListener::new(listener);
        serving.push(serve(listener, address, router));
    }
    Ok(serving)
}

async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let bind = async {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind.await.map_err(|source| StartError::Listen {
        address: address.to_owned(),
        source,
    })
}

/// Serves until told to stop.
fn serve<L>(listener: L, address: SocketAddr, router: Router) -> Serving
where
    L: Listener,
    L::Addr: std::fmt::Debug,
    Seat: for<'a> Connected<IncomingStream<'a, L>>,
{
    let router = router.into_make_service_with_connect_info::<Seat>();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            // A dropped sender asks for the same.
            let _ = stopped.await;
        });
        if let Err(error) = server.await {
            tracing::error!(%error, "the job API is no longer served");
        }
    });
    Serving {
        address,
        stop,
        task,
    }
}

fn health_routes() -> Router<Api> {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
}

/// What anybody in the network may see.
fn health_router(api: Api, is_loopback: bool) -> Router {
    finished(health_routes(), api, is_loopback)
}

fn finished(router: Router<Api>, api: Api, is_loopback: bool) -> Router {
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(is_loopback, guard::guard))
        .with_state(api)
}

fn router(api: Api, is_loopback: bool) -> Router {
    let routes = health_routes()
        .route("/openapi.json", get(views::openapi_json))
        .route("/v1/job", get(views::job))
        .route("/v1/graph", get(views::graph))
        .route("/v1/checkpoints", get(views::checkpoints))
        .route("/v1/checkpoints/{id}", get(views::checkpoint))
        .route("/v1/checkpoints/{id}", delete(commands::release))
        .route("/v1/savepoints", post(commands::savepoint))
        .route("/v1/stop", post(commands::stop))
        .route("/v1/rescale", post(commands::rescale))
        .route("/v1/start", post(commands::start))
        .route("/v1/settings", patch(settings::change))
        .route("/v1/events", get(events::events));
    finished(routes, api, is_loopback)
}
