use std::sync::Arc;

use serde_json::json;
use tidegate_protocol::{OperatorId, OperatorKind};

use super::*;

fn job() -> JobView {
    let value = json!({
        "namespace": "default", "name": "count", "folder": "f", "phase": "Running",
        "restartCount": 2, "parallelism": 1, "maxParallelism": 128, "startedMs": 1500,
        "phaseSinceMs": 1500,
        "version": "1.2.3", "processRestartCount": 3,
        "settings": {"retainedCheckpoints": 3, "logLevel": "Warn"},
        "results": [], "completedCheckpointCount": 5, "failedCheckpointCount": 1, "warnings": [],
        "failingCheckpointCount": 0, "progress": crate::model::ProgressView::default(),
        "lastCheckpoint": {
            "id": 5, "logNumber": 7, "kind": "Checkpoint", "attempt": 1, "triggeredMs": 1000,
            "completedMs": 1024, "durationMs": 24, "sizeBytes": 100, "writtenBytes": 10,
            "parallelism": 1, "isFinal": false,
        },
    });
    serde_json::from_value(value).unwrap()
}

fn subtask() -> SubtaskMetrics {
    let metrics = OperatorMetrics::default();
    metrics.records_in.add(7);
    metrics.busy_nanos.add(1_500_000_000);
    SubtaskMetrics {
        operator: OperatorId::new("count").unwrap(),
        kind: OperatorKind::Keyed,
        subtask_index: 0,
        metrics: Arc::new(metrics),
    }
}

#[test]
fn each_operator_and_the_job_have_their_values() {
    let text = render(&job(), &[subtask()]);
    let labels = "job_namespace=\"default\",job_name=\"count\"";
    let operator = format!("{labels},operator=\"count\",subtask=\"0\"");
    for expected in [
        format!("tidegate_job_running{{{labels}}} 1\n"),
        format!("tidegate_job_restarts_total{{{labels}}} 2\n"),
        format!("tidegate_job_process_restarts_total{{{labels}}} 3\n"),
        format!("tidegate_job_phase{{{labels},phase=\"Running\"}} 1\n"),
        format!("tidegate_job_phase{{{labels},phase=\"Blocked\"}} 0\n"),
        format!("tidegate_job_build_info{{{labels},version=\"1.2.3\"}} 1\n"),
        format!("tidegate_job_checkpoint_failures_in_a_row{{{labels}}} 0\n"),
        format!("tidegate_job_checkpoints_total{{{labels},result=\"failed\"}} 1\n"),
        format!("tidegate_job_last_checkpoint_duration_seconds{{{labels}}} 0.024\n"),
        format!("tidegate_job_operator_records_in_total{{{operator}}} 7\n"),
        format!("tidegate_job_operator_busy_seconds_total{{{operator}}} 1.5\n"),
    ] {
        assert!(text.contains(&expected), "{expected} is not in\n{text}");
    }
    assert!(
        !text.contains("watermark_timestamp_seconds{"),
        "event time has not begun"
    );
}

#[test]
fn a_blocked_job_tells_why_in_one_word() {
    let mut job = job();
    assert!(!render(&job, &[]).contains("tidegate_job_trouble{"));
    job.phase.phase = Phase::Blocked;
    job.phase.category = Some("BucketMissing".to_owned());
    let text = render(&job, &[]);
    assert!(text.contains(",reason=\"BucketMissing\"} 1\n"), "{text}");
}

#[test]
fn names_and_help_keep_the_rules_that_promtool_checks() {
    let text = render(&job(), &[subtask()]);
    let mut families = 0;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{name}"
            );
            families += 1;
        } else if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(help.ends_with('.'), "{help}");
        } else {
            assert!(line.contains("} "), "{line}");
        }
    }
    assert!(families >= 20);
}
