//! What can be looked at.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use super::{Api, Problem, openapi};
use crate::model::{CheckpointDetail, CheckpointView, GraphView, JobView};

pub(super) async fn job(State(api): State<Api>) -> Json<JobView> {
    Json(api.status.view())
}

pub(super) async fn graph(State(api): State<Api>) -> Json<GraphView> {
    Json(api.status.graph().clone())
}

pub(super) async fn checkpoints(State(api): State<Api>) -> Json<Vec<CheckpointView>> {
    Json(api.status.checkpoints())
}

pub(super) async fn checkpoint(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<CheckpointDetail>, Problem> {
    let found = id.parse().ok().and_then(|id| api.status.checkpoint(id));
    found
        .map(Json)
        .ok_or_else(|| Problem::no_such_checkpoint(&id))
}

pub(super) async fn openapi_json() -> Json<Value> {
    Json(openapi())
}
