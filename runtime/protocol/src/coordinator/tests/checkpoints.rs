//! Checkpoints that complete, fail and are retained.

use std::collections::BTreeMap;

use super::script::*;
use crate::*;

#[test]
fn a_checkpoint_is_complete_when_its_entry_counts_and_workers_are_told_then() {
    let mut script = Script::running();
    script.pass(INTERVAL_MS);
    let (checkpoint, kind, is_last) = script.triggered();
    assert_eq!(
        (checkpoint.get(), kind, is_last),
        (1, CheckpointKind::Checkpoint, false)
    );
    assert_eq!(script.log.len(), 1);
    script.acknowledge(checkpoint);
    let manifest = script.newest().manifest().unwrap();
    assert_eq!(manifest.checkpoint, checkpoint);
    assert_eq!(manifest.operators.len(), 2);
    assert_eq!(script.newest().retained, [number(2)]);
    script.find(|action| match action {
        Action::Send {
            message: ToWorker::CheckpointCompleted { .. },
            ..
        } => Some(()),
        _ => None,
    });
}

#[test]
fn retention_keeps_the_newest_and_the_rest_is_collected() {
    let mut script = Script::running();
    for _ in 0..4 {
        script.checkpoint();
    }
    let left: Vec<_> = script.log.keys().map(|number| number.get()).collect();
    assert_eq!(left, [4, 5]);
}

#[test]
fn a_failed_snapshot_aborts_the_checkpoint_and_not_the_job() {
    let mut script = Script::running();
    for failures in 1..=2 {
        script.pass(script.now_ms + INTERVAL_MS);
        let (checkpoint, ..) = script.triggered();
        let attempt = script.attempt();
        script.says(
            1,
            FromWorker::SnapshotFailed {
                attempt,
                checkpoint,
                subtask: SubtaskId {
                    chain: ChainId(1),
                    index: crate::SubtaskIndex(0),
                },
                reason: "no space left".to_owned(),
            },
        );
        let (failed, reason, count) = script.find(|action| match action {
            Action::CheckpointFailed {
                checkpoint,
                reason,
                failure_count,
                ..
            } => Some((*checkpoint, reason.clone(), *failure_count)),
            _ => None,
        });
        assert_eq!((failed, count), (checkpoint, failures));
        assert!(
            reason.contains("subtask 1/0") && reason.contains("no space left"),
            "{reason}"
        );
    }
    let checkpoint = script.checkpoint();
    assert_eq!(script.newest().manifest().unwrap().checkpoint, checkpoint);
}

#[test]
fn a_checkpoint_that_takes_too_long_is_aborted_by_name() {
    let mut script = Script::running();
    script.pass(INTERVAL_MS + TIMEOUT_MS);
    let reason = script.find(|action| match action {
        Action::CheckpointFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(
        reason.contains("10000 ms") && reason.contains("subtask 0/0"),
        "{reason}"
    );
}

#[test]
fn a_log_that_is_down_holds_the_checkpoint_back_and_not_the_job() {
    let mut script = Script::running();
    script.is_log_down = true;
    script.checkpoint();
    script.pass(script.now_ms + 10 * TIMEOUT_MS);
    let failures = script.find(|action| match action {
        Action::LogUnavailable {
            reason,
            failure_count,
        } => {
            assert!(reason.contains("the store is down"), "{reason}");
            Some(*failure_count)
        }
        _ => None,
    });
    assert!((8..20).contains(&failures), "{failures} tries within 100 s");
    assert!(matches!(script.state(), JobState::Running { .. }));
    script.is_log_down = false;
    script.pass(script.now_ms + 40_000);
    assert_eq!(
        script
            .log
            .values()
            .filter(|entry| entry.manifest().is_some())
            .count(),
        1
    );
}

#[test]
fn a_log_that_is_down_at_the_start_is_an_error_soon() {
    let mut script = Script::new(config(), BTreeMap::new());
    script.is_log_down = true;
    script.event(Event::Start);
    script.pass(200_000);
    let JobOutcome::Failed { category, reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
    assert_eq!(category, FailureCategory::StorageUnavailable);
    assert!(reason.contains("the store is down"), "{reason}");
}

#[test]
fn a_snapshot_that_refers_to_a_file_nobody_retains_fails_the_checkpoint() {
    let mut script = Script::running();
    script.pass(INTERVAL_MS);
    let (checkpoint, ..) = script.triggered();
    script.acknowledge_with(checkpoint, &["state/1/9/result.arrow"]);
    let reason = script.find(|action| match action {
        Action::CheckpointFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("`state/1/9/result.arrow`"), "{reason}");
    script.pass(script.now_ms + INTERVAL_MS);
    let (checkpoint, ..) = script.triggered();
    script.acknowledge_with(checkpoint, &["state/1/2/result.arrow"]);
    assert_eq!(script.newest().manifest().unwrap().checkpoint, checkpoint);
    // The next one may build on it.
    script.pass(script.now_ms + INTERVAL_MS);
    let (checkpoint, ..) = script.triggered();
    script.acknowledge_with(
        checkpoint,
        &["state/1/2/result.arrow", "state/1/3/result.arrow"],
    );
    assert_eq!(script.newest().manifest().unwrap().checkpoint, checkpoint);
}

#[test]
fn a_collection_under_way_spares_what_is_triggered_after_it_began() {
    let mut script = Script::new(config(), BTreeMap::new());
    script.holds_collections = true;
    script.event(Event::Start);
    script.join(1, 4);
    script.runs(1);
    let (request, keep_from, attempt) = script.find(|action| match action {
        Action::CollectGarbage {
            request,
            keep_from,
            attempt,
            ..
        } => Some((*request, *keep_from, *attempt)),
        _ => None,
    });
    assert_eq!((keep_from, attempt), (checkpoint_id(1), script.attempt()));
    // One at a time: the next begins when this one is done.
    script.checkpoint();
    script.checkpoint();
    let is_collection = |action: &&Action| matches!(action, Action::CollectGarbage { .. });
    assert_eq!(script.actions.iter().filter(is_collection).count(), 1);
    let result = Ok(1);
    script.event(Event::GarbageCollected { request, result });
    assert_eq!(script.actions.iter().filter(is_collection).count(), 2);
}

/// Has the checkpoint in flight fail, and gives when that was.
fn fail_snapshot(script: &mut Script) -> i64 {
    let (checkpoint, ..) = script.triggered();
    let attempt = script.attempt();
    let subtask = SubtaskId {
        chain: ChainId(1),
        index: crate::SubtaskIndex(0),
    };
    script.says(
        1,
        FromWorker::SnapshotFailed {
            attempt,
            checkpoint,
            subtask,
            reason: "no space left".to_owned(),
        },
    );
    script.now_ms
}

#[test]
fn checkpoints_that_failed_by_the_interval_hold_up_nobody_s_wish() {
    let mut script = Script::running();
    for _ in 0..12 {
        script.pass(script.now_ms + INTERVAL_MS);
        fail_snapshot(&mut script);
    }
    script.command(Command::Savepoint {
        request: 1,
        name: None,
    });
    let (_, kind, _) = script.triggered();
    assert_eq!(kind, CheckpointKind::Savepoint, "at once");
}

#[test]
fn a_last_checkpoint_that_fails_is_tried_again_within_seconds() {
    let mut script = Script::running();
    script.end_all();
    let mut waits_ms = Vec::new();
    for _ in 0..8 {
        let failed_ms = fail_snapshot(&mut script);
        let due_ms = script.timer_ms.unwrap();
        waits_ms.push(due_ms - failed_ms);
        script.pass(due_ms);
    }
    assert_eq!(waits_ms, [200, 400, 800, 1600, 3200, 3200, 3200, 3200]);
}
