//! How a revision's processes stand: the most telling of its pods.

use tidegate_api::status::Reason;

use crate::job_api::{JobView, Phase};
use crate::observed::{ApiFacts, Observed, PodFacts, PodTrouble, RevisionFacts};

/// A process that has said nothing for this long is not merely busy.
pub(super) const SILENCE_MAX_MS: i64 = 10_000;

/// How a revision's processes stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing<'a> {
    /// It has no pod that lives.
    Gone,
    /// A pod's container does not run yet, and nothing is wrong.
    Coming(&'a PodFacts),
    /// Something keeps the pod from running.
    Troubled(&'a PodFacts, &'a PodTrouble),
    /// The process does not answer.
    Silent {
        pod: &'a PodFacts,
        since_ms: i64,
        error: &'a str,
    },
    /// The process answers.
    Says(&'a PodFacts, &'a JobView),
}

/// How the revision stands: of several pods, the one that does most.
pub(super) fn standing<'a>(observed: &'a Observed, revision: &str) -> Standing<'a> {
    let best = live_pods(observed, revision).max_by_key(|pod| (rank(pod), pod.created_ms));
    best.map_or(Standing::Gone, of_pod)
}

/// A revision's pods that neither have ended nor are being deleted.
pub(super) fn live_pods<'a>(
    observed: &'a Observed,
    revision: &str,
) -> impl Iterator<Item = &'a PodFacts> {
    let is_live = move |pod: &&PodFacts| pod.revision == revision && is_live(pod);
    observed.pods.iter().filter(is_live)
}

pub(super) fn is_live(pod: &PodFacts) -> bool {
    !pod.is_deleting && !pod.is_over
}

pub(super) fn of_pod(pod: &PodFacts) -> Standing<'_> {
    match (&pod.api, &pod.trouble) {
        (ApiFacts::Answers { job, .. }, _) => Standing::Says(pod, job),
        (_, Some(trouble)) => Standing::Troubled(pod, trouble),
        (ApiFacts::Silent { error, since_ms }, None) => Standing::Silent {
            pod,
            since_ms: *since_ms,
            error,
        },
        (ApiFacts::NotRunning, None) => Standing::Coming(pod),
    }
}

fn rank(pod: &PodFacts) -> u8 {
    match of_pod(pod) {
        Standing::Says(_, view) => match view.phase {
            Phase::Running => 9,
            Phase::Stopping | Phase::Restoring | Phase::BackingOff => 8,
            Phase::Finished => 7,
            Phase::Holding | Phase::Starting | Phase::Unknown => 6,
            Phase::Blocked | Phase::Stopped | Phase::Failed => 5,
            Phase::Fenced => 1,
        },
        Standing::Silent { .. } => 4,
        Standing::Coming(_) => 3,
        Standing::Troubled(..) => 2,
        Standing::Gone => 0,
    }
}

/// Whether what a process says proves that it was let go: it has fenced the log and works, or has
/// worked, under its start generation.
pub(super) fn proves_let_go(view: &JobView) -> bool {
    match view.phase {
        Phase::Restoring
        | Phase::Running
        | Phase::BackingOff
        | Phase::Stopping
        | Phase::Finished => true,
        Phase::Holding | Phase::Fenced => false,
        Phase::Starting | Phase::Blocked | Phase::Stopped | Phase::Failed | Phase::Unknown => {
            view.attempt.is_some() || view.completed_checkpoint_count > 0
        }
    }
}

/// Since when a process is in its phase, as far as it tells.
pub(super) fn phase_since_ms(view: &JobView) -> i64 {
    view.phase_since_ms.unwrap_or(view.started_ms)
}

impl<'a> Standing<'a> {
    /// What the process says, if it answers.
    pub(super) fn view(self) -> Option<&'a JobView> {
        match self {
            Self::Says(_, view) => Some(view),
            Self::Gone | Self::Coming(_) | Self::Troubled(..) | Self::Silent { .. } => None,
        }
    }

    /// Its phase, if it answers.
    pub(super) fn phase(self) -> Option<Phase> {
        self.view().map(|view| view.phase)
    }

    /// What keeps it from running by itself, as a reason and a sentence.
    pub(super) fn trouble(self) -> Option<(Reason, String)> {
        match self {
            Self::Troubled(_, trouble) => Some((trouble.reason, trouble.message.clone())),
            Self::Says(_, view) if matches!(view.phase, Phase::Blocked | Phase::Failed) => {
                Some((category_reason(view), reason_text(view)))
            }
            Self::Gone | Self::Coming(_) | Self::Silent { .. } | Self::Says(..) => None,
        }
    }
}

/// The words that a job process uses, and what they mean here.
const CATEGORIES: &[(&str, Reason)] = &[
    ("AccessDenied", Reason::StorageDenied),
    ("CredentialsMissing", Reason::StorageDenied),
    ("CredentialsWrong", Reason::StorageDenied),
    ("UnsuitableStore", Reason::StorageUnsuitable),
    ("StateMissing", Reason::CheckpointUnreadable),
    ("StateDamaged", Reason::CheckpointUnreadable),
    ("UnknownFormat", Reason::CheckpointUnreadable),
    ("InvalidState", Reason::CheckpointUnreadable),
    ("InvalidStorageUrl", Reason::StorageUnavailable),
    ("NotFound", Reason::StorageUnavailable),
    ("NotAFolder", Reason::StorageUnavailable),
    ("DeviceFailed", Reason::StorageUnavailable),
    ("TooManyFiles", Reason::StorageUnavailable),
    ("RegionWrong", Reason::StorageUnavailable),
    ("ClockSkew", Reason::StorageUnavailable),
    ("TlsFailed", Reason::StorageUnavailable),
    ("StorageFull", Reason::StorageUnavailable),
    ("StorageReadOnly", Reason::StorageUnavailable),
    ("StorageFailed", Reason::StorageUnavailable),
    ("StoreUnreachable", Reason::StorageUnavailable),
    ("StoreTimeout", Reason::StorageUnavailable),
    ("StoreUnavailable", Reason::StorageUnavailable),
    ("RestartsExhausted", Reason::RestartsExhausted),
    ("ProgramFailed", Reason::ProgramFailed),
    ("StorageUnavailable", Reason::StorageUnavailable),
    ("BucketMissing", Reason::BucketMissing),
    ("StorageDenied", Reason::StorageDenied),
    ("StorageUnsuitable", Reason::StorageUnsuitable),
    ("CheckpointMissing", Reason::CheckpointMissing),
    ("CheckpointUnreadable", Reason::CheckpointUnreadable),
    ("StateIncompatible", Reason::StateIncompatible),
];

/// What a Blocked or Failed process's category means here. A word that is not known is the
/// program's matter when it has failed, and a matter of time when it will try again.
pub(super) fn category_reason(view: &JobView) -> Reason {
    let category = view.category.as_deref().unwrap_or_default();
    let known = CATEGORIES.iter().find(|(word, _)| *word == category);
    known.map_or(
        match view.phase {
            Phase::Failed => Reason::ProgramFailed,
            _ => Reason::Starting,
        },
        |(_, reason)| *reason,
    )
}

/// What a process gives as the reason of its phase.
pub(super) fn reason_text(view: &JobView) -> String {
    let failure = view
        .last_failure
        .as_ref()
        .map(|failure| match &failure.operator {
            Some(operator) => format!("operator {operator}: {}", failure.message),
            None => failure.message.clone(),
        });
    match (&view.reason, failure) {
        (Some(reason), Some(failure))
            if !reason.contains(&failure) && view.phase == Phase::Failed =>
        {
            format!("{reason}; the last failure: {failure}")
        }
        (Some(reason), _) => reason.clone(),
        (None, Some(failure)) => failure,
        (None, None) => "the process does not say why".to_owned(),
    }
}

/// Whether any pod of the revision, dying ones included, has not ended.
pub(super) fn has_pods(observed: &Observed, revision: &RevisionFacts) -> bool {
    let mut pods = observed.pods.iter();
    pods.any(|pod| pod.revision == revision.revision && !pod.is_over)
}
