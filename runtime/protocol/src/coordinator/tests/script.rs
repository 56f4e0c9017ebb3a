//! A log that answers at once, workers that the test plays.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use crate::*;

pub(super) const INTERVAL_MS: i64 = 1_000;
pub(super) const TIMEOUT_MS: i64 = 10_000;

pub(super) fn worker_id(id: u64) -> WorkerId {
    WorkerId::new(id).unwrap()
}

pub(super) fn checkpoint_id(id: u64) -> CheckpointId {
    CheckpointId::new(id).unwrap()
}

pub(super) fn number(value: u64) -> LogNumber {
    LogNumber::new(value).unwrap()
}

/// Two chains: a source, and a keyed operator with a sink.
pub(super) fn plan() -> JobPlan {
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

pub(super) fn config() -> CoordinatorConfig {
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
        start_from_generation: None,
        start_generation: 1,
        writer: "test".to_owned(),
        nonce_seed: 1,
    }
}

/// A snapshot of one operator that keeps these files.
pub(super) fn snapshot(operator: &str, files: &[&str]) -> SubtaskSnapshot {
    let key_groups = KeyGroupRange { start: 0, end: 0 };
    let file = |path: &&str| StateFile {
        path: (*path).to_owned(),
        kind: FileKind::Base,
        size_bytes: 1,
        checksum: "0".repeat(16),
        key_groups,
        row_count: 1,
    };
    let operator = OperatorSnapshot {
        operator: OperatorId::new(operator).unwrap(),
        key_groups,
        files: files.iter().map(file).collect(),
        items: Vec::new(),
        watermark_ms: None,
    };
    SubtaskSnapshot {
        operators: vec![operator],
        written_bytes: 0,
        freeze_micros: 0,
    }
}

/// A coordinator with a log; what the log does not answer is collected for the test.
pub(super) struct Script {
    pub(super) coordinator: Coordinator,
    pub(super) log: BTreeMap<LogNumber, Entry>,
    pub(super) now_ms: i64,
    pub(super) timer_ms: Option<i64>,
    pub(super) is_log_down: bool,
    /// Entries that are there, but not as they were written.
    pub(super) damaged: BTreeSet<LogNumber>,
    pub(super) actions: Vec<Action>,
    /// Whether collections are left to the test.
    pub(super) holds_collections: bool,
    /// Entries that another process appends right before this one's first append.
    pub(super) rival: Option<BTreeMap<LogNumber, Entry>>,
}

impl Script {
    pub(super) fn new(config: CoordinatorConfig, log: BTreeMap<LogNumber, Entry>) -> Self {
        Self::of(Coordinator::new(config, plan()), log)
    }

    fn of(coordinator: Coordinator, log: BTreeMap<LogNumber, Entry>) -> Self {
        Self {
            coordinator,
            log,
            holds_collections: false,
            rival: None,
            now_ms: 0,
            timer_ms: None,
            is_log_down: false,
            damaged: BTreeSet::new(),
            actions: Vec::new(),
        }
    }

    /// Started, with one worker of four slots.
    pub(super) fn started(config: CoordinatorConfig, log: BTreeMap<LogNumber, Entry>) -> Self {
        let mut script = Self::new(config, log);
        script.event(Event::Start);
        script.join(1, 4);
        script
    }

    /// The same with another plan.
    pub(super) fn started_with(
        config: CoordinatorConfig,
        plan: JobPlan,
        log: BTreeMap<LogNumber, Entry>,
    ) -> Self {
        let mut script = Self::of(Coordinator::new(config, plan), log);
        script.event(Event::Start);
        script.join(1, 4);
        script
    }

    /// Runs in its first attempt.
    pub(super) fn running() -> Self {
        let mut script = Self::started(config(), BTreeMap::new());
        script.runs(1);
        script
    }

    pub(super) fn event(&mut self, event: Event) {
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

    pub(super) fn answer(&mut self, action: &Action) -> Option<Event> {
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
            Action::ReadEntry { request, number } if self.damaged.contains(number) => {
                Some(Event::EntryDamaged {
                    request: *request,
                    reason: format!("log entry {number} is damaged"),
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
                self.log.extend(self.rival.take().unwrap_or_default());
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
            } if !self.holds_collections => {
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

    pub(super) fn join(&mut self, worker: u64, slot_count: u32) {
        self.event(Event::WorkerJoined {
            worker: worker_id(worker),
            slot_count,
        });
    }

    pub(super) fn says(&mut self, worker: u64, message: FromWorker) {
        self.event(Event::Worker {
            worker: worker_id(worker),
            message,
        });
    }

    /// Sends ticks as asked until this time.
    pub(super) fn pass(&mut self, until_ms: i64) {
        while let Some(at_ms) = self.timer_ms.filter(|at_ms| *at_ms <= until_ms) {
            self.timer_ms = None;
            self.now_ms = self.now_ms.max(at_ms);
            self.event(Event::Tick);
        }
        self.now_ms = self.now_ms.max(until_ms);
    }

    pub(super) fn taken(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub(super) fn find<T>(&self, find: impl Fn(&Action) -> Option<T>) -> T {
        self.actions
            .iter()
            .rev()
            .find_map(find)
            .unwrap_or_else(|| panic!("{:#?}", self.actions))
    }

    pub(super) fn deployment(&self) -> Deployment {
        self.find(|action| match action {
            Action::Send {
                message: ToWorker::Deploy(deployment),
                ..
            } => Some((**deployment).clone()),
            _ => None,
        })
    }

    pub(super) fn attempt(&self) -> Attempt {
        self.deployment().attempt
    }

    pub(super) fn runs(&mut self, worker: u64) {
        let attempt = self.attempt();
        self.says(worker, FromWorker::Running { attempt });
    }

    pub(super) fn triggered(&self) -> (CheckpointId, CheckpointKind, bool) {
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

    pub(super) fn acknowledge(&mut self, checkpoint: CheckpointId) {
        self.acknowledge_with(checkpoint, &[]);
    }

    /// Acknowledges for every subtask; the sink names these files.
    pub(super) fn acknowledge_with(&mut self, checkpoint: CheckpointId, files: &[&str]) {
        let deployment = self.deployment();
        for deployed in &deployment.subtasks {
            let operator = deployed.operators[0].operator.as_str();
            let files = if operator == "result" { files } else { &[] };
            let mut snapshot = snapshot(operator, files);
            let item = format!("{} of {checkpoint}", deployed.subtask);
            snapshot.operators[0].items.push(item.into());
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
    pub(super) fn checkpoint(&mut self) -> CheckpointId {
        self.pass(self.now_ms + INTERVAL_MS);
        let (checkpoint, ..) = self.triggered();
        self.acknowledge(checkpoint);
        checkpoint
    }

    pub(super) fn end_all(&mut self) {
        let deployment = self.deployment();
        for deployed in &deployment.subtasks {
            let (attempt, subtask) = (deployment.attempt, deployed.subtask);
            self.says(
                deployed.worker.get(),
                FromWorker::Ended { attempt, subtask },
            );
        }
    }

    pub(super) fn commit(&mut self, checkpoint: CheckpointId) {
        let attempt = self.attempt();
        self.says(
            1,
            FromWorker::Committed {
                attempt,
                checkpoint,
            },
        );
    }

    pub(super) fn fail(&mut self, is_permanent: bool) {
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
                category: FailureCategory::ProgramFailed,
            },
        );
    }

    pub(super) fn outcome(&self) -> JobOutcome {
        self.find(|action| match action {
            Action::Finish(outcome) => Some(outcome.clone()),
            _ => None,
        })
    }

    pub(super) fn done(&self, wanted: u64) -> Result<Option<CheckpointId>, String> {
        self.find(|action| match action {
            Action::CommandDone { request, result } if *request == wanted => Some(result.clone()),
            _ => None,
        })
    }

    pub(super) fn state(&self) -> JobState {
        self.find(|action| match action {
            Action::Report(state) => Some((**state).clone()),
            _ => None,
        })
    }

    pub(super) fn command(&mut self, command: Command) {
        self.event(Event::Command(command));
    }

    pub(super) fn newest(&self) -> &Entry {
        self.log.values().next_back().unwrap()
    }
}
