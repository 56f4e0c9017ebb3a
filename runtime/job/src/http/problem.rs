//! Errors as problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::CommandError;

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Problem {
    /// The HTTP status.
    status: u16,
    /// What the status means.
    title: String,
    /// What is wrong with this request and what to do.
    detail: String,
    /// The kind of problem, for programs.
    category: String,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        category: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            detail: detail.into(),
            category: category.to_owned(),
        }
    }

    pub(super) fn no_such_checkpoint(id: &str) -> Self {
        let detail =
            format!("checkpoint {id} is not retained; GET /v1/checkpoints lists those that are");
        Self::new(StatusCode::NOT_FOUND, "NoSuchCheckpoint", detail)
    }

    /// A checkpoint that is not listed, but may be in an entry of the log that cannot be read. The
    /// controller takes other words for a checkpoint that is gone.
    pub(super) fn perhaps_damaged(id: &str, entries: &[u64], folder: &str) -> Self {
        let names = entries.iter().map(|number| format!("`entry-{number}`"));
        let names = names.collect::<Vec<_>>().join(", ");
        let last = entries.last().copied().unwrap_or_default();
        let detail = format!(
            "checkpoint {id} may be in {names} of the checkpoint log, which cannot be read; \
             restore that from a backup, or stop the job and give it up with `tidegate \
             checkpoints release {folder} entry-{last}`"
        );
        Self::new(StatusCode::CONFLICT, "CheckpointUnreadable", detail)
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", detail)
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let (status, category) = match &error {
            CommandError::Over => (StatusCode::SERVICE_UNAVAILABLE, "JobOver"),
            CommandError::Busy => (StatusCode::TOO_MANY_REQUESTS, "Busy"),
            CommandError::Refused { .. } => (StatusCode::CONFLICT, "Refused"),
            CommandError::NotRunning { .. } => (StatusCode::CONFLICT, "NotRunning"),
            CommandError::NotHolding { .. } => (StatusCode::CONFLICT, "NotHolding"),
        };
        Self::new(status, category, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let content_type = HeaderValue::from_static("application/problem+json");
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        response
    }
}

pub(super) async fn not_found(uri: Uri) -> Problem {
    let detail = format!(
        "there is no {}; GET /openapi.json describes what there is",
        uri.path()
    );
    Problem::new(StatusCode::NOT_FOUND, "NotFound", detail)
}

pub(super) async fn method_not_allowed(uri: Uri) -> Problem {
    let detail = format!(
        "{} does not take this method; GET /openapi.json describes what it takes",
        uri.path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", detail)
}
