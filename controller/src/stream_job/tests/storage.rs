//! Where a job keeps its state when that changes.

use tidegate_api::checkpoint::CheckpointKind;
use tidegate_api::spec::Storage;
use tidegate_api::status::{ConditionType, UpgradePhase};

use super::upgrades::{checkpoint, phase, step};
use super::{carry_out, edit, message, observed, plan, running, saying, set_view, view};
use crate::job_api::{JobCommand, Phase};
use crate::observed::{ApiFacts, Observed};
use crate::plan::{ChildName, Decision};
use crate::settings::Settings;
use crate::stream_job::fixtures::{job, revision_of, settings};

/// Another log cannot fence what runs on the old one.
#[test]
fn a_new_storage_is_not_worked_on_while_the_old_revision_is_silent() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| {
        spec.checkpoint.storage.as_mut().unwrap().url = "s3://other/jobs".to_owned();
        spec.start_from = "s3://bucket/jobs/shop/orders".to_owned();
    });
    step(&mut observed);
    let new = revision_of(&observed.job);
    observed.pods.push(saying(&new, view(Phase::Holding)));
    observed.pods[0].api = ApiFacts::Silent {
        error: "timed out".to_owned(),
        since_ms: observed.now_ms,
    };
    step(&mut observed);
    observed.now_ms += 60_000;
    let waiting = step(&mut observed);
    assert!(waiting.ask.is_empty(), "{:?}", waiting.ask);
    let ready = message(&waiting, ConditionType::Ready);
    assert!(ready.contains("waits until its pods have ended"), "{ready}");
    assert_eq!(observed.revisions[0].replicas, 0);

    observed.pods.remove(0);
    let let_go = step(&mut observed);
    assert_eq!(let_go.ask[0].command, JobCommand::Start);
    assert_eq!(phase(&let_go), UpgradePhase::Proving);
}

fn with_default(url: &str) -> Settings {
    Settings {
        default_storage: Some(Storage {
            url: url.to_owned(),
            endpoint: None,
            region: None,
            secret_ref: None,
        }),
        ..settings()
    }
}

fn url(observed: &Observed) -> &str {
    let config = observed.revisions[0].config.as_ref().unwrap();
    &config.storage.url
}

/// A job without a storage of its own, whose process cannot start in the default one.
fn blocked_in(default: &Settings) -> Observed {
    let mut job = job("good:1");
    job.spec.checkpoint.storage = None;
    let mut observed = observed(job);
    let first = plan(&observed, default);
    carry_out(&mut observed, &first);
    let mut blocked = view(Phase::Blocked);
    blocked.start_generation = Some(observed.revisions[0].start_generation);
    observed.pods = vec![saying(&revision_of(&observed.job), blocked)];
    observed.now_ms += 1000;
    observed
}

#[test]
fn a_job_that_never_had_state_takes_a_corrected_default_storage() {
    let mut observed = blocked_in(&with_default("s3://tpyo/jobs"));
    let fixed = with_default("s3://typo/jobs");
    let corrected = plan(&observed, &fixed);
    carry_out(&mut observed, &corrected);
    assert_eq!(url(&observed), "s3://typo/jobs");

    // Its process has read the old one.
    let replaced = plan(&observed, &fixed);
    assert!(
        matches!(&replaced.delete[..], [ChildName::Pod { .. }]),
        "{replaced:?}"
    );
    carry_out(&mut observed, &replaced);
    let generation = observed.revisions[0].start_generation;
    let mut running = view(Phase::Running);
    running.start_generation = Some(generation);
    observed.pods = vec![saying(&revision_of(&observed.job), running)];
    let steady = plan(&observed, &fixed);
    assert!(
        steady.apply.is_empty() && steady.delete.is_empty(),
        "{steady:?}"
    );
}

#[test]
fn another_default_storage_never_takes_a_job_away_from_its_state() {
    let other = with_default("s3://other/jobs");
    let mut observed = blocked_in(&with_default("s3://default/jobs"));
    set_view(&mut observed, 0, |view| view.restored_checkpoint = Some(4));
    assert!(plan(&observed, &other).apply.is_empty());

    set_view(&mut observed, 0, |view| {
        view.restored_checkpoint = None;
        view.phase = Phase::Running;
    });
    assert!(plan(&observed, &other).apply.is_empty());
}

/// A job without a storage of its own that has checkpoints in the default one.
fn running_in(default: &Settings) -> Observed {
    let mut observed = blocked_in(default);
    set_view(&mut observed, 0, |view| {
        view.phase = Phase::Running;
        view.last_checkpoint = Some(checkpoint(CheckpointKind::Checkpoint));
    });
    let running = plan(&observed, default);
    carry_out(&mut observed, &running);
    observed
}

/// The same, and a revision that was moved elsewhere runs beside.
fn moved() -> (Observed, Settings) {
    let default = with_default("s3://default/jobs");
    let mut observed = running_in(&default);
    edit(&mut observed, |spec| {
        spec.checkpoint.storage = default.default_storage.clone();
        spec.checkpoint.storage.as_mut().unwrap().url = "s3://new/jobs".to_owned();
        spec.start_from = "s3://default/jobs/shop/orders".to_owned();
    });
    let begun = plan(&observed, &default);
    carry_out(&mut observed, &begun);
    observed.now_ms += 1000;
    assert_eq!(observed.revisions.len(), 2);
    (observed, default)
}

#[test]
fn a_move_that_is_taken_back_leaves_the_job_where_its_state_is() {
    for image in ["good:1", "good:2"] {
        let (mut observed, default) = moved();
        edit(&mut observed, |spec| {
            spec.checkpoint.storage = None;
            spec.start_from = "Latest".to_owned();
            spec.program.as_mut().unwrap().image = image.to_owned();
        });
        let back = plan(&observed, &default);
        carry_out(&mut observed, &back);
        for revision in &observed.revisions {
            let config = revision.config.as_ref().unwrap();
            assert_eq!(config.storage.url, "s3://default/jobs", "{image}");
        }
    }
}

#[test]
fn a_job_whose_deployment_is_gone_never_begins_anew_in_another_default_storage() {
    let default = with_default("s3://default/jobs");
    let mut observed = running_in(&default);
    observed.revisions.clear();
    observed.pods.clear();
    assert_eq!(plan(&observed, &default).decision, Decision::Deploy);
    let refused = plan(&observed, &with_default("s3://other/jobs"));
    assert_eq!(refused.decision, Decision::RefuseSpec);
    let told = message(&refused, ConditionType::Valid);
    assert!(told.contains("s3://default/jobs/shop/orders#9"), "{told}");
}

#[test]
fn without_a_default_storage_a_job_keeps_what_it_was_given() {
    let mut observed = blocked_in(&with_default("s3://default/jobs"));
    set_view(&mut observed, 0, |view| view.phase = Phase::Running);
    let without = Settings {
        default_storage: None,
        ..settings()
    };
    assert_eq!(plan(&observed, &without).decision, Decision::Steady);
    edit(&mut observed, |spec| spec.parallelism = 4);
    assert_eq!(plan(&observed, &without).decision, Decision::ChangeLive);
}
