//! What tests of sources and sinks share.

use arrow_array::RecordBatch;
use tidegate_engine::{Record, RecordBuilder, Rows, SinkContext, SourceContext};
use tidegate_protocol::Attempt;

/// Records as a chunk's rows.
pub(crate) fn rows<R: Record>(records: &[R]) -> Rows<R> {
    let mut builder = R::Builder::default();
    for record in records {
        builder.push(record.as_view());
    }
    let batch = RecordBatch::try_new(R::schema(), builder.finish()).unwrap();
    Rows::of(&batch).unwrap()
}

/// What a subtask's reader is given in tests; runs its I/O where the test runs.
pub(crate) fn context(operator: &str) -> SourceContext {
    SourceContext {
        operator: operator.to_owned(),
        subtask_index: 0,
        parallelism: 1,
        io: tokio::runtime::Handle::current(),
        metrics: std::sync::Arc::default(),
    }
}

/// What a subtask's writer is given in tests; runs its I/O where the test runs.
pub(crate) fn sink_context(attempt: u64, subtask_index: u32) -> SinkContext {
    SinkContext {
        operator: "out".to_owned(),
        subtask_index,
        parallelism: 4,
        attempt: Attempt::new(attempt).unwrap(),
        io: tokio::runtime::Handle::current(),
    }
}
