//! Log lines of the controller, on standard error.

use tidegate_api::spec::LogLevel;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::LogFormat;

/// Begins to log. Where logging is set up already, that stays.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    // Libraries' own details drown ours; their warnings are wanted.
    let others = LevelFilter::from_level(level.min(Level::WARN));
    let mut targets = Targets::new()
        .with_default(others)
        .with_target("tidegate", level);
    if level < Level::DEBUG {
        // Each failed request is told by whoever sent it, with what becomes of it.
        targets = targets.with_target("kube", LevelFilter::OFF);
    }
    let lines = fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // An error means that logging is set up already.
    let _ = tracing_subscriber::registry()
        .with(targets)
        .with(lines)
        .try_init();
}
