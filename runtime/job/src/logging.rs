//! Log lines of the process, for those who look into what happened: on standard error, by level.

use std::sync::Arc;

use tidegate_api::spec::LogLevel;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::output::{LogWriter, Screen};

/// Begins to log. Where the program has set up its own logging, that stays.
pub(crate) fn start(level: LogLevel, screen: Arc<Screen>) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    // Libraries' own details drown ours; their warnings are wanted.
    let others = LevelFilter::from_level(level.min(Level::WARN));
    let targets = Targets::new()
        .with_default(others)
        .with_target("tidegate", level);
    let format = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(LogWriter(screen));
    // An error means that the program has set up its own.
    let _ = tracing_subscriber::registry()
        .with(targets)
        .with(format)
        .try_init();
}
