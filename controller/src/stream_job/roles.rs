//! Which part each of a job's revisions plays.

use tidegate_api::status::{UpgradePhase, UpgradeStatus};

use super::standing::proves_let_go;
use crate::observed::{Observed, RevisionFacts};

/// The parts of a job's revisions.
///
/// # Invariants
/// Each revision that is not being deleted stands in one member. Test:
/// `each_revision_plays_one_part`.
#[derive(Clone, Debug)]
pub(super) struct Roles<'a> {
    /// The one that owns the job: the newest that was let go.
    pub(super) current: Option<&'a RevisionFacts>,
    /// The one that the spec asks for, if that is another.
    pub(super) candidate: Option<&'a RevisionFacts>,
    /// The stable one that comes back if the upgrade fails.
    pub(super) spare: Option<&'a RevisionFacts>,
    /// Those that nobody needs any more.
    pub(super) rest: Vec<&'a RevisionFacts>,
}

impl<'a> Roles<'a> {
    /// Derives them. Start generations order revisions: one that comes back gets a new one.
    pub(super) fn of(observed: &'a Observed, desired: Option<&str>) -> Self {
        let standing = || {
            observed
                .revisions
                .iter()
                .filter(|revision| !revision.is_deleting)
        };
        let seen = || {
            newest(standing().filter(|revision| is_let_go(observed, revision)))
                .or_else(|| standing().find(|revision| Some(&*revision.revision) == desired))
                .or_else(|| oldest(standing().filter(|revision| revision.replicas > 0)))
                .or_else(|| newest(standing()))
        };
        let current = match is_owner_missing(observed, desired) {
            true => None,
            false => reported_rollback(observed, desired).or_else(seen),
        };
        let mut roles = Self {
            current,
            candidate: None,
            spare: None,
            rest: Vec::new(),
        };
        let current_name = current.map(|current| &*current.revision);
        let spare = spare_name(observed, current_name);
        for revision in standing() {
            let name = &*revision.revision;
            if current.is_some_and(|current| current.revision == name) {
                continue;
            }
            if desired == Some(name) {
                roles.candidate = Some(revision);
            } else if spare == Some(name) {
                roles.spare = Some(revision);
            } else {
                roles.rest.push(revision);
            }
        }
        roles
    }
}

/// Whether the revision that the spec asks for was reported to own the job, and is not seen:
/// somebody deleted its Deployment, or the Deployments are seen as they were before it. It is made
/// again, or found; no other takes its place.
fn is_owner_missing(observed: &Observed, desired: Option<&str>) -> bool {
    let status = observed.job.status.as_ref();
    let owner = status.and_then(|status| status.revision.as_deref());
    let mut revisions = observed.revisions.iter();
    owner.is_some()
        && owner == desired
        && !revisions.any(|seen| !seen.is_deleting && Some(&*seen.revision) == owner)
}

/// A rollback that was reported stands until the spec asks for something else, even when the
/// Deployments are seen as they were before it.
fn reported_rollback<'a>(
    observed: &'a Observed,
    desired: Option<&str>,
) -> Option<&'a RevisionFacts> {
    let status = observed.job.status.as_ref()?;
    let upgrade = status.upgrade.as_ref()?;
    let is_rollback = upgrade.phase == UpgradePhase::RolledBack
        && desired == Some(&*upgrade.to_revision)
        && status.revision.as_ref() == Some(&upgrade.from_revision);
    let mut standing = observed
        .revisions
        .iter()
        .filter(|revision| !revision.is_deleting);
    standing.find(|revision| is_rollback && revision.revision == upgrade.from_revision)
}

/// Whether the revision was decided to run, or its processes prove that they do.
fn is_let_go(observed: &Observed, revision: &RevisionFacts) -> bool {
    let status = observed.job.status.as_ref();
    let is_reported =
        status.is_some_and(|status| status.revision.as_ref() == Some(&revision.revision));
    let is_free = revision.config.as_ref().is_some_and(|config| !config.hold);
    let mut pods = observed
        .pods
        .iter()
        .filter(|pod| pod.revision == revision.revision);
    is_reported || is_free || pods.any(|pod| pod.view().is_some_and(proves_let_go))
}

/// The revision to come back to: the one before an upgrade that is open, or the owner that was
/// reported last, if another took over and the report of it was lost.
fn spare_name<'a>(observed: &'a Observed, current: Option<&str>) -> Option<&'a str> {
    let status = observed.job.status.as_ref()?;
    let before = status.upgrade.as_ref().and_then(source_of_open);
    before.or(status
        .revision
        .as_deref()
        .filter(|owner| Some(*owner) != current))
}

/// The revisions that a job cannot do without: its owner, and the one before an upgrade that is
/// open.
pub(crate) fn indispensable<'a>(
    owner: Option<&'a str>,
    upgrade: Option<&'a UpgradeStatus>,
) -> impl Iterator<Item = &'a str> {
    owner.into_iter().chain(upgrade.and_then(source_of_open))
}

/// The revision before an upgrade, while that is open.
fn source_of_open(upgrade: &UpgradeStatus) -> Option<&str> {
    match upgrade.phase {
        UpgradePhase::Preparing
        | UpgradePhase::HandingOver
        | UpgradePhase::Proving
        | UpgradePhase::Refused => Some(&upgrade.from_revision),
        UpgradePhase::Complete | UpgradePhase::RolledBack => None,
    }
}

fn newest<'a>(revisions: impl Iterator<Item = &'a RevisionFacts>) -> Option<&'a RevisionFacts> {
    revisions.max_by_key(|revision| revision.start_generation)
}

fn oldest<'a>(revisions: impl Iterator<Item = &'a RevisionFacts>) -> Option<&'a RevisionFacts> {
    revisions.min_by_key(|revision| revision.start_generation)
}
