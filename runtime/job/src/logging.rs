//! Log lines of the process, for those who look into what happened: on standard error, by level.

use std::sync::Arc;

use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use crate::model::LogLevelView;
use crate::output::{LogWriter, Screen};

/// Changes the level while the process runs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LogLevels {
    /// `None` where the program has set up its own logging.
    handle: Option<Handle<Targets, Registry>>,
}

impl LogLevels {
    /// Logs from this level on. Where the program has set up its own logging, that stays.
    pub(crate) fn set(&self, level: LogLevelView) {
        if let Some(handle) = &self.handle {
            // It fails only where the subscriber is gone, and then nothing is logged anyway.
            let _ = handle.reload(targets(level));
        }
    }
}

/// Begins to log. Where the program has set up its own logging, that stays.
pub(crate) fn start(level: LogLevelView, screen: Arc<Screen>) -> LogLevels {
    let (targets, handle) = reload::Layer::new(targets(level));
    let format = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(LogWriter(screen));
    let started = tracing_subscriber::registry()
        .with(targets)
        .with(format)
        .try_init();
    // An error means that the program has set up its own.
    LogLevels {
        handle: started.is_ok().then_some(handle),
    }
}

fn targets(level: LogLevelView) -> Targets {
    let level = match level {
        LogLevelView::Error => Level::ERROR,
        LogLevelView::Warn => Level::WARN,
        LogLevelView::Info => Level::INFO,
        LogLevelView::Debug => Level::DEBUG,
        LogLevelView::Trace => Level::TRACE,
    };
    // Libraries' own details drown ours; their warnings are wanted.
    let others = LevelFilter::from_level(level.min(Level::WARN));
    Targets::new()
        .with_default(others)
        .with_target("tidegate", level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_heard_from_warnings_on_and_errors_alone_where_asked_for() {
        let debug = targets(LogLevelView::Debug);
        assert!(debug.would_enable("tidegate::driver", &Level::DEBUG));
        assert!(!debug.would_enable("hyper", &Level::INFO));
        let error = targets(LogLevelView::Error);
        assert!(!error.would_enable("hyper", &Level::WARN));
    }
}
