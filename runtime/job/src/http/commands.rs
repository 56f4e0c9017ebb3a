//! What can be asked for. Each answer comes when the thing is done.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_protocol::{CheckpointId, Parallelism, StopMode};

use super::{Api, Problem, Seat};
use crate::command::Ask;

/// The longest name of an object in Kubernetes.
const NAME_LENGTH_MAX: usize = 253;

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
    /// Whether to take an ordinary checkpoint first, where no savepoint is taken.
    #[serde(default)]
    checkpoint: bool,
}

/// What savepoint to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavepointRequest {
    /// Its name. Where a retained savepoint has it already, that one is the answer.
    #[serde(default)]
    name: Option<String>,
}

const fn yes() -> bool {
    true
}

/// How to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RescaleRequest {
    /// How many subtasks each operator gets.
    #[schemars(range(min = 1))]
    parallelism: u32,
}

type Answer<T> = Result<T, Problem>;

fn answer(checkpoint: Option<CheckpointId>) -> Json<CommandAnswer> {
    Json(CommandAnswer {
        checkpoint: checkpoint.map(CheckpointId::get),
    })
}

/// A body that is a JSON object; a list of values would do for the types as well.
pub(super) fn body<T: DeserializeOwned>(
    body: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Answer<T> {
    let Json(body) = body.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    object(body)
}

/// The object as this type; what is wrong with it is told with the field.
fn object<T: DeserializeOwned>(body: Map<String, Value>) -> Answer<T> {
    let text = serde_json::to_vec(&body).expect("an object has string keys and plain values");
    Json::from_bytes(&text)
        .map(|Json(object)| object)
        .map_err(|rejection| {
            let told = rejection.body_text();
            // The line and column are those of the text as it was written again here.
            let told = told.rsplit_once(" at line ").map_or(&*told, |(it, _)| it);
            Problem::bad_request(told)
        })
}

/// Whether a savepoint may bear the name: an object's name in Kubernetes.
fn is_name(name: &str) -> bool {
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(is_edge)
            && bytes.last().copied().is_some_and(is_edge)
            && bytes.iter().all(|&byte| is_edge(byte) || byte == b'-')
    };
    name.len() <= NAME_LENGTH_MAX && name.split('.').all(is_label)
}

pub(super) async fn savepoint(
    State(api): State<Api>,
    ConnectInfo(seat): ConnectInfo<Seat>,
    request: Result<Bytes, BytesRejection>,
) -> Answer<(StatusCode, Json<CommandAnswer>)> {
    let request = request.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let name = if request.is_empty() {
        None
    } else {
        let request: Option<Map<String, Value>> = serde_json::from_slice(&request)
            .map_err(|error| Problem::bad_request(error.to_string()))?;
        let request = request.map(object::<SavepointRequest>).transpose()?;
        request.and_then(|request| request.name)
    };
    if let Some(name) = name.as_deref().filter(|name| !is_name(name)) {
        return Err(Problem::bad_request(format!(
            "name is {name:?}, but must consist of at most {NAME_LENGTH_MAX} lower-case letters, \
             digits, hyphens and dots, and begin and end with a letter or digit"
        )));
    }
    let checkpoint = api.ask(&seat, Ask::Savepoint { name }).await?;
    Ok((StatusCode::CREATED, answer(checkpoint)))
}

pub(super) async fn stop(
    State(api): State<Api>,
    ConnectInfo(seat): ConnectInfo<Seat>,
    request: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Answer<Json<CommandAnswer>> {
    let request: StopRequest = body(request)?;
    let mode = match (request.savepoint, request.checkpoint) {
        (true, _) => StopMode::Savepoint,
        (false, true) => StopMode::Checkpoint,
        (false, false) => StopMode::Immediate,
    };
    let checkpoint = api.ask(&seat, Ask::Stop { mode }).await?;
    Ok(answer(checkpoint))
}

pub(super) async fn start(
    State(api): State<Api>,
    ConnectInfo(seat): ConnectInfo<Seat>,
) -> Answer<Json<CommandAnswer>> {
    Ok(answer(api.ask(&seat, Ask::Start).await?))
}

pub(super) async fn rescale(
    State(api): State<Api>,
    ConnectInfo(seat): ConnectInfo<Seat>,
    request: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Answer<Json<CommandAnswer>> {
    let wanted = body::<RescaleRequest>(request)?.parallelism;
    let max = api.max_parallelism;
    let parallelism = Parallelism::new(wanted).ok().filter(|_| wanted <= max);
    let parallelism = parallelism.ok_or_else(|| {
        Problem::bad_request(format!(
            "parallelism is {wanted}, but must be from 1 to {max}"
        ))
    })?;
    let checkpoint = api.ask(&seat, Ask::Rescale { parallelism }).await?;
    Ok(answer(checkpoint))
}

pub(super) async fn release(
    State(api): State<Api>,
    ConnectInfo(seat): ConnectInfo<Seat>,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let number = id.parse().ok();
    let listed = number.filter(|id| api.status.checkpoint(*id).is_some());
    let checkpoint = listed.and_then(|number| CheckpointId::new(number).ok());
    let checkpoint = checkpoint.ok_or_else(|| {
        match number.and_then(|number| api.status.damaged_with(number)) {
            Some(entries) => Problem::perhaps_damaged(&id, &entries, &api.status.view().folder),
            None => Problem::no_such_checkpoint(&id),
        }
    })?;
    api.ask(&seat, Ask::Release { checkpoint }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::SettingsChange;

    #[test]
    fn a_wrong_value_is_told_with_its_field() {
        let told = |body: Value| {
            let Value::Object(body) = body else {
                panic!("{body} is no object")
            };
            let problem = object::<SettingsChange>(body).unwrap_err();
            serde_json::to_value(problem).unwrap()["detail"].to_string()
        };
        let text = told(json!({"logLevel": "Info", "retainedCheckpoints": "3"}));
        assert!(text.contains("retainedCheckpoints: invalid type"), "{text}");
        assert!(!text.contains("column"), "{text}");
        let text = told(json!({"checkpointIntervalMs": -1}));
        assert!(text.contains("checkpointIntervalMs: invalid"), "{text}");
        let text = told(json!({"retained": 3}));
        assert!(text.contains("unknown field `retained`"), "{text}");
    }

    #[test]
    fn a_savepoints_name_is_an_objects_name() {
        for name in ["a", "before-upgrade", "v1.2", "0"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a-", "A", "a b", "a..b", "../a", &"a".repeat(254)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
