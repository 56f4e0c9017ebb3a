//! What the API server, or the schema of a spec, refuses while something else runs.

use tidegate_api::spec::UpgradeMode;
use tidegate_api::status::{ConditionType, Reason, UpgradePhase};

use super::upgrades::{phase, step, upgrading};
use super::{edit, message, plan, reason, running, set_view, settings, words};
use crate::job_api::Phase;
use crate::observed::ApiFacts;
use crate::plan::{ChildName, Decision};
use crate::stream_job::fixtures::revision_of;

/// As where a quota allows no other Deployment.
#[test]
fn a_revision_that_cannot_be_made_is_told_and_refused_at_its_deadline() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:2".to_owned();
        spec.upgrade.deadline_seconds = 60;
    });
    let begun = plan(&observed, &settings());
    assert_eq!(phase(&begun), UpgradePhase::Preparing);
    std::sync::Arc::make_mut(&mut observed.job).status = Some(begun.status);
    observed.refused_write = Some("exceeded quota: deployments".to_owned());
    observed.now_ms += 59_000;
    let told = plan(&observed, &settings());
    assert_eq!(
        reason(&told, ConditionType::UpToDate),
        Reason::UpgradeRefused
    );
    assert!(message(&told, ConditionType::UpToDate).contains("exceeded quota"));
    assert!(words(&told).contains(&"Deployment"), "it is tried again");
    std::sync::Arc::make_mut(&mut observed.job).status = Some(told.status);

    observed.now_ms += 2000;
    // Of its objects, the quota allowed this one.
    observed.config_maps = vec![revision_of(&observed.job)];
    let refused = plan(&observed, &settings());
    assert_eq!(phase(&refused), UpgradePhase::Refused);
    assert_eq!(refused.apply, [], "and not any more");
    assert!(
        matches!(&refused.delete[..], [ChildName::ConfigMap(name)]
            if name.ends_with(&revision_of(&observed.job))),
        "{:?}",
        refused.delete
    );
    assert_eq!(reason(&refused, ConditionType::Ready), Reason::Running);
}

/// The first look after the controller was away may fail.
#[test]
fn one_late_answer_refuses_no_upgrade() {
    let (mut observed, ..) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    observed.now_ms += 3_600_000;
    observed.pods[1].api = ApiFacts::Silent {
        error: "timed out".to_owned(),
        since_ms: observed.now_ms - 1000,
    };
    assert_eq!(
        phase(&plan(&observed, &settings())),
        UpgradePhase::Preparing
    );
    observed.now_ms += 20_000;
    assert_eq!(phase(&plan(&observed, &settings())), UpgradePhase::Refused);
}

#[test]
fn a_revision_that_stopped_for_a_spec_that_is_not_valid_any_more_goes_on() {
    let (mut observed, ..) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    step(&mut observed);
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    edit(&mut observed, |spec| spec.parallelism = 0);
    let old = observed.pods[0].name.clone();
    let refused = plan(&observed, &settings());
    assert_eq!(refused.decision, Decision::RefuseSpec);
    assert!(
        matches!(&refused.delete[..], [ChildName::Pod { name, .. }] if *name == old),
        "{:?}",
        refused.delete
    );
}

#[test]
fn a_job_that_stopped_to_be_suspended_is_whatever_else_the_spec_says() {
    let mut observed = running("good:1");
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    edit(&mut observed, |spec| {
        spec.suspend = true;
        spec.parallelism = 0;
    });
    let refused = step(&mut observed);
    assert_eq!(words(&refused), ["Scale"]);
    assert_eq!(observed.revisions[0].replicas, 0);
    assert!(step(&mut observed).apply.is_empty());
}
