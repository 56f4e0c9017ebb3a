//! The job API over HTTP: what the job is, what can be asked of it, health and metrics.
//!
//! Handlers read [`JobStatus`] and send [`Commands`]; they never touch the driver, the worker or
//! the store, so that no request can hold up the job.

mod commands;
mod events;
mod guard;
mod health;
mod metrics;
mod openapi;
mod problem;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use tidegate_api::job_config::JobConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::command::Commands;
use crate::status::JobStatus;
pub use openapi::openapi;
use problem::Problem;

/// The largest request body; the largest that makes sense has some 30 bytes.
const BODY_BYTES_MAX: usize = 4096;
/// Event streams at once.
const EVENT_STREAMS_MAX: usize = 32;

/// What handlers know.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    status: Arc<JobStatus>,
    commands: Commands,
    event_streams: Arc<Semaphore>,
    /// A checkpoint older than this is overdue; `None` where none are taken by themselves.
    checkpoint_age_max_ms: Option<u64>,
    max_parallelism: u32,
}

impl Api {
    pub(crate) fn new(status: Arc<JobStatus>, commands: Commands, config: &JobConfig) -> Self {
        let max_parallelism = status.view().max_parallelism;
        let checkpoint = &config.checkpoint;
        let interval_ms = checkpoint.interval_ms;
        // By then one was triggered, and has completed or failed.
        let age_max_ms = interval_ms.map(|interval_ms| {
            interval_ms
                .saturating_add(checkpoint.min_pause_ms)
                .saturating_add(checkpoint.timeout_ms)
        });
        Self {
            status,
            commands,
            event_streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)),
            checkpoint_age_max_ms: age_max_ms,
            max_parallelism,
        }
    }
}

/// The API being served.
pub(crate) struct Serving {
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

/// Serves the API until told to stop.
pub(crate) fn serve(listener: TcpListener, api: Api) -> Serving {
    let (stop, stopped) = oneshot::channel();
    let is_loopback = listener
        .local_addr()
        .is_ok_and(|address| address.ip().is_loopback());
    let router = router(api, is_loopback);
    let task = tokio::spawn(async move {
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            // A dropped sender asks for the same.
            let _ = stopped.await;
        });
        if let Err(error) = server.await {
            tracing::error!(%error, "the job API is no longer served");
        }
    });
    Serving { stop, task }
}

fn router(api: Api, is_loopback: bool) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(views::openapi_json))
        .route("/v1/job", get(views::job))
        .route("/v1/graph", get(views::graph))
        .route("/v1/checkpoints", get(views::checkpoints))
        .route("/v1/checkpoints/{id}", get(views::checkpoint))
        .route("/v1/checkpoints/{id}", delete(commands::release))
        .route("/v1/savepoints", post(commands::savepoint))
        .route("/v1/stop", post(commands::stop))
        .route("/v1/rescale", post(commands::rescale))
        .route("/v1/events", get(events::events))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(is_loopback, guard::guard))
        .with_state(api)
}
