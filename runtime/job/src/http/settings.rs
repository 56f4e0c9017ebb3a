//! Settings that change while the job runs.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use serde_json::{Map, Value};

use super::commands::body;
use super::{Api, Problem, Seat};
use crate::command::{Ask, CommandError, Commands};
use crate::model::{SettingsChange, SettingsView};
use crate::status::JobStatus;

fn check(change: &SettingsChange) -> Result<(), Problem> {
    if change.checkpoint_interval_ms == Some(Some(0)) {
        let detail = "checkpointIntervalMs is 0; give null to take savepoints only";
        return Err(Problem::bad_request(detail));
    }
    if change.retained_checkpoints == Some(0) {
        let detail = "retainedCheckpoints is 0, but must be at least 1";
        return Err(Problem::bad_request(detail));
    }
    Ok(())
}

pub(super) async fn change(
    State(api): State<Api>,
    ConnectInfo(seat): ConnectInfo<Seat>,
    request: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Result<Json<SettingsView>, Problem> {
    let change: SettingsChange = body(request)?;
    check(&change)?;
    let _work = seat.work();
    let settings = make(&api.status, &api.commands, change).await?;
    api.log_levels.set(settings.log_level);
    Ok(Json(settings))
}

/// Changes the settings, and gives all of them. Whoever carries the change out writes the status,
/// so that it tells what is in force.
async fn make(
    status: &JobStatus,
    commands: &Commands,
    change: SettingsChange,
) -> Result<SettingsView, CommandError> {
    match commands.ask(Ask::Reconfigure(change.clone())).await {
        Ok(_) => Ok(status.view().settings),
        // A job that is over takes none, and it does not matter.
        Err(CommandError::Over) => Ok(status.change_settings(|settings| change.apply(settings))),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::model::LogLevelView;
    use crate::status::example;

    fn change_of(value: Value) -> SettingsChange {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_left_out_stays_and_null_turns_checkpoints_off() {
        let mut settings = SettingsView {
            checkpoint_interval_ms: Some(1000),
            retained_checkpoints: 3,
            log_level: LogLevelView::Info,
        };
        change_of(json!({"logLevel": "Debug"})).apply(&mut settings);
        assert_eq!(settings.checkpoint_interval_ms, Some(1000));
        assert_eq!(settings.log_level, LogLevelView::Debug);
        change_of(json!({"checkpointIntervalMs": null})).apply(&mut settings);
        assert_eq!(settings.checkpoint_interval_ms, None);
        assert_eq!(settings.retained_checkpoints, 3);
        assert!(check(&change_of(json!({"retainedCheckpoints": 0}))).is_err());
    }

    #[tokio::test]
    async fn a_change_that_is_refused_is_not_told_as_made() {
        let status = example();
        let before = status.view().settings;
        let change = change_of(json!({"retainedCheckpoints": 9, "logLevel": "Trace"}));
        let (commands, waiting) = Commands::channel();
        // As many wait as may; nobody takes them.
        while commands.ask(Ask::Start).now_or_never().is_none() {}
        let made = make(&status, &commands, change.clone()).await;
        assert_eq!(made, Err(CommandError::Busy));
        assert_eq!(status.view().settings, before);

        drop(waiting);
        let made = make(&status, &commands, change).await.unwrap();
        assert_eq!(made.retained_checkpoints, 9);
        assert_eq!(status.view().settings, made);
    }
}
