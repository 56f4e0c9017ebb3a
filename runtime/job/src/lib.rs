//! What a Tidegate program depends on: the typed API, the connectors and the job process.

mod arguments;
mod clock;
mod command;
mod driver;
mod error;
mod http;
mod job;
pub mod job_event;
mod life;
mod logging;
pub mod model;
mod output;
mod parent;
pub mod prelude;
mod program;
mod progress;
mod settings;
mod signals;
mod start;
mod status;
mod stop;
mod supervised;
mod supervisor;

pub use arguments::{ArgumentError, Arguments};
pub use error::{Exit, StartError};
pub use http::openapi;
pub use job::run_job;
pub use program::{Program, run, supervised};
pub use tidegate_api::job_config;

pub use tidegate_connectors as connectors;
pub use tidegate_engine as engine;
pub use tidegate_engine::*;
pub use tidegate_protocol::{Attempt, CheckpointId, JobOutcome};
pub use tidegate_storage::StoreOptions;

/// What the signatures of a source or sink of one's own are made of.
pub use futures::future::BoxFuture;
pub use serde_json;
