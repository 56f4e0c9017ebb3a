//! Jobs to be measured, run as users run them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tidegate::job_config::JobConfig;
use tidegate::{JobGraph, Pipeline, Record, Rows, Sink, SinkContext, SinkWriter};

/// A folder on a real disk, beside the build: the system's own may be in memory.
pub(crate) fn scratch() -> Result<TempDir> {
    let program = std::env::current_exe()?;
    let beside = program.parent().context("the program lies in no folder")?;
    Ok(tempfile::tempdir_in(beside)?)
}

/// The configuration of a job with parallelism 2.
pub(crate) fn config(folder: &TempDir, checkpoint_interval_ms: Option<u64>) -> Result<JobConfig> {
    let mut checkpoint = serde_json::json!({
        "timeoutMs": 60_000, "minPauseMs": 0, "mode": "Aligned", "retainedCount": 2,
    });
    if let Some(interval) = checkpoint_interval_ms {
        checkpoint["intervalMs"] = interval.into();
    }
    let config = serde_json::json!({
        "version": 1,
        "namespace": "bench",
        "name": "job",
        "parallelism": 2,
        "maxParallelism": 128,
        "checkpoint": checkpoint,
        "storage": { "url": folder.path() },
        "startFrom": { "kind": "Latest" },
        "restart": {
            "initialDelayMs": 100, "maxDelayMs": 100, "attempts": 1, "resetAfterMs": 60_000,
        },
        "logLevel": "Error",
        "output": { "format": "Text" },
    });
    Ok(JobConfig::from_json(&config.to_string())?)
}

/// Describes a job.
pub(crate) fn graph(describe: impl FnOnce(&Pipeline)) -> Result<JobGraph> {
    let pipeline = Pipeline::new();
    describe(&pipeline);
    Ok(pipeline.build()?)
}

/// A sink that only counts what it is given, so that whoever measures can look on.
pub(crate) struct Counted<R> {
    pub(crate) records: Arc<AtomicU64>,
    record: std::marker::PhantomData<fn() -> R>,
}

impl<R> Counted<R> {
    pub(crate) fn new() -> (Self, Arc<AtomicU64>) {
        let records = Arc::<AtomicU64>::default();
        (
            Self {
                records: Arc::clone(&records),
                record: std::marker::PhantomData,
            },
            records,
        )
    }
}

impl<R: Record> Sink for Counted<R> {
    type Item = R;
    type Writer = Self;

    fn writer(&self, _: SinkContext) -> tidegate::Result<Self> {
        Ok(Self {
            records: Arc::clone(&self.records),
            record: std::marker::PhantomData,
        })
    }
}

impl<R: Record> SinkWriter for Counted<R> {
    type Item = R;

    async fn write(&mut self, rows: &Rows<R>) -> tidegate::Result<()> {
        self.records.fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
