//! Whether the process lives, and whether the job does what it is for.

use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use crate::clock::system_ms;
use crate::model::{JobView, Phase};

/// A driver that has not gone through its loop for this long hangs.
const SILENCE_MAX_MS: i64 = 30_000;
/// So many checkpoints that failed in a row are no accident.
const FAILING_CHECKPOINTS_MAX: u32 = 3;

/// The process lives as long as its driver goes through its loop.
pub(super) async fn livez(State(api): State<Api>) -> (StatusCode, String) {
    let silent_ms = system_ms().saturating_sub(api.status.alive_ms());
    answer(if silent_ms > SILENCE_MAX_MS {
        Err(format!("the job's driver has not moved for {silent_ms} ms"))
    } else {
        Ok(())
    })
}

/// The job is ready when its subtasks run and its last checkpoint is not too old.
pub(super) async fn readyz(State(api): State<Api>) -> (StatusCode, String) {
    let now_ms = system_ms();
    let view = api.status.view();
    let running_ms = now_ms.saturating_sub(view.phase_since_ms);
    let interval_ms = view.settings.checkpoint_interval_ms;
    answer(ready(
        &view,
        now_ms,
        running_ms,
        // By then one was triggered, and has completed or failed.
        interval_ms.map(|interval_ms| interval_ms.saturating_add(api.checkpoint_lag_ms)),
    ))
}

fn answer(health: Result<(), String>) -> (StatusCode, String) {
    match health {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

fn ready(
    job: &JobView,
    now_ms: i64,
    running_ms: i64,
    age_max_ms: Option<u64>,
) -> Result<(), String> {
    let phase = &job.phase;
    if phase.phase != Phase::Running {
        let reason = phase
            .reason
            .as_deref()
            .map_or(String::new(), |reason| format!(": {reason}"));
        return Err(format!("the job is {:?}{reason}", phase.phase));
    }
    if job.failing_checkpoint_count >= FAILING_CHECKPOINTS_MAX {
        let count = job.failing_checkpoint_count;
        let last = job.last_failed_checkpoint.as_ref();
        let why = last.map_or(String::new(), |last| {
            format!("; the last one: {}", last.reason)
        });
        return Err(format!("{count} checkpoints in a row have failed{why}"));
    }
    let Some(age_max_ms) = age_max_ms else {
        return Ok(());
    };
    // A job that has just begun to run owes no checkpoint yet.
    let age_ms = match &job.last_checkpoint {
        Some(last) => now_ms.saturating_sub(last.completed_ms).min(running_ms),
        None => running_ms,
    };
    match u64::try_from(age_ms) {
        Ok(age_ms) if age_ms > age_max_ms => Err(format!(
            "the last checkpoint is {age_ms} ms old, {age_max_ms} ms are allowed"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(phase: &str, failing: u32) -> JobView {
        let value = json!({
            "namespace": "n", "name": "j", "folder": "f", "phase": phase, "restartCount": 0,
            "parallelism": 1, "maxParallelism": 128, "startedMs": 0,
            "phaseSinceMs": 0, "results": [],
            "version": "1", "processRestartCount": 0,
            "settings": {"retainedCheckpoints": 3, "logLevel": "Warn"},
            "completedCheckpointCount": 0, "failedCheckpointCount": 0, "warnings": [],
            "failingCheckpointCount": failing, "progress": crate::model::ProgressView::default(),
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_a_running_job_with_fresh_checkpoints_is_ready() {
        assert_eq!(ready(&job("Running", 0), 5000, 5000, Some(6000)), Ok(()));
        assert!(ready(&job("Restoring", 0), 0, 0, None).is_err());
        assert!(ready(&job("Running", 3), 0, 0, None).is_err());
        assert!(ready(&job("Running", 0), 7000, 7000, Some(6000)).is_err());
        assert_eq!(
            ready(&job("Running", 0), 7000, 7000, None),
            Ok(()),
            "savepoints only"
        );
    }
}
