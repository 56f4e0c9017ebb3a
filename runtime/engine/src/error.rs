//! What can go wrong in operators and user code.

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
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<PermanentError>() {
            return true;
        }
        next = error.source();
    }
    false
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
