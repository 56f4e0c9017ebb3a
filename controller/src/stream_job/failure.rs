//! What went wrong last: kept in the status after the job has survived it, since a process that is
//! started again in place leaves no other trace that a person would find.

use tidegate_api::status::{LastFailure, Reason, StreamJobStatus};

use super::standing::live_pods;
use crate::job_api::{ExitView, FailureView, JobView};
use crate::observed::{Observed, PodFacts, RevisionFacts};
use crate::text::bounded;
use crate::time::{from_text, to_seconds_text};

const MESSAGE_BYTES_MAX: usize = 1000;
/// Lines of a process's error that stand beside how it ended.
const LINES_MAX: usize = 8;
/// The category of an end at the memory limit.
const OUT_OF_MEMORY: &str = Reason::OutOfMemory.as_str();
/// A process whose forerunners ended runs soundly when it has lived for so long.
const SOUND_LIFE_MS: i64 = 30_000;
/// The first end is an accident, after which the next process is believed at once.
const ACCIDENTS_MAX: u32 = 1;
/// For so long, a failure is the likely cause of what is seen after it.
const RECENT_MS: i64 = 120_000;

/// How often a process of this pod ended and was started again, in place or by kubelet.
pub(super) fn end_count(pod: &PodFacts, view: &JobView) -> u32 {
    let containers = u32::try_from(pod.restart_count).unwrap_or_default();
    view.process_restart_count.saturating_add(containers)
}

/// Whether processes of this pod end again and again, and this one has not lived for longer yet:
/// that it runs means nothing.
pub(super) fn is_unsound(pod: &PodFacts, view: &JobView, now_ms: i64) -> bool {
    end_count(pod, view) > ACCIDENTS_MAX && now_ms.saturating_sub(view.started_ms) < SOUND_LIFE_MS
}

/// What this pod failed of a moment ago, if it did.
pub(super) fn recent_failure(
    observed: &Observed,
    current: &RevisionFacts,
    pod: &PodFacts,
) -> Option<LastFailure> {
    let recent_ms = observed.now_ms.saturating_sub(RECENT_MS);
    failure_since(observed, current, recent_ms.max(pod.created_ms))
}

/// The newest failure, if it is of this time or later.
pub(super) fn failure_since(
    observed: &Observed,
    current: &RevisionFacts,
    since_ms: i64,
) -> Option<LastFailure> {
    let before = observed.job.status.clone().unwrap_or_default();
    let newest = last_failure(observed, Some(current), &before)?;
    // Times are kept in whole seconds.
    let is_late = from_text(&newest.time).is_some_and(|ms| ms >= since_ms.div_euclid(1000) * 1000);
    is_late.then_some(newest)
}

/// The newest failure that the current revision's pods tell of, else the one that was known.
pub(super) fn last_failure(
    observed: &Observed,
    current: Option<&RevisionFacts>,
    before: &StreamJobStatus,
) -> Option<LastFailure> {
    let known = before.last_failure.clone();
    let Some(current) = current else {
        return known;
    };
    let known_ms = known.as_ref().and_then(|known| from_text(&known.time));
    let pods = live_pods(observed, &current.revision);
    let told = pods.flat_map(|pod| failures(pod, observed.now_ms, known.as_ref()));
    let newest = told.max_by_key(|(time_ms, _)| *time_ms);
    match newest {
        // Times are kept in whole seconds.
        Some((time_ms, failure)) if known_ms < Some(time_ms.div_euclid(1000) * 1000) => {
            Some(failure)
        }
        _ => known,
    }
}

/// The failures that one pod tells of, each with its time.
fn failures(pod: &PodFacts, now_ms: i64, known: Option<&LastFailure>) -> Vec<(i64, LastFailure)> {
    let mut failures = Vec::new();
    if let Some(view) = pod.view() {
        failures.extend(view.last_exit.as_ref().map(exit));
        failures.extend(view.last_failure.as_ref().map(attempt));
    }
    if let Some(trouble) = &pod.trouble
        && matches!(trouble.reason, Reason::OutOfMemory | Reason::CrashLoop)
    {
        let message = bounded(&trouble.message, MESSAGE_BYTES_MAX);
        // One without a time is new when it was not told before.
        let is_known = known.is_some_and(|known| {
            (known.reason, known.message.as_str()) == (trouble.reason, message.as_str())
        });
        let time_ms = trouble.ended_ms.or((!is_known).then_some(now_ms));
        failures.extend(time_ms.map(|time_ms| failure(time_ms, trouble.reason, message)));
    }
    failures
}

fn exit(ended: &ExitView) -> (i64, LastFailure) {
    let reason = match ended.category.as_deref() {
        Some(OUT_OF_MEMORY) => Reason::OutOfMemory,
        _ => Reason::Restarting,
    };
    let skipped = ended.last_lines.len().saturating_sub(LINES_MAX);
    let lines = ended.last_lines[skipped..].join("\n");
    let mut message = format!("the job process {}", ended.description);
    if !lines.is_empty() {
        message = format!("{message}; its last lines:\n{lines}");
    }
    failure(ended.time_ms, reason, bounded(&message, MESSAGE_BYTES_MAX))
}

fn attempt(failed: &FailureView) -> (i64, LastFailure) {
    let place = failed
        .operator
        .as_ref()
        .map(|operator| format!("operator `{operator}`: "));
    let message = format!("{}{}", place.unwrap_or_default(), failed.message);
    let message = bounded(&message, MESSAGE_BYTES_MAX);
    failure(failed.time_ms, Reason::Restarting, message)
}

fn failure(time_ms: i64, reason: Reason, message: String) -> (i64, LastFailure) {
    let time = to_seconds_text(time_ms);
    (
        time_ms,
        LastFailure {
            time,
            reason,
            message,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(category: Option<&str>) -> ExitView {
        ExitView {
            time_ms: 1_790_000_000_500,
            description: "was killed at the container's memory limit of 128Mi".to_owned(),
            category: category.map(str::to_owned),
            last_lines: (0..20).map(|number| format!("line {number}")).collect(),
        }
    }

    #[test]
    fn an_end_at_the_memory_limit_is_told_with_the_figure_and_the_last_lines() {
        let (_, failure) = exit(&ended(Some(OUT_OF_MEMORY)));
        assert_eq!(failure.reason, Reason::OutOfMemory);
        assert_eq!(failure.time, "2026-09-21T14:13:20Z");
        assert!(failure.message.contains("128Mi"), "{}", failure.message);
        assert!(failure.message.ends_with("line 19"), "{}", failure.message);
        assert!(!failure.message.contains("line 11"), "{}", failure.message);
    }

    #[test]
    fn any_other_end_is_a_restart() {
        assert_eq!(exit(&ended(None)).1.reason, Reason::Restarting);
    }
}
