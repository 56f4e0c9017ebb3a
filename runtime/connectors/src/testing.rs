//! What tests of sources and sinks share.

use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_engine::{
    Record, RecordBuilder, Rows, SinkContext, SinkJob, SinkRecovery, SourceContext,
};
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
        job: sink_job("words"),
        operator: "out".to_owned(),
        subtask_index,
        parallelism: 4,
        attempt: Attempt::new(attempt).unwrap(),
        io: tokio::runtime::Handle::current(),
    }
}

/// A job of this id, whose storage says nothing of how a bucket is reached.
pub(crate) fn sink_job(id: &str) -> Arc<SinkJob> {
    Arc::new(SinkJob {
        id: id.to_owned(),
        storage: tidegate_storage::StoreOptions::default(),
    })
}

/// What the sink of [`sink_context`] is told before an attempt.
pub(crate) fn recovery(attempt: u64) -> SinkRecovery {
    SinkRecovery {
        job: sink_job("words"),
        operator: "out".to_owned(),
        attempt: Attempt::new(attempt).unwrap(),
    }
}
