//! Ready: every subtask runs and checkpoints are recent.

use tidegate_api::status::{ConditionType, LastFailure, Reason};

use super::{FAILING_CHECKPOINTS_MAX, failing, is_overdue, is_true, reported};
use crate::job_api::{JobView, Phase};
use crate::observed::{Observed, PodFacts, RevisionFacts};
use crate::stream_job::draft::Verdict;
use crate::stream_job::failure::{end_count, is_unsound, recent_failure};
use crate::stream_job::standing::{
    SILENCE_MAX_MS, Standing, category_reason, has_pods, reason_text, standing,
};

/// What the condition says about the revision that owns the job.
pub(in crate::stream_job) fn ready(
    observed: &Observed,
    current: Option<&RevisionFacts>,
) -> Verdict {
    let Some(current) = current else {
        return match &observed.refused_write {
            Some(message) => refused(message),
            None => Verdict::no(Reason::Starting, "the job's first revision is made"),
        };
    };
    match standing(observed, &current.revision) {
        Standing::Gone => gone(observed, current),
        Standing::Coming(pod) => Verdict::no(
            Reason::Starting,
            format!("pod {} starts its container", pod.name),
        ),
        Standing::Troubled(pod, trouble) => Verdict::no(
            trouble.reason,
            format!("pod {}: {}", pod.name, trouble.message),
        ),
        Standing::Silent {
            pod,
            since_ms,
            error,
        } => {
            let failure = recent_failure(observed, current, pod);
            let is_brief = observed.now_ms.saturating_sub(since_ms) <= SILENCE_MAX_MS;
            match is_brief {
                true => brief_silence(observed, pod, failure),
                false => silence(pod, error, failure),
            }
        }
        Standing::Says(pod, view) => says(observed, current, (pod, view)),
    }
}

fn refused(message: &str) -> Verdict {
    let message = format!("the API server refuses what the job needs: {message}");
    Verdict::no(Reason::PodRefused, message)
}

fn gone(observed: &Observed, current: &RevisionFacts) -> Verdict {
    if let Some(message) = current.refused.as_ref().or(observed.refused_write.as_ref()) {
        return refused(message);
    }
    let message = match has_pods(observed, current) {
        true => "the pod is replaced",
        false => "a pod is made",
    };
    Verdict::no(Reason::Starting, message)
}

/// One answer that is late makes no job unready.
fn brief_silence(observed: &Observed, pod: &PodFacts, failure: Option<LastFailure>) -> Verdict {
    let before = reported(observed.job.status.as_ref(), ConditionType::Ready);
    let pod = &pod.name;
    before
        .filter(|before| is_true(before.status))
        .or(failure.as_ref().map(ended))
        .unwrap_or_else(|| Verdict::no(Reason::Starting, format!("pod {pod} does not answer yet")))
}

/// A process that has just failed says nothing because it is not there; of any other one, it is
/// not known how it is.
fn silence(pod: &PodFacts, error: &str, failure: Option<LastFailure>) -> Verdict {
    match failure.as_ref().map(ended) {
        Some(ended) => Verdict {
            message: format!("the job does not answer after a failure. {}", ended.message),
            ..ended
        },
        None => {
            let pod = &pod.name;
            let message = format!("pod {pod} runs, but its job API does not answer: {error}");
            Verdict::unknown(Reason::Unreachable, message)
        }
    }
}

/// A process has ended, and the next one comes or has only just come. The failure carries its own
/// advice.
fn ended(failure: &LastFailure) -> Verdict {
    let message = format!(
        "the job starts again from its latest checkpoint: {}",
        failure.message
    );
    Verdict::no(failure.reason, message)
}

fn says(
    observed: &Observed,
    current: &RevisionFacts,
    (pod, view): (&PodFacts, &JobView),
) -> Verdict {
    let reason = || reason_text(view);
    match view.phase {
        Phase::Running if is_unsound(pod, view, observed.now_ms) => {
            let failure = recent_failure(observed, current, pod);
            failure.map_or_else(|| running(observed, current, view), |it| ended(&it))
        }
        Phase::Running => running(observed, current, view),
        Phase::Starting | Phase::Restoring => starting(observed, current, (pod, view)),
        Phase::BackingOff => restarting(view),
        Phase::Blocked => Verdict::no(
            category_reason(view),
            format!("the job cannot start: {}", reason()),
        ),
        Phase::Failed => {
            let message = format!("the job has failed: {}; change the spec to go on", reason());
            Verdict::no(category_reason(view), message)
        }
        Phase::Holding => Verdict::no(Reason::Starting, "the job is prepared and is let go"),
        Phase::Stopping => Verdict::no(Reason::Starting, "the job takes a last checkpoint"),
        Phase::Stopped => Verdict::no(Reason::Starting, "the job has stopped and is started again"),
        Phase::Finished => {
            let message = "all input was read, and its results are committed; a changed spec \
                           starts the job again";
            Verdict::no(Reason::Finished, message)
        }
        Phase::Fenced => {
            let message = "another process has taken the job over, with the same storage, \
                           namespace and name: in this cluster it is waited for; if it is of \
                           another cluster or was started by hand, end it, or both go on taking \
                           the job from each other";
            Verdict::no(Reason::Fenced, message)
        }
        Phase::Unknown => {
            let message = "the job says something that this controller does not know; upgrade the \
                           controller";
            Verdict::unknown(Reason::Unreachable, message)
        }
    }
}

fn starting(
    observed: &Observed,
    current: &RevisionFacts,
    (pod, view): (&PodFacts, &JobView),
) -> Verdict {
    if view.last_failure.is_some() {
        return restarting(view);
    }
    if end_count(pod, view) > 0
        && let Some(failure) = recent_failure(observed, current, pod)
    {
        return ended(&failure);
    }
    let message = match view.phase {
        Phase::Starting => "the job reads its checkpoint log",
        _ => "subtasks restore their state",
    };
    Verdict::no(Reason::Starting, message)
}

fn restarting(view: &JobView) -> Verdict {
    let message = format!(
        "the job starts again from its latest checkpoint: {}",
        reason_text(view)
    );
    Verdict::no(Reason::Restarting, message)
}

fn running(observed: &Observed, current: &RevisionFacts, view: &JobView) -> Verdict {
    if view.failing_checkpoint_count >= FAILING_CHECKPOINTS_MAX {
        return failing(observed, (ConditionType::Ready, "the job runs, but "), view);
    }
    if is_overdue(observed, current, view) {
        let message = "the job runs, but its newest checkpoint is too old";
        return Verdict::no(Reason::CheckpointOverdue, message);
    }
    let parallelism = view.parallelism;
    Verdict::yes(
        Reason::Running,
        format!("every subtask runs, at parallelism {parallelism}"),
    )
}
