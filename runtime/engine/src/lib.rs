//! Chunks, operators, state, barriers, tasks, exchange and the typed Rust API.

pub mod chunk;
mod error;
mod key;
mod metrics;
pub mod record;
mod sink;
mod source;
pub mod state;

pub use error::{BoxError, PermanentError, Result, describe, is_permanent};
pub use key::Key;
pub use metrics::{Count, OperatorMetrics};
pub use record::{Field, FieldBuilder, Output, Record, RecordBuilder, Rows};
pub use sink::{Sink, SinkContext, SinkWriter};
pub use source::{
    ReadStatus, Replay, Source, SourceContext, SourceOutput, SourceReader, Split, SplitState,
};
