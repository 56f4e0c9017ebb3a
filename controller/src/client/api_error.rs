//! Why the API server did not do what was asked, as far as it matters what to do next.

use std::time::Duration;

use kube::core::Status;

/// The cause that the API server gives when it creates nothing in a namespace that goes.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Why the API server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Policy, quota or validation refuses it; only a person can help.
    #[error("{action}: refused by the API server: {message}")]
    Refused {
        /// What was to be done.
        action: String,
        /// The server's words.
        message: String,
    },
    /// The namespace is being deleted, so nothing is created in it.
    #[error("{action}: the namespace is being deleted")]
    NamespaceTerminating {
        /// What was to be done.
        action: String,
    },
    /// The controller itself lacks a permission.
    #[error("{action}: the controller may not: {message}; its role does not fit its version")]
    Forbidden {
        /// What was to be done.
        action: String,
        /// The server's words.
        message: String,
    },
    /// There is no such object (any more).
    #[error("{action}: it is not there")]
    NotFound {
        /// What was to be done.
        action: String,
    },
    /// There is such an object already.
    #[error("{action}: it is there already")]
    AlreadyExists {
        /// What was to be done.
        action: String,
    },
    /// The object has changed meanwhile, or is another one.
    #[error("{action}: it has changed meanwhile")]
    Conflict {
        /// What was to be done.
        action: String,
    },
    /// The server cannot now.
    #[error("{action}: the API server is busy or failing ({code}): {message}")]
    Busy {
        /// What was to be done.
        action: String,
        /// The HTTP status.
        code: u16,
        /// The server's words.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// No answer; it may have been done or not.
    #[error("{action}: no answer from the API server")]
    NoAnswer {
        /// What was to be done.
        action: String,
        /// Why, unless it was merely too slow.
        #[source]
        source: Option<Box<kube::Error>>,
    },
    /// This controller does not lead (any more), so it wrote nothing.
    #[error("{action}: another controller leads")]
    NotLeading {
        /// What was to be done.
        action: String,
    },
}

impl ApiError {
    /// What an error of kube means.
    pub fn new(action: String, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(action, *status),
            other => Self::NoAnswer {
                action,
                source: Some(Box::new(other)),
            },
        }
    }

    fn of_status(action: String, status: Status) -> Self {
        let details = status.details.as_ref();
        let seconds = details.map_or(0, |details| details.retry_after_seconds);
        let causes = details
            .map(|details| details.causes.as_slice())
            .unwrap_or_default();
        let message = status.message;
        match status.code {
            _ if causes
                .iter()
                .any(|cause| cause.reason == NAMESPACE_TERMINATING) =>
            {
                Self::NamespaceTerminating { action }
            }
            404 => Self::NotFound { action },
            409 if status.reason == "AlreadyExists" => Self::AlreadyExists { action },
            409 => Self::Conflict { action },
            // Missing permission has this form; admission and quota speak differently.
            403 if message.contains("cannot ") && message.contains(" resource ") => {
                Self::Forbidden { action, message }
            }
            400 | 403 | 422 => Self::Refused { action, message },
            code => Self::Busy {
                action,
                code,
                message,
                retry_after: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
            },
        }
    }

    /// The kind of error in a word, for metrics.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "Refused",
            Self::NamespaceTerminating { .. } => "NamespaceTerminating",
            Self::Forbidden { .. } => "Forbidden",
            Self::NotFound { .. } => "NotFound",
            Self::AlreadyExists { .. } => "AlreadyExists",
            Self::Conflict { .. } => "Conflict",
            Self::Busy { .. } => "Busy",
            Self::NoAnswer { .. } => "NoAnswer",
            Self::NotLeading { .. } => "NotLeading",
        }
    }

    /// How long the server wants to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn category(code: u16, reason: &str, message: &str) -> &'static str {
        let status = json!({"code": code, "reason": reason, "message": message});
        let status: Status = serde_json::from_value(status).unwrap();
        ApiError::new("create".to_owned(), kube::Error::Api(Box::new(status))).category()
    }

    #[rstest]
    #[case(
        403,
        "Forbidden",
        "pods \"a\" is forbidden: exceeded quota: small",
        "Refused"
    )]
    #[case(422, "Invalid", "spec.containers[0].image: Required value", "Refused")]
    #[case(
        403,
        "Forbidden",
        "secrets is forbidden: User \"x\" cannot create resource \"secrets\" in API group",
        "Forbidden"
    )]
    #[case(404, "NotFound", "", "NotFound")]
    #[case(409, "AlreadyExists", "", "AlreadyExists")]
    #[case(409, "Conflict", "", "Conflict")]
    #[case(410, "Expired", "", "Busy")]
    #[case(429, "TooManyRequests", "", "Busy")]
    #[case(500, "InternalError", "", "Busy")]
    fn an_answer_has_its_meaning(
        #[case] code: u16,
        #[case] reason: &str,
        #[case] message: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(category(code, reason, message), expected);
    }

    #[test]
    fn a_namespace_that_goes_is_told_by_its_cause() {
        let status = json!({
            "code": 403, "reason": "Forbidden", "message": "being terminated",
            "details": {"causes": [{"reason": "NamespaceTerminating"}]},
        });
        let status: Status = serde_json::from_value(status).unwrap();
        let error = ApiError::of_status("create".to_owned(), status);
        assert!(matches!(error, ApiError::NamespaceTerminating { .. }));
    }

    #[test]
    fn a_busy_server_tells_how_long_to_wait() {
        let details = json!({"retryAfterSeconds": 7});
        let status = json!({"code": 429, "reason": "TooManyRequests", "details": details});
        let status: Status = serde_json::from_value(status).unwrap();
        let error = ApiError::of_status("create".to_owned(), status);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
}
