//! From a checkpoint as the job tells it to the object's status.

use tidegate_api::checkpoint::{CheckpointState, CheckpointStatus};
use tidegate_api::job_config::job_folder;

use super::CheckpointsObserved;
use crate::job_api::CheckpointView;
use crate::settings::Settings;
use crate::text::bounded;
use crate::time::to_seconds_text;

/// What the schema allows, and a character has a byte at least.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024;

/// The status of a completed checkpoint of the observed job.
pub(super) fn completed(
    view: &CheckpointView,
    observed: &CheckpointsObserved,
    settings: &Settings,
) -> CheckpointStatus {
    let access = observed.access(settings);
    let location = access.as_ref().map(|access| {
        let (namespace, job_name) = (&observed.namespace, &observed.job_name);
        let folder = job_folder(&access.storage.url, namespace, job_name);
        format!("{folder}#{}", view.id)
    });
    CheckpointStatus {
        state: CheckpointState::Completed,
        id: i64::try_from(view.id).ok(),
        kind: Some(view.kind),
        completed_time: Some(to_seconds_text(view.completed_ms)),
        duration_milliseconds: i64::try_from(view.duration_ms).ok(),
        duration: Some(duration(view.duration_ms)),
        size_bytes: i64::try_from(view.size_bytes).ok(),
        size: Some(size(view.size_bytes)),
        parallelism: i32::try_from(view.parallelism).ok(),
        location,
        message: None,
        access,
    }
}

/// A status without a checkpoint: one is asked for, or could not be taken.
pub(super) fn asked(state: CheckpointState, message: String) -> CheckpointStatus {
    CheckpointStatus {
        state,
        id: None,
        kind: None,
        completed_time: None,
        duration_milliseconds: None,
        duration: None,
        size_bytes: None,
        size: None,
        parallelism: None,
        location: None,
        message: Some(bounded(&message, MESSAGE_BYTES_MAX)),
        access: None,
    }
}

fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => format!("{}m{}s", ms / 60_000, ms % 60_000 / 1000),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    // Tenths of the unit at hand, so that no float is needed.
    let (mut tenths, mut unit) = (bytes.saturating_mul(10) / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0B")]
    #[case(1023, "1023B")]
    #[case(1024, "1.0KiB")]
    #[case(1536, "1.5KiB")]
    #[case(1_048_576, "1.0MiB")]
    #[case(5_000_000_000, "4.6GiB")]
    fn sizes_are_short(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(size(bytes), text);
    }

    #[rstest]
    #[case(24, "24ms")]
    #[case(1500, "1.5s")]
    #[case(61_000, "1m1s")]
    fn durations_are_short(#[case] ms: u64, #[case] text: &str) {
        assert_eq!(duration(ms), text);
    }
}
