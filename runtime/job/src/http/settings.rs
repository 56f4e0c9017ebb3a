//! Settings that change while the job runs.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::commands::body;
use super::{Api, Problem, Seat};
use crate::command::{Ask, CommandError};
use crate::model::{LogLevelView, SettingsView};

/// What to change; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SettingsRequest {
    /// From one checkpoint's start to the next one's; null to take savepoints only.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<u64>", range(min = 1))]
    checkpoint_interval_ms: Option<Option<u64>>,
    /// How many of the newest checkpoints are kept; at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    retained_checkpoints: Option<u32>,
    /// The lowest level that is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_level: Option<LogLevelView>,
}

/// Tells null from absent.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl SettingsRequest {
    fn check(&self) -> Result<(), Problem> {
        if self.checkpoint_interval_ms == Some(Some(0)) {
            let detail = "checkpointIntervalMs is 0; give null to take savepoints only";
            return Err(Problem::bad_request(detail));
        }
        if self.retained_checkpoints == Some(0) {
            let detail = "retainedCheckpoints is 0, but must be at least 1";
            return Err(Problem::bad_request(detail));
        }
        Ok(())
    }

    fn apply(&self, settings: &mut SettingsView) {
        if let Some(interval_ms) = self.checkpoint_interval_ms {
            settings.checkpoint_interval_ms = interval_ms;
        }
        if let Some(count) = self.retained_checkpoints {
            settings.retained_checkpoints = count;
        }
        if let Some(level) = self.log_level {
            settings.log_level = level;
        }
    }
}

pub(super) async fn change(
    State(api): State<Api>,
    ConnectInfo(seat): ConnectInfo<Seat>,
    request: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Result<Json<SettingsView>, Problem> {
    let request: SettingsRequest = body(request)?;
    request.check()?;
    let settings = api
        .status
        .change_settings(|settings| request.apply(settings));
    api.log_levels.set(settings.log_level);
    let ask = Ask::Reconfigure {
        checkpoint_interval_ms: settings.checkpoint_interval_ms,
        retained_checkpoints: settings.retained_checkpoints,
    };
    match api.ask(&seat, ask).await {
        // A job that is over takes none, and it does not matter.
        Ok(_) | Err(CommandError::Over) => Ok(Json(settings)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_stays_and_null_turns_checkpoints_off() {
        let mut settings = SettingsView {
            checkpoint_interval_ms: Some(1000),
            retained_checkpoints: 3,
            log_level: LogLevelView::Info,
        };
        let request = |value| serde_json::from_value::<SettingsRequest>(value).unwrap();
        request(json!({"logLevel": "Debug"})).apply(&mut settings);
        assert_eq!(settings.checkpoint_interval_ms, Some(1000));
        assert_eq!(settings.log_level, LogLevelView::Debug);
        request(json!({"checkpointIntervalMs": null})).apply(&mut settings);
        assert_eq!(settings.checkpoint_interval_ms, None);
        assert_eq!(settings.retained_checkpoints, 3);
        assert!(request(json!({"retainedCheckpoints": 0})).check().is_err());
    }
}
