//! A job that is deleted: what becomes of its pods and files, and when it may go.

use tidegate_api::checkpoint::Access;
use tidegate_api::job_config::job_folder;
use tidegate_api::labels::{FINALIZER_JOB, LABEL_JOB};
use tidegate_api::manifest::DEFAULT_NAMESPACE;
use tidegate_api::pod::revision_name;
use tidegate_api::spec::DeletionPolicy;

use crate::build::{CleanupPod, cleanup_pod, owner_of_job};
use crate::checkpoints::{self, TellingJob};
use crate::job_api::{JobCommand, Phase, StopMode};
use crate::observed::{ApiFacts, CleanupFacts, CleanupState, Observed, PodFacts};
use crate::plan::{Ask, Child, ChildName, Decision, EventNote, EventReason};
use crate::settings::Settings;

/// The job's files may take so long to be removed, from its deletion on.
const DELETION_DEADLINE_MS: i64 = 120_000;
/// Its pods may take so long to go.
const PODS_DEADLINE_MS: i64 = 60_000;
/// A job whose files stay may take so long for its last checkpoint.
const LAST_WORD_DEADLINE_MS: i64 = 15_000;
/// Set by the API server for `kubectl delete --cascade=orphan`.
const ORPHANING: &str = "orphan";
/// A clean-up pod that cannot start may take so long to come right.
const STUCK_MAX_MS: i64 = 30_000;

/// What is to be done about a job that is being deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Farewell {
    pub(super) decision: Decision,
    /// Whether the finalizer stays.
    pub(super) finalizer: bool,
    pub(super) apply: Vec<Child>,
    pub(super) ask: Vec<Ask>,
    pub(super) delete: Vec<ChildName>,
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
            delete: Vec::new(),
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
        let why = "neither the spec nor the installation names a storage";
        return Farewell::over(Some(files_left("the job's folder", why)));
    };
    let folder = folder(observed, &access);
    if observed.is_namespace_terminating {
        return left(
            &folder,
            "the namespace is being deleted, so that no pod can be made",
        );
    }
    if deleted_ms(observed) > DELETION_DEADLINE_MS {
        return left(&folder, &overdue(observed));
    }
    if let Some(purge) = &observed.purge {
        return purging(observed, purge, &folder);
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

/// Deployments go first, and their pods.
fn stopping(observed: &Observed) -> Option<Farewell> {
    let job = observed.job.metadata.name.as_deref().unwrap_or_default();
    let standing = observed
        .revisions
        .iter()
        .filter(|revision| !revision.is_deleting);
    let names = standing.map(|revision| revision_name(job, &revision.revision));
    let delete: Vec<ChildName> = names.map(ChildName::Deployment).collect();
    let has_pods = observed.pods.iter().any(|pod| !pod.is_over);
    (has_pods || !delete.is_empty()).then(|| Farewell {
        delete,
        ..Farewell::waiting(Decision::StopForDeletion, "the job's pods end")
    })
}

fn purge(observed: &Observed, settings: &Settings, access: &Access, folder: &str) -> Farewell {
    let job = observed.job.metadata.name.as_deref().unwrap_or_default();
    let namespace = observed
        .job
        .metadata
        .namespace
        .as_deref()
        .unwrap_or(DEFAULT_NAMESPACE);
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

fn purging(observed: &Observed, purge: &CleanupFacts, folder: &str) -> Farewell {
    let age_ms = observed.now_ms.saturating_sub(purge.created_ms);
    match &purge.state {
        CleanupState::Working => Farewell::waiting(
            Decision::Purge,
            format!("pod {} removes the job's files", purge.name),
        ),
        CleanupState::Stuck { message } if age_ms > STUCK_MAX_MS => left(folder, message),
        CleanupState::Stuck { message } => {
            let message = format!("pod {} cannot start: {message}", purge.name);
            Farewell::waiting(Decision::Purge, message)
        }
        CleanupState::Succeeded => Farewell::over(Some(EventNote {
            is_warning: false,
            reason: EventReason::FilesRemoved,
            message: format!("the files in {folder} were removed"),
        })),
        CleanupState::Failed { message } => left(folder, message),
    }
}

fn left(folder: &str, why: &str) -> Farewell {
    Farewell::over(Some(files_left(folder, why)))
}

fn files_left(folder: &str, why: &str) -> EventNote {
    EventNote {
        is_warning: true,
        reason: EventReason::FilesLeft,
        message: format!(
            "files were left in {folder}: {why}; remove them with `tidegate checkpoints purge \
             {folder}`"
        ),
    }
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

fn folder(observed: &Observed, access: &Access) -> String {
    let metadata = &observed.job.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    job_folder(
        &access.storage.url,
        namespace,
        metadata.name.as_deref().unwrap_or_default(),
    )
}

/// With what the job's folder is reached: without a storage of its own, what the job was told when
/// it was made counts, and not today's default.
fn access(observed: &Observed, settings: &Settings) -> Option<Access> {
    let job = &observed.job;
    let mut access = checkpoints::access(job, settings)?;
    if job.spec.checkpoint.storage.is_none() {
        let mut newest_first = observed.revisions.iter().rev();
        let config = newest_first.find_map(|revision| revision.config.as_ref());
        if let Some(config) = config {
            access.storage.url.clone_from(&config.storage.url);
            access.storage.endpoint.clone_from(&config.storage.endpoint);
            access.storage.region.clone_from(&config.storage.region);
        }
    }
    Some(access)
}
