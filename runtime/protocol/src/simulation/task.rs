//! One subtask as a model: a source, a keyed tally or a transactional sink, with aligned barriers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::input::{Input, Record, Tally};
use super::store::{Rows, TransactionName, position_item, transaction_item};
use super::{Bug, is_planted};
use crate::{
    Attempt, CheckpointId, FileKind, KeyGroup, KeyGroupRange, OperatorId, OperatorRestore,
    OperatorSnapshot, StateFile, SubtaskId, SubtaskSnapshot,
};

/// Files of a chain before a new base is written.
const MAX_CHAIN: usize = 3;

/// What flows between tasks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item {
    Record(Record),
    Barrier(Barrier),
    End,
}

/// A barrier on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Barrier {
    pub(super) checkpoint: CheckpointId,
    pub(super) last_completed: Option<CheckpointId>,
    pub(super) is_last: bool,
}

/// What must become durable before a snapshot is acknowledged.
#[derive(Debug, Clone)]
pub(super) enum Durable {
    Nothing,
    File(String, Rows),
    Transaction(TransactionName, Vec<Record>),
}

/// A snapshot taken, not durable yet.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    pub(super) subtask: SubtaskId,
    pub(super) checkpoint: CheckpointId,
    pub(super) durable: Durable,
    pub(super) snapshot: SubtaskSnapshot,
}

/// A source subtask.
#[derive(Debug)]
pub(super) struct Source {
    /// Own splits with their positions.
    pub(super) splits: Vec<(u16, u16)>,
    pub(super) has_ended: bool,
    pub(super) has_stopped: bool,
}

/// The keyed tally.
#[derive(Debug)]
pub(super) struct Keyed {
    key_groups: KeyGroupRange,
    tallies: BTreeMap<KeyGroup, Tally>,
    dirty: BTreeSet<KeyGroup>,
    /// Snapshots not known to be completed or aborted: their chains and what had changed.
    history: Vec<(CheckpointId, Vec<StateFile>, BTreeSet<KeyGroup>)>,
    /// The chain of the newest checkpoint known to be complete.
    chain: Vec<StateFile>,
}

/// The transactional sink.
#[derive(Debug, Default)]
pub(super) struct Sink {
    buffer: Vec<Record>,
    /// Pre-committed, not known to be committed.
    pub(super) pending: Vec<(CheckpointId, TransactionName)>,
}

#[derive(Debug)]
pub(super) enum Body {
    Source(Source),
    Keyed(Keyed),
    Sink(Sink),
}

/// A subtask.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) subtask: SubtaskId,
    pub(super) body: Body,
    aligning: Option<Barrier>,
    blocked: Vec<bool>,
    ended_inputs: usize,
    /// Where a planted bug freezes too late.
    late_freeze: Option<Barrier>,
    /// When its last snapshot is stored.
    pub(super) stored_ms: i64,
}

impl Keyed {
    pub(super) fn restore(restore: &OperatorRestore, rows: Rows) -> Self {
        let tallies: BTreeMap<_, _> = rows.into_iter().collect();
        // Another job's files may go any time, so everything is written anew.
        let is_foreign = restore.files.iter().any(StateFile::is_foreign);
        let (chain, dirty) = if is_foreign {
            (Vec::new(), tallies.keys().copied().collect())
        } else {
            (restore.files.clone(), BTreeSet::new())
        };
        Self {
            key_groups: restore.key_groups,
            tallies,
            dirty,
            history: Vec::new(),
            chain,
        }
    }

    fn add(&mut self, group: KeyGroup, record: Record) {
        self.tallies.entry(group).or_default().add(record);
        self.dirty.insert(group);
    }

    fn freeze(&mut self, path: String, barrier: Barrier) -> (Vec<StateFile>, Durable) {
        // What completed is told by the barrier, however late the news of it arrives here.
        if let Some(completed) = barrier.last_completed {
            let found = self.history.iter().position(|(id, ..)| *id == completed);
            if let Some(position) = found {
                self.chain = self.history[position].1.clone();
                self.history.drain(..=position);
            }
        }
        let changed = std::mem::take(&mut self.dirty);
        let mut written = changed.clone();
        let unsettled = self.history.iter().flat_map(|(.., changed)| changed);
        written.extend(unsettled.copied());
        let is_base = self.chain.len() >= MAX_CHAIN;
        let is_written = |group: &KeyGroup| {
            self.key_groups.contains(*group) && (is_base || written.contains(group))
        };
        let rows: Rows = self
            .tallies
            .iter()
            .filter(|(group, _)| is_written(group))
            .map(|(group, tally)| (*group, *tally))
            .collect();
        let mut chain = if is_base {
            Vec::new()
        } else {
            self.chain.clone()
        };
        let durable = if rows.is_empty() && !is_base {
            Durable::Nothing
        } else {
            chain.push(StateFile {
                path: path.clone(),
                kind: if is_base {
                    FileKind::Base
                } else {
                    FileKind::Increment
                },
                size_bytes: rows.len() as u64,
                checksum: "0000000000000000".to_owned(),
                key_groups: self.key_groups,
                row_count: rows.len() as u64,
            });
            Durable::File(path, rows)
        };
        self.history
            .push((barrier.checkpoint, chain.clone(), changed));
        (chain, durable)
    }
}

impl Sink {
    fn freeze(&mut self, name: TransactionName, checkpoint: CheckpointId) -> (Vec<Value>, Durable) {
        let records = std::mem::take(&mut self.buffer);
        let durable = if records.is_empty() {
            Durable::Nothing
        } else {
            self.pending.push((checkpoint, name));
            Durable::Transaction(name, records)
        };
        let items = self
            .pending
            .iter()
            .map(|(_, name)| transaction_item(*name))
            .collect();
        (items, durable)
    }
}

impl Task {
    pub(super) fn new(subtask: SubtaskId, body: Body, parallelism: u32) -> Self {
        Self {
            subtask,
            body,
            aligning: None,
            blocked: vec![false; parallelism as usize],
            ended_inputs: 0,
            late_freeze: None,
            stored_ms: 0,
        }
    }

    pub(super) fn is_blocked(&self, input: usize) -> bool {
        self.blocked[input]
    }

    /// A source's next record, from any of its splits.
    pub(super) fn read(&mut self, choice: usize, input: &Input) -> Option<Record> {
        let Body::Source(source) = &mut self.body else {
            return None;
        };
        if source.has_stopped || source.splits.is_empty() {
            return None;
        }
        let length = source.splits.len();
        for offset in 0..length {
            let (split, position) = &mut source.splits[(choice + offset) % length];
            if *position < input.record_count {
                let record = Record {
                    split: *split,
                    index: *position,
                };
                *position += 1;
                return Some(record);
            }
        }
        None
    }

    /// Whether the source has just come to its end.
    pub(super) fn ends_now(&mut self, input: &Input) -> bool {
        match &mut self.body {
            Body::Source(source) if !source.has_ended && !source.has_stopped => {
                let mut splits = source.splits.iter();
                source.has_ended = splits.all(|(_, position)| *position >= input.record_count);
                source.has_ended
            }
            _ => false,
        }
    }

    /// A record arrives; what is sent on.
    pub(super) fn take_record(&mut self, record: Record, input: &Input) -> Option<Record> {
        match &mut self.body {
            Body::Source(_) => None,
            Body::Keyed(keyed) => {
                keyed.add(input.group(record), record);
                Some(record)
            }
            Body::Sink(sink) => {
                sink.buffer.push(record);
                None
            }
        }
    }

    /// An input ended; whether it was the last.
    pub(super) fn take_end(&mut self) -> bool {
        self.ended_inputs += 1;
        self.ended_inputs == self.blocked.len()
    }

    /// A barrier arrives at an input; answers with it when it has arrived at all.
    pub(super) fn take_barrier(&mut self, barrier: Barrier, input: usize) -> Option<Barrier> {
        if is_planted(Bug::SkipAlignment) {
            let is_first = self
                .aligning
                .is_none_or(|seen| seen.checkpoint < barrier.checkpoint);
            self.aligning = Some(barrier);
            return is_first.then_some(barrier);
        }
        match self.aligning {
            // An aborted checkpoint's barrier, late.
            Some(current) if barrier.checkpoint < current.checkpoint => return None,
            Some(current) if barrier.checkpoint == current.checkpoint => {}
            _ => {
                self.blocked.fill(false);
                self.aligning = Some(barrier);
            }
        }
        self.blocked[input] = true;
        let is_complete = self.blocked.iter().all(|blocked| *blocked);
        if is_complete {
            self.blocked.fill(false);
        }
        is_complete.then_some(barrier)
    }

    /// Delays a freeze behind the next record, as planted bugs do.
    pub(super) fn freeze_later(&mut self, barrier: Barrier) {
        self.late_freeze = Some(barrier);
    }

    pub(super) fn take_late_freeze(&mut self) -> Option<Barrier> {
        self.late_freeze.take()
    }

    pub(super) fn freeze(&mut self, attempt: Attempt, barrier: Barrier) -> Frozen {
        let checkpoint = barrier.checkpoint;
        let index = self.subtask.index.0;
        let folder = StateFile::checkpoint_folder(attempt, checkpoint);
        let none = KeyGroupRange { start: 0, end: 0 };
        let mut operator = OperatorSnapshot {
            operator: OperatorId::new(OPERATORS[self.subtask.chain.0 as usize]).unwrap(),
            key_groups: none,
            files: Vec::new(),
            items: Vec::new(),
            watermark_ms: None,
        };
        let durable = match &mut self.body {
            Body::Source(source) => {
                let items = source.splits.iter();
                operator.items = items
                    .map(|(split, at)| position_item(*split, *at))
                    .collect();
                Durable::Nothing
            }
            Body::Keyed(keyed) => {
                operator.key_groups = keyed.key_groups;
                let (files, durable) =
                    keyed.freeze(format!("{folder}count-{index}.arrow"), barrier);
                operator.files = files;
                durable
            }
            Body::Sink(sink) => {
                let name = (attempt.get(), index, checkpoint.get());
                let (items, durable) = sink.freeze(name, checkpoint);
                operator.items = items;
                durable
            }
        };
        Frozen {
            subtask: self.subtask,
            checkpoint,
            durable,
            snapshot: SubtaskSnapshot {
                operators: vec![operator],
                written_bytes: 0,
                freeze_micros: 0,
            },
        }
    }
}

/// The operator of each chain.
pub(super) const OPERATORS: [&str; 3] = ["lines", "count", "result"];
