//! Metrics in the Prometheus text format.

mod exposition;

use std::fs;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use tidegate_engine::{OperatorMetrics, SubtaskMetrics};

use super::Api;
use crate::model::{CheckpointView, JobView, Phase};
use exposition::{Exposition, Kind};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Linux on every machine that it runs on here.
const PAGE_BYTES: f64 = 4096.0;

pub(super) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let text = render(&api.status.view(), &api.status.subtasks());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text)
}

/// What is counted for each operator of each subtask.
type Counter = (
    &'static str,
    Kind,
    &'static str,
    fn(&OperatorMetrics) -> Option<f64>,
);

const COUNTERS: &[Counter] = &[
    (
        "records_in_total",
        Kind::Counter,
        "Records taken in.",
        |m| Some(m.records_in.get() as f64),
    ),
    (
        "records_out_total",
        Kind::Counter,
        "Records given out.",
        |m| Some(m.records_out.get() as f64),
    ),
    (
        "skipped_records_total",
        Kind::Counter,
        "Bad records skipped by policy.",
        |m| Some(m.skipped_records.get() as f64),
    ),
    (
        "dead_letter_records_total",
        Kind::Counter,
        "Bad records written to a dead-letter output.",
        |m| Some(m.dead_letter_records.get() as f64),
    ),
    (
        "late_records_total",
        Kind::Counter,
        "Records behind the watermark.",
        |m| Some(m.late_records.get() as f64),
    ),
    ("busy_seconds_total", Kind::Counter, "Time at work.", |m| {
        Some(seconds(m.busy_nanos.get()))
    }),
    (
        "backpressured_seconds_total",
        Kind::Counter,
        "Time waiting for full channels.",
        |m| Some(seconds(m.backpressured_nanos.get())),
    ),
    ("state_keys", Kind::Gauge, "Keys that have state.", |m| {
        Some(m.state_keys.get() as f64)
    }),
    (
        "state_bytes",
        Kind::Gauge,
        "Bytes of the state tables in memory, about; texts, lists and maps hold more.",
        |m| Some(m.state_bytes.get() as f64),
    ),
    ("timers", Kind::Gauge, "Timers set.", |m| {
        Some(m.timers.get() as f64)
    }),
    (
        "watermark_timestamp_seconds",
        Kind::Gauge,
        "How far event time has come.",
        watermark,
    ),
];

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Event time that has neither begun nor ended is no time.
fn watermark(metrics: &OperatorMetrics) -> Option<f64> {
    match metrics.watermark_ms.get().cast_signed() {
        0 | i64::MIN | i64::MAX => None,
        watermark_ms => Some(watermark_ms as f64 / 1000.0),
    }
}

fn render(job: &JobView, subtasks: &[SubtaskMetrics]) -> String {
    let mut text = Exposition::new(&[("job_namespace", &job.namespace), ("job_name", &job.name)]);
    render_job(job, &mut text);
    for (name, kind, help, read) in COUNTERS {
        text.family(&format!("tidegate_job_operator_{name}"), *kind, help);
        for subtask in subtasks {
            let Some(value) = read(&subtask.metrics) else {
                continue;
            };
            let index = subtask.subtask_index.to_string();
            text.sample(
                &[("operator", subtask.operator.as_str()), ("subtask", &index)],
                value,
            );
        }
    }
    if let Some(bytes) = resident_bytes() {
        text.family(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Resident memory size.",
        );
        text.sample(&[], bytes);
    }
    text.finish()
}

fn render_job(job: &JobView, text: &mut Exposition) {
    let is_running = f64::from(u8::from(job.phase.phase == Phase::Running));
    text.family(
        "tidegate_job_running",
        Kind::Gauge,
        "Whether every subtask runs.",
    );
    text.sample(&[], is_running);
    render_phase(job, text);
    text.family(
        "tidegate_job_parallelism",
        Kind::Gauge,
        "Subtasks of each operator.",
    );
    text.sample(&[], f64::from(job.parallelism));
    let help = "When the process started.";
    text.family("tidegate_job_start_timestamp_seconds", Kind::Gauge, help);
    text.sample(&[], job.started_ms as f64 / 1000.0);
    let help = "Restarts of the job within this process.";
    text.family("tidegate_job_restarts_total", Kind::Counter, help);
    text.sample(&[], f64::from(job.phase.restart_count));
    let help = "Processes of the job that were started again in this container.";
    text.family("tidegate_job_process_restarts_total", Kind::Counter, help);
    text.sample(&[], f64::from(job.process_restart_count));
    let help = "Checkpoints and savepoints that ended.";
    text.family("tidegate_job_checkpoints_total", Kind::Counter, help);
    text.sample(
        &[("result", "completed")],
        job.completed_checkpoint_count as f64,
    );
    text.sample(&[("result", "failed")], job.failed_checkpoint_count as f64);
    let help = "Checkpoints that failed since one was completed.";
    text.family(
        "tidegate_job_checkpoint_failures_in_a_row",
        Kind::Gauge,
        help,
    );
    text.sample(&[], f64::from(job.failing_checkpoint_count));
    if let Some(last) = &job.last_checkpoint {
        render_checkpoint(last, text);
    }
}

/// What the job does, and what is wrong where something is.
fn render_phase(job: &JobView, text: &mut Exposition) {
    let help = "What the job does: 1 for its phase and 0 for all others.";
    text.family("tidegate_job_phase", Kind::Gauge, help);
    for phase in Phase::ALL {
        let is_now = f64::from(u8::from(job.phase.phase == phase));
        text.sample(&[("phase", &format!("{phase:?}"))], is_now);
    }
    let help = "Why the job is blocked, waits after a failure or has failed, while it is so.";
    text.family("tidegate_job_trouble", Kind::Gauge, help);
    if let Some(category) = &job.phase.category {
        text.sample(&[("reason", category)], 1.0);
    }
    let help = "The version of Tidegate that the program was built with.";
    text.family("tidegate_job_build_info", Kind::Gauge, help);
    text.sample(&[("version", &job.version)], 1.0);
}

fn render_checkpoint(last: &CheckpointView, text: &mut Exposition) {
    let families = [
        (
            "completed_timestamp_seconds",
            "When it was complete.",
            last.completed_ms as f64 / 1e3,
        ),
        (
            "duration_seconds",
            "How long it took.",
            last.duration_ms as f64 / 1e3,
        ),
        (
            "size_bytes",
            "All files that it needs.",
            last.size_bytes as f64,
        ),
        (
            "written_bytes",
            "The files written for it alone.",
            last.written_bytes as f64,
        ),
    ];
    for (name, help, value) in families {
        let help = format!("The last checkpoint: {help}");
        text.family(
            &format!("tidegate_job_last_checkpoint_{name}"),
            Kind::Gauge,
            &help,
        );
        text.sample(&[], value);
    }
}

/// What the operating system says that this process keeps in memory.
fn resident_bytes() -> Option<f64> {
    let statistics = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statistics.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

#[cfg(test)]
mod tests;
