//! What the spec asks for, once it is known to make sense on a cluster.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use tidegate_api::job_config::{StartPoint, StorageConfig, job_folder};
use tidegate_api::manifest::DEFAULT_NAMESPACE;
use tidegate_api::pod::certificate_secret_name;
use tidegate_api::spec::{Storage, UpgradeMode};
use tidegate_api::start_from::StartFrom;
use tidegate_api::validate::{Logic, validate_for_cluster};
use tidegate_api::{Metadata, ValidJob, change};

use crate::build::{self, StartState};
use crate::checkpoints::{storage_of, written_storage};
use crate::job_api::{JobView, Phase};
use crate::observed::{Observed, RevisionFacts};
use crate::settings::Settings;

/// What a valid spec asks for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The job.
    pub(super) job: ValidJob,
    /// Its revision.
    pub(super) revision: String,
    /// The Secret with its certificates.
    pub(super) certificate: String,
    /// Where it keeps checkpoints.
    pub(super) storage: StorageConfig,
    /// Its pods.
    pub(super) template: PodTemplateSpec,
}

impl Wanted {
    /// Checks the spec.
    ///
    /// # Errors
    /// Each thing that is wrong, as a sentence that names the field.
    pub(super) fn of(observed: &Observed, settings: &Settings) -> Result<Self, Vec<String>> {
        let spec = &observed.job.spec;
        let mut job = validate_for_cluster(&metadata(observed), spec)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        if matches!(job.logic, Logic::Sql(_)) {
            return Err(vec![NO_SQL.to_owned()]);
        }
        let revision = change::revision(spec);
        let storage = match &job.storage {
            Some(storage) => storage.clone(),
            None => {
                let given = given_storage(observed, settings, &revision);
                let given = given.map_err(|message| vec![message])?;
                job.storage_secret = given.secret_ref.clone();
                config_of(&given)
            }
        };
        let certificate = certificate_secret_name(&job.name, &revision, &observed.authority);
        let template = build::pod_template(&job, &revision, &certificate)
            .map_err(|error| vec![error.to_string()])?;
        Ok(Self {
            job,
            revision,
            certificate,
            storage,
            template,
        })
    }
}

const NO_SQL: &str = "spec.sql: this version of Tidegate runs programs only, and SQL comes with a \
                      later one; give spec.program";
const NO_STORAGE: &str = "spec.checkpoint.storage: it is missing, and this installation has no \
                          default; give a url such as s3://bucket/prefix";

fn metadata(observed: &Observed) -> Metadata {
    let metadata = &observed.job.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    Metadata {
        name: metadata.name.clone().unwrap_or_default(),
        namespace: namespace.to_owned(),
        ..Metadata::default()
    }
}

/// The storage of a job without one of its own. It keeps what it was given when it was made:
/// another default of the installation must not take it away from its state.
fn given_storage(
    observed: &Observed,
    settings: &Settings,
    revision: &str,
) -> Result<Storage, String> {
    let default = settings.default_storage.as_ref();
    let Some(kept) = kept_storage(observed, revision) else {
        let default = default.ok_or_else(|| NO_STORAGE.to_owned())?;
        return match stranded(observed, default) {
            None => Ok(default.clone()),
            Some(location) => Err(format!(
                "spec.checkpoint.storage: the job's latest checkpoint is {location}, and this \
                 installation's default is {} by now; name the storage in the spec",
                default.url
            )),
        };
    };
    Ok(Storage {
        secret_ref: default.map_or(kept.secret_ref, |default| default.secret_ref.clone()),
        ..kept
    })
}

/// The latest checkpoint of a job whose Deployments are gone, if it does not lie there.
fn stranded<'a>(observed: &'a Observed, storage: &Storage) -> Option<&'a str> {
    let Metadata {
        name, namespace, ..
    } = metadata(observed);
    let folder = job_folder(&storage.url, &namespace, &name);
    let latest = observed.job.status.as_ref()?.latest_checkpoint.as_ref()?;
    let location = latest.location.as_str();
    let (own, _) = location.rsplit_once('#')?;
    (observed.revisions.is_empty() && own != folder).then_some(location)
}

/// What the revision was made with, or if there is none, the one that owns the job. A job that
/// never came to have state, and cannot start where it is, keeps nothing.
fn kept_storage(observed: &Observed, revision: &str) -> Option<Storage> {
    let mut revisions = observed.revisions.iter();
    let same = revisions.find(|it| it.revision == revision);
    let kept = same
        .and_then(storage_of)
        .or_else(|| written_storage(observed))?;
    let status = observed.job.status.as_ref();
    let has_state = status.is_some_and(|status| status.latest_checkpoint.is_some());
    let mut views = observed.pods.iter().filter_map(|pod| pod.view());
    let is_stuck = !has_state && views.any(|view| view.phase == Phase::Blocked && is_new(view));
    (!is_stuck).then_some(kept)
}

/// Whether a process has not been able to begin, nor has found what another one left.
fn is_new(view: &JobView) -> bool {
    view.attempt.is_none()
        && view.last_checkpoint.is_none()
        && view.restored_checkpoint.is_none()
        && view.completed_checkpoint_count == 0
}

pub(super) fn config_of(storage: &Storage) -> StorageConfig {
    StorageConfig {
        url: storage.url.clone(),
        endpoint: storage.endpoint.clone(),
        region: storage.region.clone(),
    }
}

/// What state a revision starts from that takes over from another, or from none.
///
/// Where `startFrom` stays as it is, it is left to the log whether that other one came to honour
/// it.
///
/// # Errors
/// The checkpoint that `startFrom` names is not there, as a sentence.
pub(super) fn start_point(
    observed: &Observed,
    wanted: &Wanted,
    before: Option<&RevisionFacts>,
) -> Result<StartState, String> {
    let text = &observed.job.spec.start_from;
    if let Some(before) = before.filter(|before| before.start_from == *text) {
        return Ok(match wanted.job.upgrade.mode {
            UpgradeMode::LatestCheckpoint | UpgradeMode::Savepoint => start_state(before),
            UpgradeMode::Stateless => StartState::new(StartPoint::Empty),
        });
    }
    resolved(observed, wanted).map(StartState::new)
}

/// What a revision was to start from, for another start of it or one that takes over from it: if it
/// ever began, the log knows, and that is the newest checkpoint.
pub(super) fn start_state(revision: &RevisionFacts) -> StartState {
    let latest = StartState::new(StartPoint::Latest);
    let Some(config) = &revision.config else {
        return latest;
    };
    // That a revision began without state once says nothing of what follows it.
    let is_stateless = config.start_from == StartPoint::Empty
        && StartFrom::parse(&revision.start_from) != Ok(StartFrom::Empty);
    if is_stateless || config.start_from == StartPoint::Latest {
        return latest;
    }
    StartState {
        point: config.start_from.clone(),
        asked: config.start_from_generation.or(config.start_generation),
    }
}

/// Where the spec's `startFrom` is.
fn resolved(observed: &Observed, wanted: &Wanted) -> Result<StartPoint, String> {
    let StartFrom::Name(name) = &wanted.job.start_from else {
        let resolved = wanted
            .job
            .start_from
            .resolve(&wanted.storage.url, &wanted.job.namespace);
        return resolved.map_err(|error| format!("spec.startFrom: {error}"));
    };
    let Some(checkpoint) = &observed.start_checkpoint else {
        return Err(format!(
            "spec.startFrom: there is no Checkpoint {name} in this namespace; create it, or name \
             one of `kubectl get checkpoints`"
        ));
    };
    let status = checkpoint.status.as_ref();
    let Some(location) = status.and_then(|status| status.location.as_deref()) else {
        return Err(format!(
            "spec.startFrom: the Checkpoint {name} is not complete yet; the job waits for it"
        ));
    };
    let located = StartFrom::parse(location)
        .and_then(|place| place.resolve(&wanted.storage.url, &wanted.job.namespace));
    located.map_err(|error| {
        format!("spec.startFrom: the Checkpoint {name} has an unusable location: {error}")
    })
}
