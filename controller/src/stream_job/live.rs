//! The revision that owns the job: kept running, let go, changed while it runs, replaced when it
//! was fenced by nobody who still runs.

use tidegate_api::job_config::{JobConfig, StartPoint};
use tidegate_api::status::{ConditionType, Reason};

use super::draft::{Draft, Verdict, start_of};
use super::standing::{Standing, is_live, proves_let_go};
use super::standstill::awaits_mirror;
use crate::build::{self, StartState};
use crate::job_api::{JobCommand, JobView, Phase, SettingsView};
use crate::observed::{ApiFacts, PodFacts, RevisionFacts};
use crate::plan::{ChildName, Decision};

/// Two controllers whose jobs fence each other leave each one so much time.
const REPLACE_PAUSE_MS: i64 = 30_000;

/// Has the current revision run, and do what the spec asks for.
pub(super) fn run(draft: &mut Draft<'_>, current: &RevisionFacts) {
    let standing = draft.standing(&current.revision);
    if is_finished(draft, current, standing) {
        if awaits_mirror(draft, standing) {
            draft.soon();
        } else {
            draft.ensure_current(current, 0);
        }
        draft.decision = Decision::StayFinished;
        let message = "all input was read, and its results are committed; a changed spec starts \
                       the job again";
        draft.ready = Some(Verdict::no(Reason::Finished, message));
        return;
    }
    if matches!(standing.phase(), Some(Phase::Fenced)) && may_replace(draft, current) {
        replace_fenced(draft, current);
        return;
    }
    if is_elsewhere(draft, current) {
        // Its processes read where they belong only when they start.
        let generation = draft.next_generation();
        restart(draft, current, generation, start_of(current).from);
    } else {
        draft.ensure_current(current, 1);
    }
    match standing {
        Standing::Says(pod, view)
            if view.phase == Phase::Blocked
                && (view.start_generation).is_some_and(|it| it < current.start_generation) =>
        {
            replace(draft, pod);
            draft.decision = Decision::AwaitStart;
        }
        Standing::Says(pod, view) => converse(draft, pod, view),
        Standing::Gone | Standing::Coming(_) | Standing::Troubled(..) | Standing::Silent { .. } => {
            draft.decision = Decision::AwaitStart;
            draft.soon();
        }
    }
}

/// Whether the installation's default storage is another one than when the revision was made.
fn is_elsewhere(draft: &Draft<'_>, current: &RevisionFacts) -> bool {
    let config = current.config.as_ref();
    current.revision == draft.wanted.revision
        && config.is_some_and(|config| config.storage != draft.wanted.storage)
}

/// Whether the job is over, as its process says, or as was reported before its pods went.
fn is_finished(draft: &Draft<'_>, current: &RevisionFacts, standing: Standing<'_>) -> bool {
    standing.phase() == Some(Phase::Finished)
        || current.replicas == 0 && was_finished(draft, &current.revision)
}

/// Whether it was reported that the job is over, and has been since.
pub(super) fn was_finished(draft: &Draft<'_>, revision: &str) -> bool {
    draft.reported().is_some_and(|status| {
        let ready = status.condition(ConditionType::Ready);
        status.revision.as_deref() == Some(revision)
            && ready.is_some_and(|ready| ready.reason == Reason::Finished)
    })
}

fn converse(draft: &mut Draft<'_>, pod: &PodFacts, view: &JobView) {
    draft.decision = match view.phase {
        Phase::Running => tune(draft, pod, view),
        Phase::Holding => {
            draft.ask(&pod.name, JobCommand::Start);
            Decision::AwaitStart
        }
        // Its process stays to tell so, and only a new one goes on.
        Phase::Stopped => {
            replace(draft, pod);
            Decision::AwaitStart
        }
        Phase::Starting
        | Phase::Blocked
        | Phase::Restoring
        | Phase::BackingOff
        | Phase::Stopping
        | Phase::Finished
        | Phase::Unknown => {
            draft.soon();
            Decision::AwaitStart
        }
        // Nothing happens by itself.
        Phase::Fenced | Phase::Failed => Decision::AwaitStart,
    };
}

/// Changes what differs while the job runs.
fn tune(draft: &mut Draft<'_>, pod: &PodFacts, view: &JobView) -> Decision {
    let job = &draft.wanted.job;
    let wanted = SettingsView {
        checkpoint_interval_ms: job.checkpoint.interval_ms,
        retained_checkpoints: job.checkpoint.retained_count,
        log_level: job.log_level,
    };
    let parallelism = job.parallelism;
    let differs = view
        .settings
        .as_ref()
        .is_some_and(|settings| *settings != wanted);
    if differs {
        let command = JobCommand::Settings {
            checkpoint_interval_ms: wanted.checkpoint_interval_ms,
            retained_checkpoints: wanted.retained_checkpoints,
            log_level: wanted.log_level,
        };
        draft.ask(&pod.name, command);
    }
    let is_rescaled = view.parallelism != parallelism;
    if is_rescaled {
        draft.ask(&pod.name, JobCommand::Rescale { parallelism });
    }
    match differs || is_rescaled {
        true => Decision::ChangeLive,
        false => Decision::Steady,
    }
}

/// A fenced process is replaced when no other process of the job can have fenced it and still run,
/// and when nobody is known to have taken over. Who fences it again may run where this controller
/// sees nobody, and does the same.
fn may_replace(draft: &Draft<'_>, current: &RevisionFacts) -> bool {
    let started_ms = i64::try_from(current.start_generation).unwrap_or(i64::MAX);
    let age_ms = draft.observed.now_ms.saturating_sub(started_ms);
    let is_reported = draft.revision.as_ref() == Some(&current.revision);
    let runs = |pod: &PodFacts| match &pod.api {
        ApiFacts::NotRunning => false,
        ApiFacts::Silent { .. } => true,
        ApiFacts::Answers { job, .. } => proves_let_go(job) || job.phase == Phase::Starting,
    };
    is_reported
        && age_ms >= REPLACE_PAUSE_MS
        && !draft
            .observed
            .pods
            .iter()
            .any(|pod| is_live(pod) && runs(pod))
}

/// The fenced pods go. The new one gets a start generation of its own, so that whatever fenced the
/// old ones cannot fence it too.
fn replace_fenced(draft: &mut Draft<'_>, current: &RevisionFacts) {
    let generation = draft.next_generation();
    let latest = StartState::new(StartPoint::Latest);
    restart(draft, current, generation, latest);
    let observed = draft.observed;
    let fenced = |pod: &&PodFacts| {
        let phase = pod.view().map(|view| view.phase);
        is_live(pod) && pod.revision == current.revision && phase == Some(Phase::Fenced)
    };
    for pod in observed.pods.iter().filter(fenced) {
        replace(draft, pod);
    }
    draft.decision = Decision::ReplaceFenced;
}

/// Has a revision start anew, under a later start generation.
pub(super) fn restart(
    draft: &mut Draft<'_>,
    facts: &RevisionFacts,
    generation: u64,
    from: StartState,
) {
    if facts.revision == draft.wanted.revision {
        let start = build::Start {
            generation,
            from,
            hold: false,
        };
        draft.ensure(Some(facts), start, 1);
        return;
    }
    let Some(config) = &facts.config else {
        draft.scale(facts, 1);
        return;
    };
    let config = JobConfig {
        start_generation: Some(generation),
        start_from: from.point,
        start_from_generation: from.asked,
        hold: false,
        ..build::with_live_fields(config, &draft.wanted.job)
    };
    draft.ensure_other(facts, config, 1);
}

pub(super) fn replace(draft: &mut Draft<'_>, pod: &PodFacts) {
    draft.delete.push(removal(pod));
    draft.soon();
}

/// The deletion of this very pod.
pub(super) fn removal(pod: &PodFacts) -> ChildName {
    ChildName::Pod {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
    }
}
