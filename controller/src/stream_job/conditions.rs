//! The job's health as conditions: each a statement, a word for programs, a sentence for people.

mod checkpointing;
mod ready;

use tidegate_api::status::{Condition, ConditionStatus, ConditionType, Reason, StreamJobStatus};

pub(super) use checkpointing::checkpointing;
pub(super) use ready::ready;

use super::draft::Verdict;
use crate::job_api::JobView;
use crate::observed::{Observed, RevisionFacts};
use crate::text::bounded;
use crate::time::to_seconds_text;

/// So many checkpoints that failed in a row are no accident: the job's readiness has the same.
const FAILING_CHECKPOINTS_MAX: u32 = 3;

/// The condition of a type, as it is now. Its time is that of the last change of its status.
pub(super) fn condition(type_: ConditionType, verdict: Verdict, observed: &Observed) -> Condition {
    let before = observed
        .job
        .status
        .as_ref()
        .and_then(|status| status.condition(type_));
    let unchanged = before.filter(|before| before.status == verdict.status);
    let time = unchanged.map_or_else(
        || to_seconds_text(observed.now_ms),
        |before| before.last_transition_time.clone(),
    );
    Condition {
        type_,
        status: verdict.status,
        reason: verdict.reason,
        message: bounded(&verdict.message, bytes_max(type_)),
        observed_generation: observed.job.metadata.generation,
        last_transition_time: time,
    }
}

/// How long a message gets: together they leave the status below 4 kB.
const fn bytes_max(type_: ConditionType) -> usize {
    match type_ {
        ConditionType::Ready => 800,
        ConditionType::Valid => 500,
        ConditionType::Checkpointing => 250,
        ConditionType::UpToDate => 450,
    }
}

/// What was reported last, as a verdict.
pub(super) fn reported(status: Option<&StreamJobStatus>, type_: ConditionType) -> Option<Verdict> {
    let condition = status?.condition(type_)?;
    Some(Verdict {
        status: condition.status,
        reason: condition.reason,
        message: condition.message.clone(),
    })
}

/// Whether the newest checkpoint of a running job is older than its settings allow. By then one was
/// triggered, and has completed or failed; a job that has just begun to run owes none yet.
fn is_overdue(observed: &Observed, current: &RevisionFacts, view: &JobView) -> bool {
    let Some(config) = &current.config else {
        return false;
    };
    let checkpoint = &config.checkpoint;
    let Some(interval_ms) = checkpoint.interval_ms else {
        return false;
    };
    let age_max_ms = interval_ms
        .saturating_add(checkpoint.min_pause_ms)
        .saturating_add(checkpoint.timeout_ms);
    let running_since_ms = super::standing::phase_since_ms(view);
    let completed_ms = view.last_checkpoint.as_ref().map(|last| last.completed_ms);
    let since_ms = completed_ms.map_or(running_since_ms, |ms| ms.max(running_since_ms));
    let age_ms = observed.now_ms.saturating_sub(since_ms);
    u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > age_max_ms)
}

/// Checkpoints that fail, with the last one's reason. What names objects and numbers differs from
/// one to the next; that alone is no news.
fn failing(observed: &Observed, (type_, lead): (ConditionType, &str), view: &JobView) -> Verdict {
    let count = at_least(view.failing_checkpoint_count);
    let what = format!("{lead}{count} checkpoints in a row have failed");
    let last = view.last_failed_checkpoint.as_ref();
    let why = last.map_or_else(String::new, |last| {
        format!("; the last one: {}", last.reason)
    });
    let message = bounded(&format!("{what}{why}"), bytes_max(type_));
    let words = |text: &str| text.replace(|c: char| c.is_ascii_hexdigit(), "");
    let before = reported(observed.job.status.as_ref(), type_);
    before
        .filter(|before| before.message.starts_with(&what))
        .filter(|before| words(&before.message) == words(&message))
        .unwrap_or_else(|| Verdict::no(Reason::CheckpointFailing, message))
}

/// A count that grows while it fails, told so that it changes rarely.
fn at_least(count: u32) -> String {
    match count {
        1000.. => "at least 1000".to_owned(),
        100.. => "at least 100".to_owned(),
        10.. => "at least 10".to_owned(),
        FAILING_CHECKPOINTS_MAX.. => format!("at least {FAILING_CHECKPOINTS_MAX}"),
        _ => count.to_string(),
    }
}

/// A condition that holds, does not, or cannot be told, in a word.
pub(super) const fn is_true(status: ConditionStatus) -> bool {
    matches!(status, ConditionStatus::True)
}
