//! What must hold for every plan, and where a job comes to rest.

use tidegate_api::status::{
    ConditionStatus, ConditionType, Reason, StreamJobStatus, UpgradePhase, UpgradeStatus,
};
use tidegate_api::{StreamJob, change};

use super::process::Kind;
use super::world::{Pod, World, config_of};
use crate::job_api::{JobCommand, Phase};
use crate::observed::Observed;
use crate::plan::{Child, ChildName, Plan};
use crate::stream_job::fixtures::facts_of;
use crate::time;

/// A revision is let go only when nobody else works, or was waited for, or it owned the job before.
pub(super) fn assert_alone(observed: &Observed, pod: &str) {
    let pod = observed
        .pods
        .iter()
        .find(|other| other.name == pod)
        .unwrap();
    let status = observed.job.status.as_ref();
    let was_current = status.and_then(|status| status.revision.as_ref()) == Some(&pod.revision);
    let upgrade = status.and_then(|status| status.upgrade.as_ref());
    let waited_ms = upgrade
        .filter(|upgrade| upgrade.phase == UpgradePhase::HandingOver)
        .map_or(0, |upgrade| {
            time::age_ms(observed.now_ms, upgrade.phase_time.as_deref())
        });
    let works = observed
        .pods
        .iter()
        .filter(|other| other.revision != pod.revision)
        .any(|other| {
            let phase = other.view().map(|view| view.phase);
            matches!(
                phase,
                Some(Phase::Running | Phase::Restoring | Phase::Stopping)
            ) && !other.is_deleting
        });
    let is_owner = is_newest_free(observed, &pod.revision);
    assert!(
        !works || was_current || waited_ms > 30_000 || is_owner,
        "two revisions are let go at once"
    );
}

fn is_newest_free(observed: &Observed, name: &str) -> bool {
    let is_free = |hold: Option<bool>| hold == Some(false);
    let newest = observed
        .revisions
        .iter()
        .filter(|revision| is_free(revision.config.as_ref().map(|config| config.hold)))
        .max_by_key(|revision| revision.start_generation);
    newest.is_some_and(|newest| newest.revision == name)
}

/// While a new revision is prepared, or after it was refused, nothing stops the one that runs.
pub(super) fn assert_untouched(observed: &Observed, plan: &Plan) {
    let runs = |pod: &str| {
        let pod = observed.pods.iter().find(|other| other.name == pod);
        pod.is_some_and(|pod| pod.view().is_some_and(|view| view.phase == Phase::Running))
    };
    for ask in &plan.ask {
        let is_stop = matches!(ask.command, JobCommand::Stop(_));
        assert!(
            !(is_stop && runs(&ask.pod)),
            "the running revision is stopped"
        );
    }
    let current = plan.status.revision.as_deref().unwrap_or_default();
    let has_running = observed
        .pods
        .iter()
        .any(|pod| pod.revision == current && runs(&pod.name));
    for child in &plan.apply {
        if let Child::Scale {
            name, replicas: 0, ..
        } = child
        {
            assert!(
                !(has_running && name.ends_with(current)),
                "the running revision goes"
            );
        }
    }
    for name in &plan.delete {
        if let ChildName::Deployment(name) = name {
            assert!(!name.ends_with(current), "the running revision is deleted");
        }
    }
}

/// What is left of a revision that is gone goes, and nothing else's.
pub(super) fn assert_left_over(observed: &Observed, plan: &Plan) {
    for name in &plan.delete {
        let ChildName::ConfigMap(name) = name else {
            continue;
        };
        let mut standing = observed.revisions.iter();
        let is_used = standing.any(|revision| name.ends_with(&revision.revision));
        assert!(!is_used, "the settings of a revision that stands go");
    }
}

/// What was given up is not tried again while the spec stays.
pub(super) fn assert_not_tried(plan: &Plan, given_up: &str) {
    for child in &plan.apply {
        if let Child::Deployment(deployment) = child {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            let name = deployment.metadata.name.as_deref().unwrap_or_default();
            let is_tried = name.ends_with(given_up) && replicas == Some(1);
            assert!(!is_tried, "a revision that was given up is tried again");
        }
    }
}

/// Nothing is left of revisions but of those that the status names, whose Deployment somebody may
/// have deleted.
fn assert_clean(world: &World, status: &StreamJobStatus) {
    let standing = world.generations();
    let upgrade = status.upgrade.as_ref();
    let is_named = |revision: &String| {
        let is_source =
            |it: &UpgradeStatus| it.phase == UpgradePhase::Proving && it.from_revision == *revision;
        status.revision.as_ref() == Some(revision) || upgrade.is_some_and(is_source)
    };
    for revision in world.config_maps() {
        let is_used = standing.contains_key(&revision) || is_named(&revision);
        assert!(is_used, "what is left of {revision} stays");
    }
}

/// What processes read is what their Deployment was made with.
fn assert_told(world: &World) {
    for (name, deployment) in &world.deployments {
        let facts = facts_of(deployment);
        let told = world.configs.get(name).map(config_of).map(Box::new);
        assert!(
            facts.replicas == 0 || told == facts.config,
            "{name}: {told:?}"
        );
    }
}

/// Where a job comes to rest.
pub(super) fn assert_end(world: &World) {
    let job = world.job.as_ref().unwrap();
    let status = job.status.as_ref().unwrap();
    let reason = |type_| status.condition(type_).unwrap().reason;
    let ready = reason(ConditionType::Ready);
    assert_clean(world, status);
    assert_told(world);
    if job.spec.suspend {
        let is_live = |pod: &Pod| pod.deleting_ms.is_none();
        assert!(!world.pods.iter().any(is_live), "a suspended job has pods");
        let is_still = matches!(
            ready,
            Reason::Suspended | Reason::Suspending | Reason::Finished
        );
        assert!(is_still, "{ready:?}");
        return;
    }
    let desired = change::revision(&job.spec);
    let current = status.revision.clone().unwrap_or_default();
    let live: Vec<_> = world
        .pods
        .iter()
        .filter(|pod| pod.deleting_ms.is_none())
        .collect();
    let kind = kind_of(job);
    if current == desired {
        assert!(live.iter().all(|pod| pod.revision == desired));
        match kind {
            Kind::Good => assert_runs(world, job, ready),
            Kind::Finite => assert_eq!(ready, Reason::Finished),
            // Without state nothing is incompatible.
            Kind::Stuck | Kind::Incompatible => assert!(!live.is_empty()),
            Kind::Failing | Kind::Missing => assert_ne!(ready, Reason::Running),
        }
        assert!(world.deployments.len() <= 2, "old revisions stay");
        return;
    }
    let upgrade = status
        .upgrade
        .as_ref()
        .expect("an upgrade that does not end");
    assert_eq!(upgrade.to_revision, desired);
    assert!(
        matches!(
            upgrade.phase,
            UpgradePhase::Refused | UpgradePhase::RolledBack
        ),
        "an upgrade does not end: {:?}",
        upgrade.phase
    );
    let word = reason(ConditionType::UpToDate);
    assert!(
        matches!(word, Reason::UpgradeRefused | Reason::RolledBack),
        "{word:?}"
    );
    assert!(
        live.iter().all(|pod| pod.revision == current),
        "a refused revision keeps a pod"
    );
}

fn kind_of(job: &StreamJob) -> Kind {
    Kind::of(&job.spec.program.as_ref().unwrap().image)
}

fn assert_runs(world: &World, job: &StreamJob, ready: Reason) {
    assert_eq!(ready, Reason::Running);
    let status = job.status.as_ref().unwrap();
    assert_eq!(
        status.condition(ConditionType::Ready).unwrap().status,
        ConditionStatus::True
    );
    let live: Vec<_> = world
        .pods
        .iter()
        .filter(|pod| pod.deleting_ms.is_none())
        .collect();
    let [pod] = &live[..] else {
        panic!("{} pods", live.len());
    };
    let process = pod.process.as_ref().unwrap();
    assert_eq!(process.phase, Phase::Running);
    assert_eq!(
        i32::try_from(process.parallelism).unwrap(),
        job.spec.parallelism
    );
    let interval_ms = u64::try_from(job.spec.checkpoint.interval_seconds).unwrap() * 1000;
    assert_eq!(
        process.settings.checkpoint_interval_ms.unwrap_or(0),
        interval_ms
    );
    assert_eq!(world.deployments.len(), 1, "old revisions stay");
}
