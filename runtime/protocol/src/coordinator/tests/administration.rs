//! Releases while no attempt runs, or beside one that runs after all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::script::*;
use crate::*;

/// A process that administers the log of a script, one answer at a time.
pub(super) struct Tool {
    administration: Administration,
    pending: VecDeque<Action>,
    timer_ms: Option<i64>,
}

impl Tool {
    pub(super) fn new(task: AdministrationTask, now_ms: i64) -> Self {
        let mut tool = Self {
            administration: Administration::new(task, "tool".to_owned(), 77),
            pending: VecDeque::new(),
            timer_ms: None,
        };
        tool.tell(now_ms, Event::Start);
        tool
    }

    fn release(checkpoint: CheckpointId) -> Self {
        Self::new(AdministrationTask::Release(checkpoint), 0)
    }

    fn tell(&mut self, now_ms: i64, event: Event) {
        for action in self.administration.handle(now_ms, event) {
            match action {
                Action::SetTimer { at_ms } => self.timer_ms = Some(at_ms),
                Action::LogUnavailable { .. } => {}
                action => self.pending.push_back(action),
            }
        }
    }

    /// Lets one request be answered, or the time pass; `false` when nothing is left to do.
    fn step(&mut self, script: &mut Script) -> bool {
        if let Some(action) = self.pending.pop_front() {
            let event = script.answer(&action).unwrap();
            self.tell(script.now_ms, event);
        } else if let Some(at_ms) = self.timer_ms.take() {
            self.tell(script.now_ms.max(at_ms), Event::Tick);
        } else {
            return false;
        }
        true
    }

    pub(super) fn run(mut self, script: &mut Script) -> AdministrationOutcome {
        while self.step(script) {}
        self.outcome()
    }

    fn outcome(&self) -> AdministrationOutcome {
        self.administration.outcome().unwrap().clone()
    }
}

fn ids(script: &Script) -> Vec<u64> {
    let retained = &script.newest().retained;
    let manifests = retained.iter().map(|it| script.log[it].manifest().unwrap());
    manifests.map(|it| it.checkpoint.get()).collect()
}

/// A job that has completed three checkpoints, of which it retains these.
pub(super) fn script_of_three() -> Script {
    let config = CoordinatorConfig {
        retained_checkpoints: 3,
        ..config()
    };
    let mut script = Script::started(config, BTreeMap::new());
    script.runs(1);
    for _ in 0..3 {
        script.checkpoint();
    }
    assert_eq!(ids(&script), [1, 2, 3]);
    script
}

fn next_run(script: Script) -> Option<CheckpointId> {
    let again = CoordinatorConfig {
        start_generation: script.newest().start_generation,
        ..config()
    };
    Script::started(again, script.log).deployment().restored
}

#[test]
fn an_older_checkpoint_is_released_and_the_next_run_goes_on_as_before() {
    let mut script = script_of_three();
    let generation = script.newest().start_generation;
    let outcome = Tool::release(checkpoint_id(2)).run(&mut script);
    let AdministrationOutcome::Released { manifest, next, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(manifest.checkpoint, checkpoint_id(2));
    assert_eq!(next, NextStart::Unchanged);
    assert_eq!(ids(&script), [1, 3]);
    assert_eq!(script.newest().start_generation, generation);
    assert_eq!(script.log.len(), 3, "the released entry is freed");
    assert_eq!(next_run(script), Some(checkpoint_id(3)));
}

#[test]
fn the_newest_one_released_sends_the_next_run_back_to_the_one_before_and_says_so() {
    let mut script = script_of_three();
    let outcome = Tool::release(checkpoint_id(3)).run(&mut script);
    let AdministrationOutcome::Released { next, .. } = outcome else {
        panic!("{outcome:?}")
    };
    let NextStart::Older(older) = next else {
        panic!("{next:?}")
    };
    assert_eq!(older.checkpoint, checkpoint_id(2));
    assert_eq!(next_run(script), Some(checkpoint_id(2)));
}

#[test]
fn the_last_one_released_makes_the_next_run_begin_anew_and_says_so() {
    let mut script = script_of_three();
    for (checkpoint, is_last) in [(1, false), (2, false), (3, true)] {
        let outcome = Tool::release(checkpoint_id(checkpoint)).run(&mut script);
        let AdministrationOutcome::Released { next, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(next == NextStart::Empty, is_last);
    }
    assert_eq!(script.log.len(), 1, "only the highest entry is left");
    assert_eq!(next_run(script), None);
}

#[test]
fn a_job_that_was_sent_back_never_goes_on_from_a_newer_checkpoint() {
    let from_first = CoordinatorConfig {
        start_from: StartFrom::Checkpoint(checkpoint_id(1)),
        start_generation: 9,
        ..config()
    };
    let mut script = Script::started(from_first, script_of_three().log);
    assert_eq!(script.deployment().restored, Some(checkpoint_id(1)));
    let outcome = Tool::release(checkpoint_id(1)).run(&mut script);
    assert!(
        matches!(
            outcome,
            AdministrationOutcome::Released {
                next: NextStart::Empty,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(ids(&script), [2, 3]);
    assert_eq!(next_run(script), None);
}

#[test]
fn a_running_attempt_is_fenced_by_a_release_and_stops() {
    let mut script = script_of_three();
    Tool::release(checkpoint_id(1)).run(&mut script);
    let by = script.newest().number;
    script.checkpoint();
    assert_eq!(script.outcome(), JobOutcome::Fenced { by });
    assert_eq!(ids(&script), [2, 3]);
}

#[test]
fn a_checkpoint_that_is_not_retained_needs_no_entry_and_fences_nobody() {
    let mut script = script_of_three();
    let log = script.log.clone();
    let outcome = Tool::release(checkpoint_id(7)).run(&mut script);
    assert_eq!(
        outcome,
        AdministrationOutcome::NotRetained {
            retained: [1, 2, 3].map(checkpoint_id).to_vec(),
            deleted_count: 0,
        }
    );
    assert_eq!(script.log, log);
}

#[test]
fn a_release_that_died_before_its_collection_is_finished_by_the_next_one_without_an_entry() {
    let mut script = script_of_three();
    let mut dead = Tool::release(checkpoint_id(2));
    while !matches!(dead.pending.front(), Some(Action::CollectGarbage { .. })) {
        assert!(dead.step(&mut script));
    }
    let entry_count = script.log.len();
    let highest = script.newest().number;
    let mut tool = Tool::release(checkpoint_id(2));
    let mut is_collected = false;
    loop {
        if let Some(Action::CollectGarbage { attempt, .. }) = tool.pending.front() {
            assert_eq!(*attempt, Attempt::of_fence(highest));
            is_collected = true;
        }
        if !tool.step(&mut script) {
            break;
        }
    }
    assert!(is_collected);
    let outcome = tool.outcome();
    assert!(
        matches!(outcome, AdministrationOutcome::NotRetained { .. }),
        "{outcome:?}"
    );
    assert_eq!(script.newest().number, highest);
    assert!(script.log.len() < entry_count);
}

#[test]
fn everything_is_released_even_if_no_entry_can_be_read() {
    let mut script = script_of_three();
    let task = AdministrationTask::ReleaseAll { above: 20 };
    let mut tool = Tool::new(task, 0);
    loop {
        // What nobody asks for need not be readable.
        let is_read = matches!(tool.pending.front(), Some(Action::ReadEntry { .. }));
        assert!(!is_read);
        if !tool.step(&mut script) {
            break;
        }
    }
    let fence = number(21);
    assert!(
        matches!(tool.outcome(), AdministrationOutcome::Emptied { fence: it, .. } if it == fence)
    );
    assert_eq!(script.log.keys().copied().collect::<Vec<_>>(), [fence]);
    script.checkpoint();
    assert_eq!(script.outcome(), JobOutcome::Fenced { by: fence });
    assert_eq!(next_run(script), None);
}

#[test]
fn an_empty_log_retains_nothing() {
    let mut script = Script::new(config(), BTreeMap::new());
    let outcome = Tool::release(checkpoint_id(1)).run(&mut script);
    assert_eq!(
        outcome,
        AdministrationOutcome::NotRetained {
            retained: Vec::new(),
            deleted_count: 0
        }
    );
    assert!(script.log.is_empty());
}

#[test]
fn a_store_that_does_not_answer_ends_it_with_the_reason() {
    let mut script = script_of_three();
    script.is_log_down = true;
    let outcome = Tool::release(checkpoint_id(1)).run(&mut script);
    let AdministrationOutcome::Failed { reason } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains("the store is down"), "{reason}");
}

/// A folder's files, deleted as rule 4 tells.
#[derive(Default)]
struct Files(BTreeSet<String>);

impl Files {
    fn collect(&mut self, action: &Action) {
        if let Action::CollectGarbage {
            keep_files,
            keep_from,
            attempt,
            keep_before,
            ..
        } = action
        {
            self.0.retain(|path| {
                let (of, checkpoint) = StateFile::writer_of(path).unwrap();
                let is_settled = of < *attempt || (of == *attempt && checkpoint < *keep_from);
                !is_settled || keep_files.contains(path) || of < *keep_before
            });
        }
    }

    fn check(&self, script: &Script) {
        for number in &script.newest().retained {
            let entry = script.log.get(number);
            let manifest = entry.and_then(Entry::manifest);
            let manifest = manifest.unwrap_or_else(|| panic!("entry {number} is named, but gone"));
            for file in manifest.files() {
                assert!(self.0.contains(&file.path), "{} is gone", file.path);
            }
        }
    }
}

/// Completes a checkpoint of a job that may have been fenced.
fn checkpoint(script: &mut Script, files: &mut Files) {
    script.pass(script.now_ms + INTERVAL_MS);
    let (checkpoint, ..) = script.triggered();
    let folder = StateFile::checkpoint_folder(script.attempt(), checkpoint);
    let own = format!("{folder}result-0.arrow");
    let before = (checkpoint.get() > 1).then(|| {
        let id = checkpoint_id(checkpoint.get() - 1);
        let folder = StateFile::checkpoint_folder(script.attempt(), id);
        format!("{folder}result-0.arrow")
    });
    files.0.insert(own.clone());
    let before = before.filter(|path| files.0.contains(path));
    let named: Vec<&str> = before.iter().chain([&own]).map(String::as_str).collect();
    script.acknowledge_with(checkpoint, &named);
}

proptest! {
    #[test]
    fn every_interleaving_with_a_running_job_keeps_what_is_named(
        choices in proptest::collection::vec(0..8_u8, 4..60),
        id in 1..5_u64,
        releases_all in any::<bool>(),
    ) {
        let mut script = Script::running();
        let mut files = Files::default();
        checkpoint(&mut script, &mut files);
        checkpoint(&mut script, &mut files);
        let task = if releases_all {
            AdministrationTask::ReleaseAll { above: 0 }
        } else {
            AdministrationTask::Release(checkpoint_id(id))
        };
        let mut tool = Tool::new(task, script.now_ms);
        let mut lost = None;
        for choice in choices {
            match choice {
                0 | 1 => checkpoint(&mut script, &mut files),
                2 => {
                    // A put whose answer is lost, and that is applied now, later or never.
                    if let Some(Action::Append { request, entry }) = tool.pending.front() {
                        let (request, entry) = (*request, entry.clone());
                        tool.pending.pop_front();
                        lost = Some(entry);
                        let reason = "cut".to_owned();
                        let outcome = AppendOutcome::Unknown { reason };
                        tool.tell(script.now_ms, Event::Appended { request, outcome });
                    }
                }
                3 => {
                    if let Some(entry) = lost.take() {
                        script.log.entry(entry.number).or_insert(*entry);
                    }
                }
                4 => tool = Tool::new(task, script.now_ms),
                _ => {
                    if let Some(action) = tool.pending.front() {
                        files.collect(action);
                    }
                    tool.step(&mut script);
                }
            }
            files.check(&script);
        }
        let outcome = Tool::new(task, script.now_ms).run(&mut script);
        prop_assert!(!matches!(outcome, AdministrationOutcome::Failed { .. }), "{outcome:?}");
        files.check(&script);
        let released = ids(&script);
        prop_assert!(!released.contains(&id) && (!releases_all || released.is_empty()));
    }
}

#[test]
fn a_running_attempt_stops_even_when_the_log_is_gone_before_it_looks() {
    let mut script = script_of_three();
    Tool::new(AdministrationTask::ReleaseAll { above: 0 }, 0).run(&mut script);
    // As a purge does at its very end.
    script.log.clear();
    script.checkpoint();
    let outcome = script.outcome();
    assert!(matches!(outcome, JobOutcome::Fenced { .. }), "{outcome:?}");
}
