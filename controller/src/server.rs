//! Serves what Kubernetes and Prometheus ask of the controller itself.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Gauges;
use crate::shared::Shared;

/// What is told; nothing until the API server was reached.
pub type Told = Arc<OnceLock<Arc<Shared>>>;

/// Serves `/livez`, `/readyz` and `/metrics` until `stop`.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    told: Told,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(told);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

const UNREACHED: &str = "the API server was not reached yet\n";

/// Ready is who knows the cluster, so that it could take over at once; whether it leads does not
/// matter.
async fn readyz(State(told): State<Told>) -> (StatusCode, &'static str) {
    match told.get() {
        None => (StatusCode::SERVICE_UNAVAILABLE, UNREACHED),
        Some(shared) if shared.cluster.is_usable() => (StatusCode::OK, "ok\n"),
        Some(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not every watch has listed yet\n",
        ),
    }
}

async fn metrics(State(told): State<Told>) -> Response {
    let Some(shared) = told.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, UNREACHED).into_response();
    };
    let jobs = shared.cluster.jobs.all();
    let text = shared.metrics.render(&Gauges {
        is_leading: shared.leadership.is_held(),
        queue_depth: shared.queue.depth(),
        mirror_backlog: shared.budget().backlog(),
        jobs: &jobs,
        is_synced: shared.cluster.is_synced(),
    });
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, text).into_response()
}
