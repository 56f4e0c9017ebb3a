//! What ends a job, and what people ask for.

use std::collections::BTreeMap;

use super::script::*;
use crate::*;

#[test]
fn the_end_of_all_input_leads_to_a_final_checkpoint_its_commit_and_the_end() {
    let mut script = Script::running();
    script.end_all();
    let (checkpoint, ..) = script.triggered();
    script.acknowledge(checkpoint);
    assert!(script.newest().manifest().unwrap().is_final);
    assert!(
        !script
            .actions
            .iter()
            .any(|action| matches!(action, Action::Finish(_)))
    );
    script.commit(checkpoint);
    assert_eq!(
        script.outcome(),
        JobOutcome::Finished {
            checkpoint: Some(checkpoint)
        }
    );
}

#[test]
fn a_job_that_was_final_ends_without_another_checkpoint() {
    let mut script = Script::running();
    script.end_all();
    let (checkpoint, ..) = script.triggered();
    script.acknowledge(checkpoint);
    let mut script = Script::started(config(), script.log);
    assert!(script.deployment().is_final);
    script.runs(1);
    script.end_all();
    assert_eq!(
        script.outcome(),
        JobOutcome::Finished {
            checkpoint: Some(checkpoint)
        }
    );
    let triggers = |action: &Action| {
        matches!(
            action,
            Action::Send {
                message: ToWorker::TriggerCheckpoint { .. },
                ..
            }
        )
    };
    assert!(!script.actions.iter().any(triggers));
}

#[test]
fn a_stop_takes_a_last_savepoint_and_waits_for_its_commit() {
    let mut script = Script::running();
    script.command(Command::Stop {
        request: 7,
        mode: StopMode::Savepoint,
    });
    let (savepoint, kind, is_last) = script.triggered();
    assert_eq!((kind, is_last), (CheckpointKind::Savepoint, true));
    script.acknowledge(savepoint);
    script.commit(savepoint);
    assert_eq!(
        script.outcome(),
        JobOutcome::Stopped {
            savepoint: Some(savepoint)
        }
    );
    assert_eq!(script.done(7), Ok(Some(savepoint)));
}

#[test]
fn a_stop_whose_commit_was_lost_commits_by_restoring_and_stops_then() {
    let mut script = Script::running();
    script.command(Command::Stop {
        request: 7,
        mode: StopMode::Savepoint,
    });
    let (savepoint, ..) = script.triggered();
    script.acknowledge(savepoint);
    script.fail(false);
    let attempt = script.attempt();
    script.says(1, FromWorker::Cancelled { attempt });
    script.pass(script.now_ms + 1_000);
    script.runs(1);
    assert_eq!(
        script.outcome(),
        JobOutcome::Stopped {
            savepoint: Some(savepoint)
        }
    );
}

#[test]
fn an_immediate_stop_takes_no_savepoint() {
    let mut script = Script::running();
    script.command(Command::Stop {
        request: 7,
        mode: StopMode::Immediate,
    });
    assert_eq!(script.outcome(), JobOutcome::Stopped { savepoint: None });
}

#[test]
fn a_rescale_checkpoints_and_goes_on_at_the_new_parallelism() {
    let mut script = Script::running();
    let parallelism = Parallelism::new(3).unwrap();
    script.command(Command::Rescale {
        request: 5,
        parallelism,
    });
    let (checkpoint, ..) = script.triggered();
    script.acknowledge(checkpoint);
    let attempt = script.attempt();
    script.says(1, FromWorker::Cancelled { attempt });
    script.runs(1);
    assert_eq!(script.deployment().parallelism, parallelism);
    assert_eq!(script.deployment().restored, Some(checkpoint));
    assert_eq!(script.done(5), Ok(Some(checkpoint)));
}

#[test]
fn a_rescale_beyond_the_slots_is_refused_and_the_job_runs_on() {
    let mut script = Script::running();
    let parallelism = Parallelism::new(5).unwrap();
    script.command(Command::Rescale {
        request: 5,
        parallelism,
    });
    assert!(script.done(5).unwrap_err().contains("there are 4"));
    let parallelism = Parallelism::new(9).unwrap();
    script.command(Command::Rescale {
        request: 6,
        parallelism,
    });
    assert!(script.done(6).unwrap_err().contains("max parallelism 8"));
    script.checkpoint();
}

#[test]
fn a_savepoint_stays_until_it_is_released() {
    let mut script = Script::running();
    script.command(Command::Savepoint {
        request: 1,
        name: None,
    });
    let (savepoint, kind, _) = script.triggered();
    assert_eq!(kind, CheckpointKind::Savepoint);
    script.acknowledge(savepoint);
    assert_eq!(script.done(1), Ok(Some(savepoint)));
    script.command(Command::Release {
        request: 2,
        checkpoint: savepoint,
    });
    assert!(script.done(2).unwrap_err().contains("goes on from"));
    for _ in 0..3 {
        script.checkpoint();
    }
    assert_eq!(script.newest().retained.len(), 3);
    script.command(Command::Release {
        request: 3,
        checkpoint: savepoint,
    });
    assert_eq!(script.done(3), Ok(Some(savepoint)));
    assert!(matches!(script.newest().body, EntryBody::Release { .. }));
    assert_eq!(script.newest().retained.len(), 2);
    script.command(Command::Release {
        request: 4,
        checkpoint: checkpoint_id(99),
    });
    assert!(script.done(4).unwrap_err().contains("not retained"));
    script.checkpoint();
}

#[test]
fn what_is_retained_after_a_release_is_told_before_the_answer() {
    let mut script = Script::running();
    let (released, kept) = (script.checkpoint(), script.checkpoint());
    script.taken();
    script.command(Command::Release {
        request: 1,
        checkpoint: released,
    });
    let retained = script.newest().retained.clone();
    let retained_id = script.log[&retained[0]].manifest().unwrap().checkpoint;
    assert_eq!((retained.len(), retained_id), (1, kept));
    let position = |wanted: &Action| script.actions.iter().position(|action| action == wanted);
    let told = position(&Action::CheckpointsReleased { retained });
    let answered = position(&Action::CommandDone {
        request: 1,
        result: Ok(Some(released)),
    });
    assert!(told.is_some() && told < answered, "{:#?}", script.actions);
}

#[test]
fn the_end_waits_for_a_collection_but_not_for_ever() {
    let mut script = Script::running();
    script.holds_collections = true;
    script.checkpoint();
    script.end_all();
    let (checkpoint, ..) = script.triggered();
    script.acknowledge(checkpoint);
    script.commit(checkpoint);
    let is_end = |action: &Action| matches!(action, Action::Finish(_));
    assert!(!script.actions.iter().any(is_end));
    script.pass(script.now_ms + 10_000);
    let checkpoint = Some(checkpoint);
    assert_eq!(script.outcome(), JobOutcome::Finished { checkpoint });
}

#[test]
fn a_checkpoint_is_released_while_no_worker_runs() {
    let mut script = Script::running();
    let first = script.checkpoint();
    script.checkpoint();
    let mut tool = Script::new(config(), script.log);
    tool.event(Event::Start);
    tool.command(Command::Release {
        request: 1,
        checkpoint: first,
    });
    assert_eq!(tool.done(1), Ok(Some(first)));
    tool.command(Command::Stop {
        request: 2,
        mode: StopMode::Immediate,
    });
    assert_eq!(tool.outcome(), JobOutcome::Stopped { savepoint: None });
    let script = Script::started(config(), tool.log);
    assert_eq!(script.deployment().restored, Some(checkpoint_id(2)));
    assert_eq!(script.newest().retained.len(), 1);
}

#[test]
fn a_stop_whose_savepoint_fails_says_so_and_the_job_goes_on() {
    let mut script = Script::running();
    let checkpoint = script.checkpoint();
    script.command(Command::Stop {
        request: 3,
        mode: StopMode::Savepoint,
    });
    script.pass(script.now_ms + TIMEOUT_MS);
    let reason = script.done(3).unwrap_err();
    assert!(reason.contains("goes on from its latest"), "{reason}");
    let attempt = script.attempt();
    script.says(1, FromWorker::Cancelled { attempt });
    assert_eq!(script.deployment().restored, Some(checkpoint));
    script.runs(1);
    script.checkpoint();
}

#[test]
fn a_stop_whose_attempt_fails_under_its_barrier_says_so_and_the_job_goes_on() {
    for mode in [StopMode::Savepoint, StopMode::Checkpoint] {
        let mut script = Script::running();
        let checkpoint = script.checkpoint();
        script.command(Command::Stop { request: 3, mode });
        let (last, _, is_last) = script.triggered();
        assert!(is_last);
        script.fail(false);
        let reason = script.done(3).unwrap_err();
        let told = format!("checkpoint {last} failed, so the job goes on from its latest");
        assert!(reason.contains(&told), "{reason}");
        assert!(reason.contains("disk on fire"), "{reason}");
        let attempt = script.attempt();
        script.says(1, FromWorker::Cancelled { attempt });
        script.pass(script.now_ms + 1_000);
        assert_eq!(script.deployment().restored, Some(checkpoint));
        script.runs(1);
        script.checkpoint();
    }
}

#[test]
fn a_stop_whose_attempt_fails_for_good_is_told_the_reason() {
    let mut script = Script::running();
    let mode = StopMode::Savepoint;
    script.command(Command::Stop { request: 3, mode });
    script.fail(true);
    let reason = script.done(3).unwrap_err();
    assert!(!reason.contains("goes on"), "{reason}");
    assert!(reason.contains("disk on fire"), "{reason}");
}

#[test]
fn too_many_waiting_commands_are_refused() {
    let mut script = Script::new(config(), BTreeMap::new());
    for request in 0..65 {
        script.command(Command::Savepoint {
            request,
            name: None,
        });
    }
    let reason = script.done(64).unwrap_err();
    assert!(reason.contains("64 savepoints wait"), "{reason}");
}

#[test]
fn reconfiguring_takes_effect_at_once() {
    let mut script = Script::running();
    script.command(Command::Reconfigure {
        checkpoint_interval_ms: None,
        retained_checkpoints: 1,
    });
    script.pass(10 * INTERVAL_MS);
    assert_eq!(script.log.len(), 1);
    script.command(Command::Reconfigure {
        checkpoint_interval_ms: Some(100),
        retained_checkpoints: 1,
    });
    let (checkpoint, ..) = script.triggered();
    script.acknowledge(checkpoint);
    script.checkpoint();
    assert_eq!(script.newest().retained.len(), 1);
}

#[test]
fn a_job_that_waits_for_slots_can_ask_for_fewer() {
    let parallelism = Parallelism::new(4).unwrap();
    let mut script = Script::new(
        CoordinatorConfig {
            parallelism,
            ..config()
        },
        BTreeMap::new(),
    );
    script.event(Event::Start);
    script.join(1, 2);
    let parallelism = Parallelism::new(2).unwrap();
    script.command(Command::Rescale {
        request: 1,
        parallelism,
    });
    script.runs(1);
    assert_eq!(script.deployment().parallelism, parallelism);
    assert_eq!(script.done(1), Ok(None));
}

#[test]
fn a_job_that_goes_on_after_its_final_checkpoint_takes_another_at_its_end() {
    let mut script = Script::running();
    script.end_all();
    let (first, ..) = script.triggered();
    script.acknowledge(first);
    let mut script = Script::started(config(), script.log);
    script.runs(1);
    // Its sources found more to read, so that a periodic checkpoint came first.
    script.checkpoint();
    script.end_all();
    let (last, ..) = script.triggered();
    script.acknowledge(last);
    script.commit(last);
    let checkpoint = Some(last);
    assert_eq!(script.outcome(), JobOutcome::Finished { checkpoint });
    assert!(script.newest().manifest().unwrap().is_final);
}

#[test]
fn a_stop_during_a_rescale_still_takes_its_savepoint() {
    let mut script = Script::running();
    let parallelism = Parallelism::new(3).unwrap();
    script.command(Command::Rescale {
        request: 1,
        parallelism,
    });
    let (checkpoint, ..) = script.triggered();
    script.acknowledge(checkpoint);
    script.command(Command::Stop {
        request: 2,
        mode: StopMode::Savepoint,
    });
    let attempt = script.attempt();
    script.says(1, FromWorker::Cancelled { attempt });
    script.runs(1);
    let (savepoint, kind, is_last) = script.triggered();
    assert_eq!((kind, is_last), (CheckpointKind::Savepoint, true));
    script.acknowledge(savepoint);
    script.commit(savepoint);
    assert_eq!(script.done(2), Ok(Some(savepoint)));
}

#[test]
fn a_stop_while_backing_off_needs_no_savepoint() {
    let mut script = Script::running();
    script.checkpoint();
    script.fail(false);
    let attempt = script.attempt();
    script.says(1, FromWorker::Cancelled { attempt });
    script.command(Command::Stop {
        request: 2,
        mode: StopMode::Savepoint,
    });
    assert_eq!(script.outcome(), JobOutcome::Stopped { savepoint: None });
    assert_eq!(script.done(2), Ok(None));
}

fn named(request: u64, name: &str) -> Command {
    Command::Savepoint {
        request,
        name: Some(name.to_owned()),
    }
}

#[test]
fn a_stop_with_an_ordinary_checkpoint_leaves_no_savepoint() {
    let mut script = Script::running();
    script.command(Command::Stop {
        request: 7,
        mode: StopMode::Checkpoint,
    });
    let (checkpoint, kind, is_last) = script.triggered();
    assert_eq!((kind, is_last), (CheckpointKind::Checkpoint, true));
    // Who asks for a savepoint now must not be told that this is one.
    script.command(Command::Stop {
        request: 8,
        mode: StopMode::Savepoint,
    });
    assert!(script.done(8).unwrap_err().contains("stopping already"));
    script.acknowledge(checkpoint);
    script.commit(checkpoint);
    let savepoint = Some(checkpoint);
    assert_eq!(script.outcome(), JobOutcome::Stopped { savepoint });
    assert_eq!(script.done(7), Ok(savepoint));
}

#[test]
fn the_stop_that_leaves_more_counts() {
    let mut script = Script::running();
    script.pass(INTERVAL_MS);
    let (periodic, ..) = script.triggered();
    for (request, mode) in [(1, StopMode::Savepoint), (2, StopMode::Checkpoint)] {
        script.command(Command::Stop { request, mode });
    }
    script.acknowledge(periodic);
    let (savepoint, kind, _) = script.triggered();
    assert_eq!(kind, CheckpointKind::Savepoint);
    script.acknowledge(savepoint);
    script.commit(savepoint);
    assert_eq!(script.done(1), Ok(Some(savepoint)));
}

#[test]
fn a_savepoint_of_a_name_is_taken_once() {
    let mut script = Script::running();
    script.command(named(1, "before-upgrade"));
    script.command(named(2, "before-upgrade"));
    let (first, ..) = script.triggered();
    script.acknowledge(first);
    let name = Some("before-upgrade".to_owned());
    assert_eq!(script.newest().manifest().unwrap().name, name);
    assert_eq!(
        (script.done(1), script.done(2)),
        (Ok(Some(first)), Ok(Some(first)))
    );
    script.checkpoint();
    script.command(named(3, "before-upgrade"));
    assert_eq!(script.done(3), Ok(Some(first)));
    // Also of a process that has never taken it.
    let mut script = Script::started(config(), script.log);
    script.command(named(4, "before-upgrade"));
    assert_eq!(script.done(4), Ok(Some(first)));
    script.runs(1);
    script.checkpoint();
    // Once it is released, the name is free.
    script.command(Command::Release {
        request: 5,
        checkpoint: first,
    });
    assert_eq!(script.done(5), Ok(Some(first)));
    script.command(named(6, "before-upgrade"));
    let (second, ..) = script.triggered();
    script.acknowledge(second);
    assert!(script.done(6) == Ok(Some(second)) && second > first);
}

#[test]
fn savepoints_of_different_names_are_different_ones() {
    let mut script = Script::running();
    script.pass(INTERVAL_MS);
    let (periodic, ..) = script.triggered();
    script.command(named(1, "a"));
    script.command(named(2, "b"));
    script.command(Command::Savepoint {
        request: 3,
        name: None,
    });
    script.acknowledge(periodic);
    let (a, ..) = script.triggered();
    script.acknowledge(a);
    assert_eq!((script.done(1), script.done(3)), (Ok(Some(a)), Ok(Some(a))));
    let (b, ..) = script.triggered();
    script.acknowledge(b);
    assert!(script.done(2) == Ok(Some(b)) && b > a);
    assert_eq!(script.newest().retained.len(), 3);
}
