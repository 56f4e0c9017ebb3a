//! Retained entries that are damaged or missing: a start carries them on, and frees nothing that
//! they may name.

use super::administration::{Tool, script_of_three};
use super::script::*;
use crate::*;

/// A start that begins on the log of three checkpoints, entries 2, 3 and 4, as the test left it.
fn start(start_from: StartFrom, change: impl FnOnce(&mut Script)) -> Script {
    let start = CoordinatorConfig {
        start_from,
        start_generation: 2,
        ..config()
    };
    let mut script = Script::new(start, script_of_three().log);
    change(&mut script);
    script.holds_collections = true;
    script.event(Event::Start);
    script.pass(60_000);
    script.join(1, 4);
    script
}

fn damage(at: u64) -> impl FnOnce(&mut Script) {
    move |script| {
        script.damaged.insert(number(at));
    }
}

fn remove(at: u64) -> impl FnOnce(&mut Script) {
    move |script| {
        script.log.remove(&number(at));
    }
}

fn collection(script: &Script) -> (Vec<LogNumber>, Attempt) {
    script.find(|action| match action {
        Action::CollectGarbage {
            entries,
            keep_before,
            ..
        } => Some((entries.clone(), *keep_before)),
        _ => None,
    })
}

fn refusal(script: &Script) -> (FailureCategory, String) {
    match script.outcome() {
        JobOutcome::Failed { category, reason } => (category, reason),
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn a_start_goes_on_beside_an_old_damaged_entry_and_names_it_on() {
    let mut script = start(StartFrom::Latest, damage(2));
    assert_eq!(script.deployment().restored, Some(checkpoint_id(3)));
    assert_eq!(script.newest().retained, [2, 3, 4].map(number));
    let (entries, keep_before) = collection(&script);
    assert!(!entries.contains(&number(2)), "{entries:?}");
    // Whatever the entry names was written by attempts that began before it.
    assert_eq!(keep_before, Attempt::of_fence(number(2)));
    // It may be a savepoint, so it is not retired by newer checkpoints.
    script.runs(1);
    for _ in 0..4 {
        script.checkpoint();
    }
    let retained = &script.newest().retained;
    assert_eq!(retained[0], number(2));
    assert_eq!(retained.len(), 3, "and two that the retention keeps");
}

#[test]
fn a_missing_entry_is_a_damaged_one_once_two_listings_agree() {
    let script = start(StartFrom::Latest, remove(2));
    assert_eq!(script.deployment().restored, Some(checkpoint_id(3)));
    assert_eq!(script.newest().retained, [2, 3, 4].map(number));
    let (_, keep_before) = collection(&script);
    assert_eq!(keep_before, Attempt::of_fence(number(2)));
    let read_again = |action: &&Action| matches!(action, Action::LogUnavailable { .. });
    assert_eq!(script.actions.iter().filter(read_again).count(), 1);
}

#[test]
fn a_whole_log_holds_no_file_back() {
    let script = start(StartFrom::Latest, |_| {});
    assert_eq!(collection(&script).1, Attempt::FIRST);
}

#[test]
fn a_whole_checkpoint_can_be_started_from_beside_damaged_ones() {
    let start_from = StartFrom::Checkpoint(checkpoint_id(2));
    let script = start(start_from, damage(2));
    assert_eq!(script.deployment().restored, Some(checkpoint_id(2)));
    let script = start(StartFrom::Empty, remove(3));
    assert_eq!(script.deployment().restored, None);
    assert_eq!(script.newest().retained, [2, 3, 4].map(number));
}

#[test]
fn an_id_that_an_unreadable_entry_has_is_not_given_again() {
    // A fence above the checkpoints tells of checkpoint 3 when its entry cannot be read any more.
    let fenced = start(StartFrom::Latest, |_| {});
    let start = CoordinatorConfig {
        start_from: StartFrom::Checkpoint(checkpoint_id(2)),
        start_generation: 3,
        ..config()
    };
    let mut script = Script::new(start, fenced.log);
    damage(4)(&mut script);
    script.event(Event::Start);
    script.pass(60_000);
    script.join(1, 4);
    assert_eq!(script.deployment().restored, Some(checkpoint_id(2)));
    script.runs(1);
    script.checkpoint();
    let newest = script.newest().manifest().unwrap().checkpoint;
    assert_eq!(newest, checkpoint_id(4));
}

#[test]
fn an_id_is_not_given_again_after_its_checkpoint_was_released_while_no_attempt_ran() {
    let mut script = script_of_three();
    let task = AdministrationTask::Release(checkpoint_id(3));
    Tool::new(task, 0).run(&mut script);
    assert_eq!(
        script.newest().greatest_checkpoint(),
        Some(checkpoint_id(3))
    );
}

#[test]
fn the_checkpoint_that_is_to_be_restored_must_be_whole() {
    let script = start(StartFrom::Checkpoint(checkpoint_id(1)), damage(2));
    let (category, reason) = refusal(&script);
    assert_eq!(category, FailureCategory::CheckpointMissing);
    assert!(
        reason.contains("retains 2, 3; log entry 2 cannot be read and may be it"),
        "{reason}"
    );
    assert_eq!(script.log.len(), 3, "nothing is written");

    // Sent back to checkpoint 1, whose entry is damaged before the next start.
    let back = start(StartFrom::Checkpoint(checkpoint_id(1)), |_| {});
    let latest = |script: &mut Script| {
        script.log.clone_from(&back.log);
        script.damaged.insert(number(2));
    };
    let (category, reason) = refusal(&start(StartFrom::Latest, latest));
    assert_eq!(category, FailureCategory::CheckpointUnreadable);
    assert!(
        reason.contains("log entry 2, which cannot be read"),
        "{reason}"
    );
}

#[test]
fn a_damaged_highest_entry_is_refused() {
    let script = start(StartFrom::Checkpoint(checkpoint_id(1)), damage(4));
    assert_eq!(script.log.len(), 3, "nothing is written");
    let unavailable = |action: &Action| match action {
        Action::LogUnavailable { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    let reason = script.find(unavailable);
    assert_eq!(reason, "read of log entry 4: log entry 4 is damaged");
}

#[test]
fn what_is_left_behind_in_a_log_that_was_removed_is_refused() {
    let script = start(StartFrom::Latest, |script| {
        remove(2)(script);
        remove(3)(script);
    });
    let (category, reason) = refusal(&script);
    assert_eq!(category, FailureCategory::CheckpointUnreadable);
    assert!(reason.contains("entry 4 is all that is left"), "{reason}");
    assert_eq!(script.log.len(), 1, "nothing is written");
}

#[test]
fn a_damaged_entry_is_released_by_its_number_and_its_files_are_free_then() {
    let mut script = script_of_three();
    script.damaged.insert(number(3));
    let task = AdministrationTask::ReleaseDamaged(number(3));
    let outcome = Tool::new(task, 0).run(&mut script);
    assert!(
        matches!(
            outcome,
            AdministrationOutcome::DamagedReleased {
                next: NextStart::Unchanged,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(script.newest().retained, [2, 4].map(number));
    assert!(!script.log.contains_key(&number(3)));
    // Once more, and one that is whole: neither is a damaged entry.
    for at in [3, 4] {
        let log = script.log.clone();
        let task = AdministrationTask::ReleaseDamaged(number(at));
        let outcome = Tool::new(task, 0).run(&mut script);
        assert!(
            matches!(outcome, AdministrationOutcome::NotRetained { .. }),
            "{outcome:?}"
        );
        assert_eq!(script.log, log);
    }
}

#[test]
fn a_release_beside_a_damaged_entry_keeps_it_named() {
    let mut script = script_of_three();
    script.damaged.insert(number(2));
    let task = |id| AdministrationTask::Release(checkpoint_id(id));
    let outcome = Tool::new(task(2), 0).run(&mut script);
    assert!(
        matches!(outcome, AdministrationOutcome::Released { .. }),
        "{outcome:?}"
    );
    assert_eq!(script.newest().retained, [2, 4].map(number));
    // Whether checkpoint 1 is still retained, nobody can tell.
    let outcome = Tool::new(task(1), 0).run(&mut script);
    let AdministrationOutcome::PerhapsRetained { retained, damaged } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(retained, [checkpoint_id(3)]);
    assert_eq!(damaged[0].0, number(2));
}
