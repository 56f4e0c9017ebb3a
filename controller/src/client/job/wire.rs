//! How commands and answers of the job API look on the wire.

use std::net::SocketAddr;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::job_api::{JobCommand, StopMode};

/// Why a job process did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JobApiError {
    /// No connection, or the other side has no certificate of ours.
    #[error("no connection to {address}: {source}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The connection ended before the answer.
    #[error("the connection ended before the answer: {source}")]
    Broken {
        /// Why.
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("no answer within {seconds} s")]
    Slow {
        /// The limit.
        seconds: u64,
    },
    /// An answer that has no end.
    #[error("the answer is too long or ended early")]
    Long,
    /// An answer that is no such thing.
    #[error("the answer to {path} is not as expected: {source}")]
    Content {
        /// What was asked.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The job refuses.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The job's words.
        message: String,
    },
    /// The controller's own certificates cannot be used.
    #[error("the controller's certificates cannot be used: {problem}")]
    Certificates {
        /// What is wrong.
        problem: String,
    },
}

/// The part of problem details (RFC 9457) that a person reads.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl JobApiError {
    pub(super) fn refused(status: StatusCode, body: &[u8]) -> Self {
        let problem: Result<Problem, _> = serde_json::from_slice(body);
        let message = match problem {
            Ok(problem) => problem.detail,
            Err(_) => format!("the job answers {status}"),
        };
        Self::Refused {
            status: status.as_u16(),
            message,
        }
    }

    /// Whether the job has understood and will not do it, so that asking again is of no use.
    pub fn is_refusal(&self) -> bool {
        // Busy, and over, pass.
        matches!(self, Self::Refused { status, .. } if !matches!(status, 429 | 503))
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<String>,
}

pub(super) fn call(command: &JobCommand) -> Call {
    let (method, path, body): (Method, String, Option<Value>) = match command {
        JobCommand::Start => (Method::POST, "/v1/start".to_owned(), None),
        JobCommand::Stop(mode) => {
            let body = json!({
                "savepoint": *mode == StopMode::Savepoint,
                "checkpoint": *mode == StopMode::Checkpoint,
            });
            (Method::POST, "/v1/stop".to_owned(), Some(body))
        }
        JobCommand::Rescale { parallelism } => {
            let body = json!({"parallelism": parallelism});
            (Method::POST, "/v1/rescale".to_owned(), Some(body))
        }
        JobCommand::Settings {
            checkpoint_interval_ms,
            retained_checkpoints,
            log_level,
        } => {
            let body = json!({
                "checkpointIntervalMs": checkpoint_interval_ms,
                "retainedCheckpoints": retained_checkpoints,
                "logLevel": log_level,
            });
            (Method::PATCH, "/v1/settings".to_owned(), Some(body))
        }
        JobCommand::Savepoint { name } => {
            let body = json!({"name": name});
            (Method::POST, "/v1/savepoints".to_owned(), Some(body))
        }
        JobCommand::Release { id } => (Method::DELETE, format!("/v1/checkpoints/{id}"), None),
    };
    Call {
        method,
        path,
        body: body.map(|body| body.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_the_job_api_takes() {
        let savepoint = call(&JobCommand::Savepoint {
            name: "before".to_owned(),
        });
        assert_eq!(savepoint.path, "/v1/savepoints");
        assert_eq!(savepoint.body.as_deref(), Some(r#"{"name":"before"}"#));
        let stop = call(&JobCommand::Stop(StopMode::Checkpoint)).body.unwrap();
        let stop: Value = serde_json::from_str(&stop).unwrap();
        assert_eq!(stop, json!({"savepoint": false, "checkpoint": true}));
        let release = call(&JobCommand::Release { id: 7 });
        assert_eq!(
            (release.method, release.path.as_str()),
            (Method::DELETE, "/v1/checkpoints/7")
        );
        let settings = call(&JobCommand::Settings {
            checkpoint_interval_ms: None,
            retained_checkpoints: 3,
            log_level: tidegate_api::spec::LogLevel::Debug,
        });
        let body: Value = serde_json::from_str(&settings.body.unwrap()).unwrap();
        let expected = json!({
            "checkpointIntervalMs": null, "retainedCheckpoints": 3, "logLevel": "Debug",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_refusal_repeats_the_jobs_words() {
        let body = br#"{"status":409,"title":"Conflict","detail":"not now","category":"Refused"}"#;
        let error = JobApiError::refused(StatusCode::CONFLICT, body);
        assert_eq!(error.to_string(), "not now");
        assert!(error.is_refusal());
        assert!(!JobApiError::refused(StatusCode::TOO_MANY_REQUESTS, body).is_refusal());
    }
}
