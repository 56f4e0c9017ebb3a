//! Chunks, operators, state, barriers, tasks, exchange and the typed Rust API.

#[doc(hidden)]
pub mod __private;
pub mod chunk;
mod error;
mod exchange;
mod graph;
mod key;
mod metrics;
mod operator;
pub mod record;
mod sink;
mod source;
pub mod state;
mod stream;
mod task;
mod worker;

pub use error::{BoxError, PermanentError, Result, describe, is_permanent};
pub use exchange::KeySelector;
pub use graph::{GraphError, JobGraph, NodeDescription};
pub use key::Key;
pub use metrics::{Count, OperatorMetrics};
pub use operator::{KeyedContext, KeyedProcess, WatermarkStrategy};
pub use record::{Field, FieldBuilder, ListView, Output, Record, RecordBuilder, Rows, Timestamp};
pub use sink::{Sink, SinkContext, SinkJob, SinkRecovery, SinkWriter};
pub use source::{
    ReadStatus, Replay, Source, SourceContext, SourceOutput, SourceReader, Split, SplitState,
};
pub use state::State;
pub use stream::{KeyedStream, Pipeline, Stream};
pub use tidegate_derive::{Key, Record, State};
pub use worker::{SubtaskMetrics, Worker, WorkerConfig};
