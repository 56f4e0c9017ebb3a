//! Scripts against one coordinator: a log that answers at once, a worker that the test plays.

use std::collections::btree_map::Entry as Slot;

use super::*;
use crate::{
    Attempt, Base, ChainId, ChainPlan, CheckpointId, CheckpointKind, Deployment, Entry, EntryBody,
    KeyGroupRange, LogNumber, MaxParallelism, OperatorId, OperatorKind, OperatorPlan,
    OperatorSnapshot, SubtaskId, SubtaskSnapshot, ToWorker,
};

const INTERVAL_MS: i64 = 1_000;
const TIMEOUT_MS: i64 = 10_000;

fn worker_id(id: u64) -> WorkerId {
    WorkerId::new(id).unwrap()
}

fn checkpoint_id(id: u64) -> CheckpointId {
    CheckpointId::new(id).unwrap()
}

fn number(value: u64) -> LogNumber {
    LogNumber::new(value).unwrap()
}

/// Two chains: a source, and a keyed operator with a sink.
fn plan() -> JobPlan {
    let operator = |id: &str, kind| OperatorPlan {
        id: OperatorId::new(id).unwrap(),
        name: id.to_owned(),
        kind,
        state: None,
    };
    let chain = |id, operators, outputs| ChainPlan {
        id: ChainId(id),
        operators,
        outputs,
    };
    JobPlan {
        chains: vec![
            chain(
                0,
                vec![operator("lines", OperatorKind::Source)],
                vec![ChainId(1)],
            ),
            chain(1, vec![operator("result", OperatorKind::Sink)], vec![]),
        ],
        max_parallelism: MaxParallelism::new(8).unwrap(),
    }
}

fn config() -> CoordinatorConfig {
    CoordinatorConfig {
        parallelism: Parallelism::new(1).unwrap(),
        checkpoint_interval_ms: Some(INTERVAL_MS as u64),
        checkpoint_timeout_ms: TIMEOUT_MS as u64,
        min_pause_ms: 0,
        retained_checkpoints: 2,
        restart: RestartPolicy {
            initial_backoff_ms: 100,
            max_backoff_ms: 1_000,
            max_restarts: Some(3),
            reset_after_ms: 60_000,
        },
        start_from: StartFrom::Latest,
        writer: "test".to_owned(),
        nonce_seed: 1,
    }
}

/// A coordinator with a log; what the log does not answer is collected for the test.
struct Script {
    coordinator: Coordinator,
    log: BTreeMap<LogNumber, Entry>,
    now_ms: i64,
    timer_ms: Option<i64>,
    is_log_down: bool,
    actions: Vec<Action>,
}

impl Script {
    fn new(config: CoordinatorConfig, log: BTreeMap<LogNumber, Entry>) -> Self {
        Self {
            coordinator: Coordinator::new(config, plan()),
            log,
            now_ms: 0,
            timer_ms: None,
            is_log_down: false,
            actions: Vec::new(),
        }
    }

    /// Started, with one worker of four slots.
    fn started(config: CoordinatorConfig, log: BTreeMap<LogNumber, Entry>) -> Self {
        let mut script = Self::new(config, log);
        script.event(Event::Start);
        script.join(1, 4);
        script
    }

    /// Runs in its first attempt.
    fn running() -> Self {
        let mut script = Self::started(config(), BTreeMap::new());
        script.runs(1);
        script
    }

    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.coordinator.handle(self.now_ms, event) {
                match action {
                    Action::SetTimer { at_ms } => self.timer_ms = Some(at_ms),
                    action => match self.answer(&action) {
                        Some(event) => events.push(event),
                        None => self.actions.push(action),
                    },
                }
            }
        }
    }

    fn answer(&mut self, action: &Action) -> Option<Event> {
        let down = || "the store is down".to_owned();
        match action {
            Action::ListLog { request } => {
                let numbers = self.log.keys().copied().collect();
                let numbers = if self.is_log_down {
                    Err(down())
                } else {
                    Ok(numbers)
                };
                Some(Event::LogListed {
                    request: *request,
                    numbers,
                })
            }
            Action::ReadEntry { request, number } => {
                let entry = self.log.get(number).cloned().map(Box::new);
                let entry = if self.is_log_down {
                    Err(down())
                } else {
                    Ok(entry)
                };
                Some(Event::EntryRead {
                    request: *request,
                    entry,
                })
            }
            Action::Append { request, entry } => {
                let outcome = if self.is_log_down {
                    AppendOutcome::Unknown { reason: down() }
                } else if let Slot::Vacant(slot) = self.log.entry(entry.number) {
                    // Whatever the coordinator writes must be readable.
                    slot.insert(Entry::parse(&entry.to_bytes(), entry.number).unwrap());
                    AppendOutcome::Created
                } else {
                    AppendOutcome::Taken
                };
                Some(Event::Appended {
                    request: *request,
                    outcome,
                })
            }
            Action::CollectGarbage {
                request, entries, ..
            } => {
                for number in entries {
                    self.log.remove(number);
                }
                Some(Event::GarbageCollected {
                    request: *request,
                    result: Ok(0),
                })
            }
            _ => None,
        }
    }

    fn join(&mut self, worker: u64, slot_count: u32) {
        self.event(Event::WorkerJoined {
            worker: worker_id(worker),
            slot_count,
        });
    }

    fn says(&mut self, worker: u64, message: FromWorker) {
        self.event(Event::Worker {
            worker: worker_id(worker),
            message,
        });
    }

    /// Sends ticks as asked until this time.
    fn pass(&mut self, until_ms: i64) {
        while let Some(at_ms) = self.timer_ms.filter(|at_ms| *at_ms <= until_ms) {
            self.timer_ms = None;
            self.now_ms = self.now_ms.max(at_ms);
            self.event(Event::Tick);
        }
        self.now_ms = self.now_ms.max(until_ms);
    }

    fn taken(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn find<T>(&self, find: impl Fn(&Action) -> Option<T>) -> T {
        self.actions
            .iter()
            .rev()
            .find_map(find)
            .unwrap_or_else(|| panic!("{:#?}", self.actions))
    }

    fn deployment(&self) -> Deployment {
        self.find(|action| match action {
            Action::Send {
                message: ToWorker::Deploy(deployment),
                ..
            } => Some((**deployment).clone()),
            _ => None,
        })
    }

    fn attempt(&self) -> Attempt {
        self.deployment().attempt
    }

    fn runs(&mut self, worker: u64) {
        let attempt = self.attempt();
        self.says(worker, FromWorker::Running { attempt });
    }

    fn triggered(&self) -> (CheckpointId, CheckpointKind, bool) {
        self.find(|action| match action {
            Action::Send {
                message:
                    ToWorker::TriggerCheckpoint {
                        checkpoint,
                        kind,
                        is_last,
                        ..
                    },
                ..
            } => Some((*checkpoint, *kind, *is_last)),
            _ => None,
        })
    }

    fn acknowledge(&mut self, checkpoint: CheckpointId) {
        let deployment = self.deployment();
        for deployed in &deployment.subtasks {
            let operators = deployed.operators.iter().map(|operator| OperatorSnapshot {
                operator: operator.operator.clone(),
                key_groups: KeyGroupRange { start: 0, end: 0 },
                files: Vec::new(),
                items: vec![format!("{} of {checkpoint}", deployed.subtask).into()],
                watermark_ms: None,
            });
            let snapshot = SubtaskSnapshot {
                operators: operators.collect(),
                written_bytes: 0,
                freeze_micros: 0,
            };
            self.says(
                deployed.worker.get(),
                FromWorker::Acknowledged {
                    attempt: deployment.attempt,
                    checkpoint,
                    subtask: deployed.subtask,
                    snapshot: Box::new(snapshot),
                },
            );
        }
    }

    /// Lets the next interval pass and completes its checkpoint.
    fn checkpoint(&mut self) -> CheckpointId {
        self.pass(self.now_ms + INTERVAL_MS);
        let (checkpoint, ..) = self.triggered();
        self.acknowledge(checkpoint);
        checkpoint
    }

    fn end_all(&mut self) {
        let deployment = self.deployment();
        for deployed in &deployment.subtasks {
            let (attempt, subtask) = (deployment.attempt, deployed.subtask);
            self.says(
                deployed.worker.get(),
                FromWorker::Ended { attempt, subtask },
            );
        }
    }

    fn commit(&mut self, checkpoint: CheckpointId) {
        let attempt = self.attempt();
        self.says(
            1,
            FromWorker::Committed {
                attempt,
                checkpoint,
            },
        );
    }

    fn fail(&mut self, is_permanent: bool) {
        let attempt = self.attempt();
        self.says(
            1,
            FromWorker::Failed {
                attempt,
                subtask: Some(SubtaskId {
                    chain: ChainId(1),
                    index: crate::SubtaskIndex(0),
                }),
                operator: Some("result".to_owned()),
                message: "disk on fire".to_owned(),
                is_permanent,
            },
        );
    }

    fn outcome(&self) -> JobOutcome {
        self.find(|action| match action {
            Action::Finish(outcome) => Some(outcome.clone()),
            _ => None,
        })
    }

    fn done(&self, wanted: u64) -> Result<Option<CheckpointId>, String> {
        self.find(|action| match action {
            Action::CommandDone { request, result } if *request == wanted => Some(result.clone()),
            _ => None,
        })
    }

    fn state(&self) -> JobState {
        self.find(|action| match action {
            Action::Report(state) => Some((**state).clone()),
            _ => None,
        })
    }

    fn command(&mut self, command: Command) {
        self.event(Event::Command(command));
    }

    fn newest(&self) -> &Entry {
        self.log.values().next_back().unwrap()
    }
}

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
fn a_failed_subtask_restarts_the_job_from_the_latest_checkpoint_after_a_wait() {
    let mut script = Script::running();
    let checkpoint = script.checkpoint();
    script.fail(false);
    let attempt = script.attempt();
    script.says(1, FromWorker::Cancelled { attempt });
    let JobState::BackingOff {
        reason,
        until_ms,
        restart_count,
    } = script.state()
    else {
        panic!("{:?}", script.state());
    };
    assert_eq!(reason, "operator `result` (subtask 1/0): disk on fire");
    assert_eq!((until_ms, restart_count), (script.now_ms + 100, 1));
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
    let JobOutcome::Failed { reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
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
    assert_eq!(script.outcome(), JobOutcome::Failed { reason });
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
    let JobOutcome::Failed { reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
    assert!(reason.contains("the store is down"), "{reason}");
}

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
        is_immediate: false,
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
        is_immediate: false,
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
        is_immediate: true,
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
    script.command(Command::Savepoint { request: 1 });
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
        ..config()
    };
    let mut script = Script::started(config_empty, script.log);
    assert_eq!(script.deployment().restored, None);
    assert_eq!(script.newest().retained, [number(2)]);
    // It dies before its first checkpoint; who starts from the latest starts from nothing, too.
    script = Script::started(config(), script.log);
    assert_eq!(script.deployment().restored, None);
    script.runs(1);
    script.checkpoint();
    script = Script::started(config(), script.log);
    assert_eq!(script.deployment().restored, Some(checkpoint_id(2)));
}

#[test]
fn a_foreign_checkpoint_is_remembered_by_the_fence() {
    let mut other = Script::running();
    other.checkpoint();
    let foreign = other.newest().manifest().unwrap().clone();
    let start_from = StartFrom::Foreign(Box::new(foreign));
    let script = Script::started(
        CoordinatorConfig {
            start_from,
            ..config()
        },
        BTreeMap::new(),
    );
    assert_eq!(script.deployment().restored, Some(checkpoint_id(1)));
    let script = Script::started(config(), script.log);
    assert_eq!(script.deployment().restored, Some(checkpoint_id(1)));
    assert_eq!(
        script.deployment().subtasks[0].operators[0].items[0],
        "0/0 of 1"
    );
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
            ..config()
        },
        script.log,
    );
    let JobOutcome::Failed { reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
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
    let JobOutcome::Failed { reason } = script.outcome() else {
        panic!("{:?}", script.outcome());
    };
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
        },
    );
    assert_eq!(script.taken(), []);
}
