//! How attempts begin, fail and follow each other.

use std::collections::BTreeMap;

use super::script::*;
use crate::*;

#[test]
fn a_new_job_fences_deploys_and_runs_from_nothing() {
    let script = Script::running();
    let EntryBody::Fence { base, writer, .. } = &script.newest().body else {
        panic!("{:?}", script.newest());
    };
    assert_eq!((base, writer.as_str()), (&Base::Empty, "test"));
    assert_eq!(script.attempt(), Attempt::FIRST);
    assert_eq!(script.deployment().restored, None);
    let state = JobState::Running {
        attempt: Attempt::FIRST,
        restored: None,
    };
    assert_eq!(script.state(), state);
}

#[test]
fn nothing_is_deployed_before_the_fence_counts_and_there_are_slots() {
    let mut script = Script::new(config(), BTreeMap::new());
    script.event(Event::Start);
    assert!(script.newest().manifest().is_none());
    let is_deploy = |action: &Action| {
        matches!(
            action,
            Action::Send {
                message: ToWorker::Deploy(_),
                ..
            }
        )
    };
    assert!(!script.actions.iter().any(is_deploy));
    script.join(1, 1);
    assert!(script.actions.iter().any(is_deploy));
}

#[test]
fn a_failed_subtask_restarts_the_job_from_the_latest_checkpoint_after_a_wait() {
    let mut script = Script::running();
    let checkpoint = script.checkpoint();
    script.fail(false);
    let attempt = script.attempt();
    script.says(1, FromWorker::Cancelled { attempt });
    let JobState::BackingOff {
        reason,
        until_ms,
        category,
        restart_count,
    } = script.state()
    else {
        panic!("{:?}", script.state());
    };
    assert_eq!(reason, "operator `result` (subtask 1/0): disk on fire");
    assert_eq!((until_ms, restart_count), (script.now_ms + 100, 1));
    assert_eq!(category, FailureCategory::ProgramFailed);
    script.pass(until_ms);
    assert_eq!(script.deployment().restored, Some(checkpoint));
    assert_eq!(script.attempt().get(), 3);
    let items = |deployment: &Deployment| -> Vec<_> {
        deployment
            .subtasks
            .iter()
            .map(|subtask| subtask.operators[0].items.clone())
            .collect()
    };
    let expected = [
        vec!["0/0 of 1".into()],
        vec![serde_json::Value::from("1/0 of 1")],
    ];
    assert_eq!(items(&script.deployment()), expected);
}

#[test]
fn the_restart_budget_ends_a_job_that_cannot_live_with_the_reason() {
    let mut script = Script::running();
    for _ in 0..3 {
        script.fail(false);
        let attempt = script.attempt();
        script.says(1, FromWorker::Cancelled { attempt });
        script.pass(script.now_ms + 2_000);
        script.runs(1);
    }
    script.fail(false);
    let JobOutcome::Failed { category, reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
    assert_eq!(category, FailureCategory::RestartsExhausted);
    assert!(!category.may_heal());
    assert!(
        reason.contains("3 restarts") && reason.contains("disk on fire"),
        "{reason}"
    );
}

#[test]
fn a_permanent_failure_ends_the_job_at_once() {
    let mut script = Script::running();
    script.fail(true);
    let reason = "operator `result` (subtask 1/0): disk on fire".to_owned();
    let category = FailureCategory::ProgramFailed;
    assert_eq!(script.outcome(), JobOutcome::Failed { category, reason });
}

#[test]
fn an_attempt_that_finds_a_newer_fence_stops_without_committing() {
    let mut script = Script::running();
    let mut other = Script::started(config(), script.log.clone());
    other.runs(1);
    script.log = other.log;
    script.taken();
    script.actions.push(Action::Send {
        worker: worker_id(1),
        message: ToWorker::Deploy(Box::new(Script::running().deployment())),
    });
    script.checkpoint();
    assert_eq!(script.outcome(), JobOutcome::Fenced { by: number(2) });
    let commits = |action: &Action| {
        matches!(
            action,
            Action::Send {
                message: ToWorker::CheckpointCompleted { .. },
                ..
            }
        )
    };
    assert!(!script.actions.iter().any(commits));
}

#[test]
fn a_start_from_empty_is_remembered_by_the_fence() {
    let mut script = Script::running();
    script.checkpoint();
    let config_empty = CoordinatorConfig {
        start_from: StartFrom::Empty,
        ..generation(2)
    };
    let mut script = Script::started(config_empty, script.log);
    assert_eq!(script.deployment().restored, None);
    assert_eq!(script.newest().retained, [number(2)]);
    // It dies before its first checkpoint; who starts from the latest starts from nothing, too.
    script = Script::started(generation(2), script.log);
    assert_eq!(script.deployment().restored, None);
    script.runs(1);
    script.checkpoint();
    script = Script::started(generation(2), script.log);
    assert_eq!(script.deployment().restored, Some(checkpoint_id(2)));
}

#[test]
fn a_request_to_start_from_elsewhere_is_honoured_once() {
    let empty = |start_generation| CoordinatorConfig {
        start_from: StartFrom::Empty,
        start_generation,
        ..config()
    };
    let mut script = Script::running();
    script.checkpoint();
    let mut script = Script::started(empty(5), script.log);
    assert_eq!(script.deployment().restored, None);
    script.runs(1);
    let own = script.checkpoint();
    // The same request again, of a process that was started anew.
    script = Script::started(empty(5), script.log);
    assert_eq!(script.deployment().restored, Some(own));
    let script = Script::started(empty(6), script.log);
    assert_eq!(script.deployment().restored, None);
}

/// A revision that could not begin is replaced by one that starts from where that one was to.
#[test]
fn a_request_of_an_earlier_start_is_honoured_unless_that_one_began() {
    let empty = |start_generation, asked| CoordinatorConfig {
        start_from: StartFrom::Empty,
        start_from_generation: asked,
        start_generation,
        ..config()
    };
    let mut script = Script::running();
    script.checkpoint();
    let mut script = Script::started(empty(6, Some(5)), script.log);
    assert_eq!(script.deployment().restored, None, "5 never began");
    script.runs(1);
    let own = script.checkpoint();
    let script = Script::started(empty(8, Some(5)), script.log);
    assert_eq!(script.deployment().restored, Some(own), "6 did");
    let script = Script::started(empty(9, None), script.log);
    assert_eq!(script.deployment().restored, None, "it is asked anew");
}

fn generation(start_generation: u64) -> CoordinatorConfig {
    CoordinatorConfig {
        start_generation,
        ..config()
    }
}

#[test]
fn every_start_leaves_its_generation_also_one_from_the_latest() {
    let mut script = Script::started(generation(5), BTreeMap::new());
    assert_eq!(script.newest().start_generation, 5);
    script.runs(1);
    let own = script.checkpoint();
    assert_eq!(script.newest().start_generation, 5, "carried on");
    let script = Script::started(generation(7), script.log);
    assert_eq!(script.newest().start_generation, 7);
    // An earlier start that had asked for nothing, had it come now, is not thrown back either.
    let named = CoordinatorConfig {
        start_from: StartFrom::Empty,
        ..generation(7)
    };
    let script = Script::started(named, script.log);
    assert_eq!(script.deployment().restored, Some(own));
}

#[test]
fn an_older_start_is_fenced_before_it_writes_anything() {
    let mut script = Script::started(generation(7), BTreeMap::new());
    script.runs(1);
    script.checkpoint();
    let before = script.log.clone();
    for start_from in [StartFrom::Latest, StartFrom::Empty] {
        let older = CoordinatorConfig {
            start_from,
            ..generation(6)
        };
        let script = Script::started(older, before.clone());
        assert_eq!(script.outcome(), JobOutcome::Fenced { by: number(2) });
        assert_eq!(script.log, before);
    }
}

#[test]
fn an_older_start_that_lost_the_race_to_a_newer_one_does_not_come_back() {
    let mut script = Script::new(generation(6), BTreeMap::new());
    let rival = CoordinatorConfig {
        nonce_seed: 2,
        ..generation(7)
    };
    script.rival = Some(Script::started(rival, BTreeMap::new()).log);
    script.event(Event::Start);
    script.pass(1_000);
    assert_eq!(script.outcome(), JobOutcome::Fenced { by: number(1) });
}

#[test]
fn a_running_job_that_a_newer_start_has_fenced_does_not_come_back_by_a_restart() {
    let mut script = Script::started(generation(6), BTreeMap::new());
    script.runs(1);
    script.fail(false);
    let attempt = script.attempt();
    script.says(1, FromWorker::Cancelled { attempt });
    script.log = Script::started(generation(7), script.log).log;
    script.pass(script.now_ms + 1_000);
    assert_eq!(script.outcome(), JobOutcome::Fenced { by: number(2) });
}

#[test]
fn a_tool_without_a_generation_competes_with_no_start() {
    let script = Script::started(generation(7), BTreeMap::new());
    let script = Script::started(generation(0), script.log);
    assert_eq!(script.newest().number, number(2));
    assert_eq!(script.newest().start_generation, 7);
}

#[test]
fn a_checkpoint_that_cannot_be_read_ends_the_job_at_once_and_may_heal() {
    let mut script = Script::running();
    let attempt = script.attempt();
    script.says(
        1,
        FromWorker::Failed {
            attempt,
            subtask: None,
            operator: None,
            message: "damaged".to_owned(),
            is_permanent: false,
            category: FailureCategory::CheckpointUnreadable,
        },
    );
    let JobOutcome::Failed { category, .. } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
    assert!(category.may_heal());
}

#[test]
fn a_foreign_checkpoint_is_remembered_by_the_fence() {
    let script = Script::started(foreign(), BTreeMap::new());
    assert_eq!(script.deployment().restored, Some(checkpoint_id(3)));
    let script = Script::started(config(), script.log);
    assert_eq!(script.deployment().restored, Some(checkpoint_id(3)));
    let items = &script.deployment().subtasks[0].operators[0].items;
    assert_eq!(items[0], "0/0 of 3");
}

#[test]
fn what_another_job_has_pre_committed_is_committed_by_each_attempt_until_one_has_a_checkpoint() {
    let transactions = |script: &Script| {
        let deployment = script.deployment();
        deployment.subtasks[1].operators[0].items.clone()
    };
    let script = Script::started(foreign(), BTreeMap::new());
    assert_eq!(transactions(&script), ["1/0 of 3"]);
    let mut script = Script::started(config(), script.log);
    assert_eq!(transactions(&script), ["1/0 of 3"]);
    script.runs(1);
    script.checkpoint();
    let script = Script::started(config(), script.log);
    assert_eq!(transactions(&script), ["1/0 of 4"]);
}

#[test]
fn a_job_without_the_sink_whose_output_another_job_pre_committed_is_refused() {
    let mut other = plan();
    other.chains[1].operators[0].id = OperatorId::new("output").unwrap();
    let script = Script::started_with(foreign(), other, BTreeMap::new());
    let JobOutcome::Failed { category, reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
    assert_eq!(category, FailureCategory::StateIncompatible);
    assert!(reason.contains("operator `result`"), "{reason}");
    assert!(script.log.is_empty());
}

#[test]
fn a_checkpoint_after_a_foreign_one_has_a_higher_id_and_none_of_its_files() {
    let mut script = Script::started(foreign(), BTreeMap::new());
    script.runs(1);
    script.pass(INTERVAL_MS);
    let (checkpoint, ..) = script.triggered();
    assert_eq!(checkpoint, checkpoint_id(4));
    script.acknowledge_with(checkpoint, &["s3://bucket/other/state/1/3/result.arrow"]);
    let reason = script.find(|action| match action {
        Action::CheckpointFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("s3://bucket/other"), "{reason}");
    script.checkpoint();
    assert_eq!(script.newest().base(), Base::Checkpoint(number(2)));
}

/// Starts from the third checkpoint of another job.
fn foreign() -> CoordinatorConfig {
    let mut other = Script::running();
    other.checkpoint();
    other.checkpoint();
    other.pass(other.now_ms + INTERVAL_MS);
    let (checkpoint, ..) = other.triggered();
    other.acknowledge_with(checkpoint, &["state/1/3/result.arrow"]);
    let mut manifest = other.newest().manifest().unwrap().clone();
    let file = &mut manifest.operators[1].subtasks[0].files[0];
    file.path = format!("s3://bucket/other/{}", file.path);
    CoordinatorConfig {
        start_from: StartFrom::Foreign(Box::new(manifest)),
        ..config()
    }
}

#[test]
fn a_start_from_a_checkpoint_that_is_not_retained_says_what_is() {
    let mut script = Script::running();
    for _ in 0..3 {
        script.checkpoint();
    }
    let start_from = StartFrom::Checkpoint(checkpoint_id(1));
    let script = Script::started(
        CoordinatorConfig {
            start_from,
            ..generation(2)
        },
        script.log,
    );
    let JobOutcome::Failed { category, reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
    assert_eq!(category, FailureCategory::CheckpointMissing);
    assert!(reason.contains("checkpoint 1 is not retained"), "{reason}");
    assert!(reason.contains("2, 3"), "{reason}");
}

#[test]
fn a_lost_worker_takes_the_attempt_with_it_and_the_others_go_on() {
    let mut script = Script::new(
        CoordinatorConfig {
            parallelism: Parallelism::new(2).unwrap(),
            ..config()
        },
        BTreeMap::new(),
    );
    script.event(Event::Start);
    script.join(1, 1);
    script.join(2, 2);
    script.runs(1);
    script.runs(2);
    let reason = "connection lost".to_owned();
    script.event(Event::WorkerLost {
        worker: worker_id(1),
        reason,
    });
    let attempt = script.attempt();
    script.says(2, FromWorker::Cancelled { attempt });
    script.pass(script.now_ms + 1_000);
    let workers: Vec<_> = script
        .deployment()
        .subtasks
        .iter()
        .map(|it| it.worker.get())
        .collect();
    assert_eq!(workers, [2, 2, 2, 2]);
}

#[test]
fn a_worker_that_does_not_drop_its_tasks_ends_the_wait() {
    let mut script = Script::running();
    script.fail(false);
    script.pass(script.now_ms + 120_000);
    let JobOutcome::Failed { category, reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
    assert_eq!(category, FailureCategory::TasksHung);
    assert!(reason.contains("within 60 s"), "{reason}");
}

#[test]
fn messages_of_an_old_attempt_change_nothing() {
    let mut script = Script::running();
    let old = script.attempt();
    script.fail(false);
    script.says(1, FromWorker::Cancelled { attempt: old });
    script.pass(script.now_ms + 1_000);
    script.taken();
    script.says(1, FromWorker::Running { attempt: old });
    script.says(
        1,
        FromWorker::Failed {
            attempt: old,
            subtask: None,
            operator: None,
            message: "late".to_owned(),
            is_permanent: true,
            category: FailureCategory::ProgramFailed,
        },
    );
    assert_eq!(script.taken(), []);
}

#[test]
fn a_start_from_an_older_checkpoint_goes_on_from_it_and_then_from_its_own() {
    let mut script = Script::running();
    let older = script.checkpoint();
    let newer = script.checkpoint();
    let config_older = CoordinatorConfig {
        start_from: StartFrom::Checkpoint(older),
        ..generation(2)
    };
    let script = Script::started(config_older, script.log);
    assert_eq!(script.deployment().restored, Some(older));
    // A restart before the first own checkpoint starts from the same one.
    let mut script = Script::started(generation(2), script.log);
    assert_eq!(script.deployment().restored, Some(older));
    script.runs(1);
    let own = script.checkpoint();
    assert!(own > newer);
    let script = Script::started(generation(2), script.log);
    assert_eq!(script.deployment().restored, Some(own));
}

#[test]
fn a_plan_that_does_not_fit_ends_the_job_before_anything_is_written() {
    let mut script = Script::running();
    script.checkpoint();
    let before = script.log.clone();
    let mut other = plan();
    other.chains[1].operators[0].id = OperatorId::new("output").unwrap();
    let script = Script::started_with(config(), other, script.log);
    let JobOutcome::Failed { category, reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
    assert_eq!(category, FailureCategory::StateIncompatible);
    assert!(
        reason.contains("checkpoint 1") && reason.contains("operator `result`"),
        "{reason}"
    );
    assert_eq!(script.log, before);
}

#[test]
fn a_starter_that_loses_the_race_reads_again_and_goes_on_from_the_winners_entry() {
    let mut script = Script::new(config(), BTreeMap::new());
    let mut other = Script::running();
    other.checkpoint();
    script.rival = Some(other.log);
    script.event(Event::Start);
    script.pass(1_000);
    script.join(1, 4);
    assert_eq!(script.deployment().restored, Some(checkpoint_id(1)));
    assert_eq!(script.attempt().get(), 3);
}
