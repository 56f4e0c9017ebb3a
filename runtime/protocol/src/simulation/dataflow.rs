//! The tasks of one attempt in one process, and the channels between them.

use std::collections::{BTreeMap, VecDeque};

use super::input::Record;
use super::store::positions_of;
use super::task::{Barrier, Body, Item, Keyed, OPERATORS, Sink, Source, Task};
use super::world::World;
use crate::{CheckpointId, OperatorRestore, SubtaskId, SubtaskIndex, WorkerId, subtask_of};

/// An attempt's tasks, as far as they are deployed.
#[derive(Debug)]
pub(super) struct Dataflow {
    pub(super) parallelism: u32,
    pub(super) tasks: BTreeMap<SubtaskId, (WorkerId, Task)>,
    /// Into a task, one queue an input.
    channels: BTreeMap<SubtaskId, Vec<VecDeque<Item>>>,
}

impl Dataflow {
    pub(super) fn new(parallelism: u32) -> Self {
        Self {
            parallelism,
            tasks: BTreeMap::new(),
            channels: BTreeMap::new(),
        }
    }

    pub(super) fn drop_worker(&mut self, worker: WorkerId) {
        self.tasks.retain(|_, (of, _)| *of != worker);
    }

    fn queues(&mut self, into: SubtaskId) -> &mut Vec<VecDeque<Item>> {
        let count = self.parallelism as usize;
        self.channels
            .entry(into)
            .or_insert_with(|| vec![VecDeque::new(); count])
    }

    fn push(&mut self, from: SubtaskId, to: SubtaskIndex, item: Item) {
        let into = SubtaskId {
            chain: crate::ChainId(from.chain.0 + 1),
            index: to,
        };
        let input = from.index.0 as usize;
        self.queues(into)[input].push_back(item);
    }

    /// Sends a barrier or an end on to everybody.
    pub(super) fn broadcast(&mut self, from: SubtaskId, item: Item) {
        if from.chain.0 as usize + 1 < OPERATORS.len() {
            for index in (0..self.parallelism).map(SubtaskIndex) {
                self.push(from, index, item);
            }
        }
    }

    /// The next item of some open input, beginning the search at `choice`.
    fn pop(&mut self, subtask: SubtaskId, choice: usize) -> Option<(usize, Item)> {
        let count = self.parallelism as usize;
        let task = &self.tasks.get(&subtask)?.1;
        let is_open: Vec<bool> = (0..count).map(|input| !task.is_blocked(input)).collect();
        let queues = self.queues(subtask);
        for offset in 0..count {
            let input = (choice + offset) % count;
            if is_open[input]
                && let Some(item) = queues[input].pop_front()
            {
                return Some((input, item));
            }
        }
        None
    }
}

/// What a task's step led to, beyond the items it sent on.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    Worked,
    Ended,
    Barrier(Barrier),
}

impl Dataflow {
    /// One item of work of one task.
    pub(super) fn step(
        &mut self,
        subtask: SubtaskId,
        choice: usize,
        world: &WorldView<'_>,
    ) -> Step {
        if subtask.chain.0 == 0 {
            return self.step_source(subtask, choice, world);
        }
        let Some((input, item)) = self.pop(subtask, choice) else {
            return Step::Nothing;
        };
        let Some((_, task)) = self.tasks.get_mut(&subtask) else {
            return Step::Nothing;
        };
        match item {
            Item::Record(record) => {
                if let Some(record) = task.take_record(record, world.input) {
                    // Any exchange will do for the sink, as long as all of them are used.
                    let to = SubtaskIndex(u32::from(record.index) % self.parallelism);
                    self.push(subtask, to, Item::Record(record));
                }
                Step::Worked
            }
            Item::Barrier(barrier) => match task.take_barrier(barrier, input) {
                Some(barrier) => Step::Barrier(barrier),
                None => Step::Worked,
            },
            Item::End => {
                if task.take_end() {
                    self.broadcast(subtask, Item::End);
                    Step::Ended
                } else {
                    Step::Worked
                }
            }
        }
    }

    fn step_source(&mut self, subtask: SubtaskId, choice: usize, world: &WorldView<'_>) -> Step {
        let Some((_, task)) = self.tasks.get_mut(&subtask) else {
            return Step::Nothing;
        };
        let record = if world.is_open {
            task.read(choice, world.input)
        } else {
            None
        };
        if task.ends_now(world.input) {
            if let Some(record) = record {
                self.route(subtask, record, world);
            }
            self.broadcast(subtask, Item::End);
            return Step::Ended;
        }
        match record {
            Some(record) => {
                self.route(subtask, record, world);
                Step::Worked
            }
            None => Step::Nothing,
        }
    }

    fn route(&mut self, from: SubtaskId, record: Record, world: &WorldView<'_>) {
        let max = world.input.max_parallelism;
        let parallelism = crate::Parallelism::new(self.parallelism).unwrap();
        let to = subtask_of(world.input.group(record), max, parallelism);
        self.push(from, to, Item::Record(record));
    }
}

/// What a step may know of the world.
pub(super) struct WorldView<'a> {
    pub(super) input: &'a super::input::Input,
    /// Whether sources send this time.
    pub(super) is_open: bool,
}

impl World {
    /// A restored task.
    pub(super) fn build_task(
        &self,
        subtask: SubtaskId,
        restore: &OperatorRestore,
        parallelism: u32,
    ) -> Result<Task, String> {
        let body = match subtask.chain.0 {
            0 => {
                let positions = positions_of(&restore.items, self.input.split_count);
                let splits = (0..).zip(positions);
                let is_own = |split: u16| u32::from(split) % parallelism == subtask.index.0;
                Body::Source(Source {
                    splits: splits.filter(|(split, _)| is_own(*split)).collect(),
                    has_ended: false,
                    has_stopped: false,
                })
            }
            1 => Body::Keyed(Keyed::restore(restore, self.store.rebuild(restore)?)),
            _ => Body::Sink(Sink::default()),
        };
        Ok(Task::new(subtask, body, parallelism))
    }
}

/// What a sink still has to commit up to a checkpoint.
pub(super) fn take_pending(
    sink: &mut Sink,
    checkpoint: CheckpointId,
) -> Vec<super::store::TransactionName> {
    let (ready, rest) = sink
        .pending
        .drain(..)
        .partition(|(id, _)| *id <= checkpoint);
    sink.pending = rest;
    let ready: Vec<(CheckpointId, super::store::TransactionName)> = ready;
    ready.into_iter().map(|(_, name)| name).collect()
}
