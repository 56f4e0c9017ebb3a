//! A job that is deleted: what becomes of its pods and files, and when it may go.

use std::collections::BTreeMap;

use tidegate_api::checkpoint::Access;
use tidegate_api::job_config::job_folder;
use tidegate_api::labels::{FINALIZER_JOB, LABEL_JOB};
use tidegate_api::manifest::DEFAULT_NAMESPACE;
use tidegate_api::pod::revision_name;
use tidegate_api::spec::DeletionPolicy;

use crate::build::{CleanupPod, cleanup_pod, owner_of_job};
use crate::checkpoints::{self, TellingJob, command_line};
use crate::job_api::{JobCommand, Phase, StopMode};
use crate::observed::{ApiFacts, CleanupFacts, CleanupState, Observed, PodFacts};
use crate::plan::{Ask, Child, Decision, EventNote, EventReason};
use crate::settings::Settings;

/// The job's files may take so long to be removed, from its deletion on.
const DELETION_DEADLINE_MS: i64 = 120_000;
/// Its pods may take so long to go.
const PODS_DEADLINE_MS: i64 = 60_000;
/// A job whose files stay may take so long for its last checkpoint.
const LAST_WORD_DEADLINE_MS: i64 = 15_000;
/// Set by the API server for `kubectl delete --cascade=orphan`.
const ORPHANING: &str = "orphan";
/// A clean-up pod that cannot start may take so long to come right; one that may only be slow has
/// the whole time.
const STUCK_MAX_MS: i64 = 30_000;

/// What is to be done about a job that is being deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Farewell {
    pub(super) decision: Decision,
    /// Whether the finalizer stays.
    pub(super) finalizer: bool,
    pub(super) apply: Vec<Child>,
    pub(super) ask: Vec<Ask>,
    pub(super) events: Vec<EventNote>,
    /// What the job waits for.
    pub(super) message: String,
}

impl Farewell {
    fn waiting(decision: Decision, message: impl Into<String>) -> Self {
        Self {
            decision,
            finalizer: true,
            apply: Vec::new(),
            ask: Vec::new(),
            events: Vec::new(),
            message: message.into(),
        }
    }

    fn over(event: Option<EventNote>) -> Self {
        Self {
            finalizer: false,
            events: event.into_iter().collect(),
            ..Self::waiting(Decision::LetGo, "the job goes")
        }
    }
}

/// Whether the job carries the finalizer that guards its files.
pub(super) fn is_guarded(observed: &Observed) -> bool {
    let finalizers = observed
        .job
        .metadata
        .finalizers
        .as_deref()
        .unwrap_or_default();
    finalizers.iter().any(|name| name == FINALIZER_JOB)
}

/// Decides from what is left of the job.
///
/// Without the finalizer nothing is left to do: its children are its own, and the garbage collector
/// takes them along. Deletion never hangs: whatever is not done by its deadline is left, and said
/// so.
pub(super) fn farewell(observed: &Observed, settings: &Settings) -> Farewell {
    let spec = &observed.job.spec;
    if !is_guarded(observed) {
        return Farewell::over(None);
    }
    if spec.deletion_policy == DeletionPolicy::Retain {
        return keeping(observed);
    }
    let Some(access) = access(observed, settings) else {
        return unknown_storage(observed);
    };
    let folder = folder(observed, &access);
    let place = (&*folder, &access);
    if observed.is_namespace_terminating {
        let why = "the namespace is being deleted, so that no pod can be made";
        return left(place, why);
    }
    if deleted_ms(observed) > DELETION_DEADLINE_MS {
        return left(place, &overdue(observed));
    }
    if let Some(purge) = &observed.purge {
        return purging(observed, purge, place);
    }
    let is_early = deleted_ms(observed) <= PODS_DEADLINE_MS;
    if let Some(stopping) = stopping(observed).filter(|_| is_early) {
        return stopping;
    }
    if let Some(message) = &observed.refused_write {
        // The next look tries again, until the deadline.
        let mut farewell = purge(observed, settings, &access, &folder);
        farewell.message = format!("the pod that removes the job's files is refused: {message}");
        return farewell;
    }
    purge(observed, settings, &access, &folder)
}

/// The files stay, and so does what tells of them: the job takes a last checkpoint, and its objects
/// become those of what its log retains, since nobody keeps them up to date once it is gone. A job
/// that cannot do that now goes at once.
fn keeping(observed: &Observed) -> Farewell {
    // Its pods are somebody else's from now on, or cannot be helped.
    let is_left_alone = is_orphaning(observed) || observed.is_namespace_terminating;
    if is_left_alone || deleted_ms(observed) > LAST_WORD_DEADLINE_MS {
        return Farewell::over(None);
    }
    let waiting = |message: &str| Farewell::waiting(Decision::StopForDeletion, message);
    let Some(telling) = TellingJob::of(observed) else {
        // One request that fails is no proof that the next one does.
        let is_silent = |pod: &PodFacts| !pod.is_over && matches!(pod.api, ApiFacts::Silent { .. });
        return match observed.pods.iter().any(is_silent) {
            true => waiting("the job does not answer, and is asked again"),
            false => Farewell::over(None),
        };
    };
    match telling.view.phase {
        Phase::Running => Farewell {
            ask: vec![Ask {
                pod: telling.pod,
                command: JobCommand::Stop(StopMode::for_job(&telling.view)),
            }],
            ..waiting("the job takes a last checkpoint")
        },
        Phase::Stopping => waiting("the job takes a last checkpoint"),
        _ if !checkpoints::is_mirrored(&observed.checkpoints, &telling.checkpoints) => {
            waiting("the Checkpoint objects take over what the log retains")
        }
        _ => Farewell::over(None),
    }
}

/// Whether whoever deletes the job wants its pods to stay.
fn is_orphaning(observed: &Observed) -> bool {
    let finalizers = observed.job.metadata.finalizers.iter().flatten();
    finalizers.into_iter().any(|name| name == ORPHANING)
}

/// The pods go first. Their Deployments stay until the job goes: nothing else tells where they kept
/// their files.
fn stopping(observed: &Observed) -> Option<Farewell> {
    let (_, job) = identity(observed);
    let standing = observed
        .revisions
        .iter()
        .filter(|revision| !revision.is_deleting && revision.replicas > 0);
    let scale = standing.map(|revision| Child::Scale {
        name: revision_name(job, &revision.revision),
        replicas: 0,
        annotations: BTreeMap::default(),
    });
    let apply: Vec<Child> = scale.collect();
    let has_pods = observed.pods.iter().any(|pod| !pod.is_over);
    (has_pods || !apply.is_empty()).then(|| Farewell {
        apply,
        ..Farewell::waiting(Decision::StopForDeletion, "the job's pods end")
    })
}

fn purge(observed: &Observed, settings: &Settings, access: &Access, folder: &str) -> Farewell {
    let (namespace, job) = identity(observed);
    let args = ["checkpoints", "purge", folder].map(str::to_owned).to_vec();
    let pod = cleanup_pod(&CleanupPod {
        namespace,
        name: &purge_pod_name(job),
        labels: vec![(LABEL_JOB, job)],
        image: &settings.runtime_image,
        args,
        access,
        owner: owner_of_job(&observed.job),
    });
    Farewell {
        apply: vec![Child::CleanupPod(Box::new(pod))],
        ..Farewell::waiting(Decision::Purge, "a pod removes the job's files")
    }
}

/// The name of the pod that removes a job's files.
pub fn purge_pod_name(job: &str) -> String {
    format!("{job}-purge")
}

fn purging(observed: &Observed, purge: &CleanupFacts, place: (&str, &Access)) -> Farewell {
    let age_ms = observed.now_ms.saturating_sub(purge.created_ms);
    match &purge.state {
        CleanupState::Working => Farewell::waiting(
            Decision::Purge,
            format!("pod {} removes the job's files", purge.name),
        ),
        CleanupState::Stuck { message } if age_ms > STUCK_MAX_MS && !purge.may_be_slow => {
            left(place, message)
        }
        CleanupState::Stuck { message } => {
            let message = format!("pod {} does not start: {message}", purge.name);
            Farewell::waiting(Decision::Purge, message)
        }
        CleanupState::Succeeded => Farewell::over(Some(EventNote {
            is_warning: false,
            reason: EventReason::FilesRemoved,
            message: format!("the files in {} were removed", place.0),
        })),
        CleanupState::Failed { message } => left(place, message),
    }
}

fn left((folder, access): (&str, &Access), why: &str) -> Farewell {
    let command = command_line(&["checkpoints", "purge", folder], Some(&access.storage));
    files_left(folder, why, &format!("remove them with `{command}`"))
}

fn unknown_storage(observed: &Observed) -> Farewell {
    let (namespace, name) = identity(observed);
    let why = "neither the spec nor the installation names a storage";
    let advice = format!("look for {namespace}/{name} in the storage that the job had");
    files_left("the job's folder", why, &advice)
}

fn files_left(place: &str, why: &str, advice: &str) -> Farewell {
    Farewell::over(Some(EventNote {
        is_warning: true,
        reason: EventReason::FilesLeft,
        message: checkpoints::files_left(place, why, advice),
    }))
}

fn overdue(observed: &Observed) -> String {
    let seconds = DELETION_DEADLINE_MS / 1000;
    let state = match observed.purge.as_ref().map(|purge| &purge.state) {
        Some(CleanupState::Stuck { message } | CleanupState::Failed { message }) => message,
        Some(CleanupState::Working | CleanupState::Succeeded) => "the pod still removes them",
        None => match &observed.refused_write {
            Some(message) => message,
            None => "no pod came to remove them",
        },
    };
    format!("they were not removed within {seconds} s: {state}")
}

/// How long ago the job was deleted.
fn deleted_ms(observed: &Observed) -> i64 {
    let deleted = observed.job.metadata.deletion_timestamp.as_ref();
    deleted.map_or(0, |time| {
        observed.now_ms.saturating_sub(time.0.as_millisecond())
    })
}

/// The job's namespace and name.
fn identity(observed: &Observed) -> (&str, &str) {
    let metadata = &observed.job.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    (namespace, metadata.name.as_deref().unwrap_or_default())
}

fn folder(observed: &Observed, access: &Access) -> String {
    let (namespace, name) = identity(observed);
    job_folder(&access.storage.url, namespace, name)
}

/// With what the job's folder is reached: what the job was told counts, and neither today's default
/// nor a spec that may never have come to run.
fn access(observed: &Observed, settings: &Settings) -> Option<Access> {
    let written = checkpoints::written_storage(observed);
    checkpoints::access(&observed.job, written.as_ref(), settings)
}
