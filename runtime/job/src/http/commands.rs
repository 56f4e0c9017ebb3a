//! What can be asked for. Each answer comes when the thing is done.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_protocol::{CheckpointId, Parallelism};

use super::{Api, Problem};
use crate::command::Ask;

/// The checkpoint that a request led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CommandAnswer {
    /// Its number, if there is one.
    checkpoint: Option<u64>,
}

/// How to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopRequest {
    /// Whether to take a savepoint first; the job goes on if that fails.
    #[serde(default = "yes")]
    savepoint: bool,
}

const fn yes() -> bool {
    true
}

/// How to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RescaleRequest {
    /// How many subtasks each operator gets.
    parallelism: u32,
}

type Answer<T> = Result<T, Problem>;

fn answer(checkpoint: Option<CheckpointId>) -> Json<CommandAnswer> {
    Json(CommandAnswer {
        checkpoint: checkpoint.map(CheckpointId::get),
    })
}

fn body<T>(body: Result<Json<T>, JsonRejection>) -> Answer<T> {
    body.map(|Json(body)| body)
        .map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

pub(super) async fn savepoint(State(api): State<Api>) -> Answer<(StatusCode, Json<CommandAnswer>)> {
    let checkpoint = api.commands.ask(Ask::Savepoint).await?;
    Ok((StatusCode::CREATED, answer(checkpoint)))
}

pub(super) async fn stop(
    State(api): State<Api>,
    request: Result<Json<StopRequest>, JsonRejection>,
) -> Answer<Json<CommandAnswer>> {
    let is_immediate = !body(request)?.savepoint;
    let checkpoint = api.commands.ask(Ask::Stop { is_immediate }).await?;
    Ok(answer(checkpoint))
}

pub(super) async fn rescale(
    State(api): State<Api>,
    request: Result<Json<RescaleRequest>, JsonRejection>,
) -> Answer<Json<CommandAnswer>> {
    let wanted = body(request)?.parallelism;
    let max = api.max_parallelism;
    let parallelism = Parallelism::new(wanted).ok().filter(|_| wanted <= max);
    let parallelism = parallelism.ok_or_else(|| {
        Problem::bad_request(format!(
            "parallelism is {wanted}, but must be from 1 to {max}"
        ))
    })?;
    let checkpoint = api.commands.ask(Ask::Rescale { parallelism }).await?;
    Ok(answer(checkpoint))
}

pub(super) async fn release(State(api): State<Api>, Path(id): Path<String>) -> Answer<StatusCode> {
    let number = id
        .parse()
        .ok()
        .filter(|id| api.status.checkpoint(*id).is_some());
    let checkpoint = number.and_then(|number| CheckpointId::new(number).ok());
    let checkpoint = checkpoint.ok_or_else(|| Problem::no_such_checkpoint(&id))?;
    api.commands.ask(Ask::Release { checkpoint }).await?;
    Ok(StatusCode::NO_CONTENT)
}
