//! What is left of revisions that are gone.

use rstest::rstest;
use tidegate_api::pod::revision_name;
use tidegate_api::spec::UpgradeMode;
use tidegate_api::status::UpgradePhase;

use super::upgrades::{handed_over, phase, step, upgrading};
use super::*;
use crate::plan::ChildName;

fn settings_of(revision: &str) -> ChildName {
    ChildName::ConfigMap(revision_name("orders", revision))
}

#[test]
fn the_settings_of_a_revision_go_after_its_deployment() {
    let (mut observed, old, new) = handed_over(Phase::Running);
    set_view(&mut observed, 0, |view| {
        view.completed_checkpoint_count = 2;
    });
    let given = step(&mut observed);
    assert_eq!(phase(&given), UpgradePhase::Complete);
    let deployment = ChildName::Deployment(revision_name("orders", &old));
    assert_eq!(given.delete, [deployment]);
    assert_eq!(step(&mut observed).delete, [settings_of(&old)]);
    assert_eq!(step(&mut observed).delete, []);
    assert_eq!(observed.config_maps, [new]);
}

/// As where a controller dies after the first object of a revision, and the spec changes before
/// another one looks.
#[test]
fn the_settings_of_a_revision_that_never_came_to_be_go() {
    let mut observed = running("good:1");
    observed.config_maps.push("0a1b2c3d".to_owned());
    let plan = plan(&observed, &settings());
    assert_eq!(plan.delete, [settings_of("0a1b2c3d")]);
    assert_eq!(plan.look_again, LookAgain::Soon);
}

/// As where a controller dies after the first object of a revision, and the next one goes on.
#[test]
fn the_settings_of_a_revision_that_is_being_made_stay() {
    let mut observed = observed(job("good:1"));
    observed.config_maps.push(revision_of(&observed.job));
    let plan = plan(&observed, &settings());
    assert_eq!(plan.decision, Decision::Deploy);
    assert_eq!(plan.delete, []);
}

/// A list of Deployments that lags may show none of them.
#[rstest]
#[case(upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding))]
#[case(handed_over(Phase::Restoring))]
fn the_settings_of_both_revisions_stay_while_an_upgrade_is_open(
    #[case] upgrade: (Observed, String, String),
) {
    let (mut observed, ..) = upgrade;
    observed.revisions.clear();
    assert_eq!(plan(&observed, &settings()).delete, []);
}

#[test]
fn the_settings_of_a_finished_job_stay_while_it_stands() {
    let mut observed = running("finite:1");
    set_view(&mut observed, 0, |view| view.phase = Phase::Finished);
    for _ in 0..3 {
        step(&mut observed);
        observed.pods.clear();
    }
    assert_eq!(plan(&observed, &settings()).delete, []);
    observed.revisions.clear();
    assert_eq!(plan(&observed, &settings()).delete, []);
}

/// It may only not be seen.
#[test]
fn the_settings_of_a_revision_that_is_lost_while_it_takes_over_stay() {
    let (mut observed, _, new) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    assert_eq!(phase(&step(&mut observed)), UpgradePhase::HandingOver);
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    observed.pods.pop();
    observed.revisions.retain(|seen| seen.revision != new);
    let waiting = plan(&observed, &settings());
    assert_eq!(waiting.decision, Decision::HandOver);
    assert_eq!(waiting.delete, []);
}
