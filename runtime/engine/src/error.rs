//! What can go wrong in operators and user code.

use tidegate_protocol::FailureCategory;
use tidegate_storage::{Fault, StorageError};

/// An error from user code or a connector, of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of user code.
pub type Result<T, E = BoxError> = std::result::Result<T, E>;

/// An error that restarting cannot heal: wrong configuration, a missing file, a refused login.
/// A source, sink or operator returns it to end the job at once with its message.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PermanentError {
    message: String,
    #[source]
    source: Option<BoxError>,
}

impl PermanentError {
    /// With a message that says what is wrong, where, and what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// With a cause.
    pub fn with_source(message: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self {
            message: message.into(),
            source: Some(source.into()),
        }
    }
}

/// An error with its causes, outermost first, as one line.
pub fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Whether an error, or one of its causes, is a [`PermanentError`].
pub fn is_permanent(error: &(dyn std::error::Error + 'static)) -> bool {
    find::<PermanentError>(error).is_some()
}

/// State that could not be restored, and what kind of failure that is.
#[derive(Debug, thiserror::Error)]
#[error("cannot restore the state")]
pub(crate) struct RestoreFailure {
    category: FailureCategory,
    #[source]
    source: BoxError,
}

impl RestoreFailure {
    /// Looks for the store's word on it; what none of the store's errors is, does not fit.
    pub(crate) fn new(source: BoxError) -> Self {
        let category = find(&*source).map_or(FailureCategory::StateIncompatible, of_storage);
        Self { category, source }
    }
}

const fn of_storage(error: &StorageError) -> FailureCategory {
    match error {
        StorageError::Failed { fault, .. } if !matches!(fault, Fault::NotFound) => {
            FailureCategory::StorageUnavailable
        }
        _ => FailureCategory::CheckpointUnreadable,
    }
}

/// What kind of failure an error is.
pub(crate) fn category(error: &(dyn std::error::Error + 'static)) -> FailureCategory {
    let restore: Option<&RestoreFailure> = find(error);
    // A source's or sink's own store is as much outside of the program as the job's.
    let of_connector = match find(error) {
        Some(StorageError::Failed { .. }) => FailureCategory::StorageUnavailable,
        _ => FailureCategory::ProgramFailed,
    };
    restore.map_or(of_connector, |failure| failure.category)
}

/// The error, or the first of its causes, of a type.
fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// A panic as an error message, as far as it has one.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "panicked: {}",
        text.as_deref().unwrap_or("without a message")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_s_store_that_fails_is_no_fault_of_the_program() {
        let error = StorageError::Failed {
            action: "write",
            location: "s3://results/out".into(),
            fault: Fault::Forbidden,
            source: "no".into(),
        };
        assert_eq!(category(&error), FailureCategory::StorageUnavailable);
        let error = PermanentError::new("a wrong setting");
        assert_eq!(category(&error), FailureCategory::ProgramFailed);
    }
}
