//! A process that ends again and again, and what is told and done about it.

use tidegate_api::status::{ConditionStatus, ConditionType, Reason, UpgradePhase};

use super::upgrades::{handed_over, phase, step};
use super::{message, plan, reason, running, set_view, settings};
use crate::job_api::{ExitView, FailureView, JobView, Phase};
use crate::observed::{ApiFacts, Observed, PodTrouble};
use crate::plan::Decision;

/// The next process after one that was killed at the memory limit just now.
fn follows(view: &mut JobView, now_ms: i64, count: u32) {
    view.started_ms = now_ms;
    view.process_restart_count = count;
    view.last_exit = Some(ExitView {
        time_ms: now_ms,
        description: "was killed at the container's memory limit of 100Mi: raise \
                      resources.limits.memory, or lower the parallelism"
            .to_owned(),
        category: Some("OutOfMemory".to_owned()),
        last_lines: Vec::new(),
    });
}

fn say(observed: &mut Observed, phase: Phase, count: Option<u32>) {
    let revision = observed.pods[0].revision.clone();
    let now_ms = observed.now_ms;
    let restart_count = observed.pods[0].restart_count;
    if let (ApiFacts::Silent { .. }, Some(_)) = (&observed.pods[0].api, count) {
        let fresh = super::saying(&revision, super::view(phase));
        observed.pods[0] = fresh;
        observed.pods[0].restart_count = restart_count;
    }
    set_view(observed, 0, |view| {
        view.phase = phase;
        if let Some(count) = count {
            follows(view, now_ms, count);
        }
    });
}

fn fall_silent(observed: &mut Observed) {
    observed.pods[0].api = ApiFacts::Silent {
        error: "Connection refused".to_owned(),
        since_ms: observed.now_ms,
    };
}

#[test]
fn a_job_whose_process_ends_again_and_again_is_told_as_failing_without_a_flip() {
    let mut observed = running("good:1");
    say(&mut observed, Phase::Starting, Some(1));
    assert_eq!(
        reason(&step(&mut observed), ConditionType::Ready),
        Reason::OutOfMemory
    );
    say(&mut observed, Phase::Running, None);
    let survived = step(&mut observed);
    assert_eq!(
        reason(&survived, ConditionType::Ready),
        Reason::Running,
        "the first end is an accident"
    );
    for count in 2..6 {
        let mut told = Vec::new();
        say(&mut observed, Phase::Starting, Some(count));
        told.push(step(&mut observed));
        say(&mut observed, Phase::Running, None);
        told.push(step(&mut observed));
        fall_silent(&mut observed);
        told.push(step(&mut observed));
        observed.now_ms += 11_000;
        told.push(step(&mut observed));
        for plan in told {
            let ready = plan.status.condition(ConditionType::Ready).unwrap();
            let expected = (ConditionStatus::False, Reason::OutOfMemory);
            assert_eq!((ready.status, ready.reason), expected, "{ready:?}");
            assert!(ready.message.contains("limit of 100Mi"), "{ready:?}");
            let advice = ready.message.matches("resources.limits.memory");
            assert_eq!(advice.count(), 1, "{ready:?}");
        }
    }
}

#[test]
fn a_process_that_lives_on_makes_the_job_ready_again() {
    let mut observed = running("good:1");
    say(&mut observed, Phase::Running, Some(7));
    assert_eq!(
        reason(&step(&mut observed), ConditionType::Ready),
        Reason::OutOfMemory
    );
    observed.now_ms += 29_000;
    let sound = step(&mut observed);
    assert_eq!(reason(&sound, ConditionType::Ready), Reason::Running);
}

#[test]
fn a_failure_of_long_ago_does_not_explain_a_silence() {
    let mut observed = running("good:1");
    say(&mut observed, Phase::Running, Some(1));
    step(&mut observed);
    observed.now_ms += 121_000;
    fall_silent(&mut observed);
    step(&mut observed);
    observed.now_ms += 11_000;
    let silent = step(&mut observed);
    assert_eq!(reason(&silent, ConditionType::Ready), Reason::Unreachable);
}

/// Kubelet tells of a container's last end for as long as the pod is there.
#[test]
fn an_end_of_long_ago_does_not_hide_what_failed_since() {
    let mut observed = running("good:1");
    let (now_ms, old_ms) = (observed.now_ms, observed.now_ms - 3_600_000);
    observed.pods[0].trouble = Some(PodTrouble {
        ended_ms: Some(old_ms),
        ..PodTrouble::new(Reason::CrashLoop, "container job ended with exit code 1")
    });
    let old = plan(&observed, &settings()).status.last_failure;
    assert_eq!(old.unwrap().time, crate::time::to_seconds_text(old_ms));
    set_view(&mut observed, 0, |view| {
        view.last_failure = Some(FailureView {
            time_ms: now_ms - 5000,
            operator: None,
            message: "no such topic".to_owned(),
        });
    });
    for _ in 0..2 {
        let told = step(&mut observed).status.last_failure.unwrap();
        assert_eq!(told.message, "no such topic");
    }
}

#[test]
fn an_upgrade_whose_process_ends_again_and_again_is_rolled_back_before_its_deadline() {
    let (mut observed, old, _) = handed_over(Phase::Starting);
    say(&mut observed, Phase::Running, Some(2));
    set_view(&mut observed, 0, |view| view.completed_checkpoint_count = 2);
    let twice = step(&mut observed);
    assert_eq!(twice.decision, Decision::Prove, "it proves nothing");
    say(&mut observed, Phase::Starting, Some(3));
    let back = step(&mut observed);
    assert_eq!(back.decision, Decision::RollBack);
    assert_eq!(phase(&back), UpgradePhase::RolledBack);
    assert_eq!(back.status.revision, Some(old));
    let why = message(&back, ConditionType::UpToDate);
    assert!(why.contains("ended 3 times"), "{why}");
    assert!(why.contains("memory limit of 100Mi"), "{why}");
}

#[test]
fn an_upgrade_that_dies_before_it_can_be_asked_is_rolled_back_for_its_failure() {
    let (mut observed, ..) = handed_over(Phase::Starting);
    for count in 0..4 {
        say(&mut observed, Phase::Starting, Some(1));
        set_view(&mut observed, 0, |view| view.attempt = Some(20 + count));
        step(&mut observed);
    }
    fall_silent(&mut observed);
    observed.now_ms += 10_000;
    let late = plan(&observed, &settings());
    assert_ne!(late.decision, Decision::RollBack, "an answer may be late");
    observed.now_ms += 1;
    let back = plan(&observed, &settings());
    assert_eq!(back.decision, Decision::RollBack);
    let why = message(&back, ConditionType::UpToDate);
    assert!(why.contains("memory limit of 100Mi"), "{why}");
}

#[test]
fn an_upgrade_that_is_late_tells_what_it_failed_of() {
    let (mut observed, ..) = handed_over(Phase::Starting);
    say(&mut observed, Phase::Restoring, Some(1));
    step(&mut observed);
    fall_silent(&mut observed);
    observed.now_ms += 603_000;
    let back = step(&mut observed);
    assert_eq!(back.decision, Decision::RollBack);
    let why = back.status.upgrade.unwrap().message;
    assert!(why.contains("not stable within 600 s"), "{why}");
    assert!(why.contains("memory limit of 100Mi"), "{why}");
    assert!(why.contains("Connection refused"), "{why}");
}
