//! What there was before the run: nothing, an earlier life of the job, or another job.

use super::input::Record;
use super::store::{Rows, Store, TransactionName, position_item, transaction_item};
use super::world::{Happening, World};
use crate::{
    Attempt, Base, CheckpointId, CheckpointKind, Entry, EntryBody, FORMAT_VERSION, FileKind,
    KeyGroup, KeyGroupRange, LogNumber, Manifest, OperatorKind, OperatorState, Parallelism,
    StartFrom, StateFile, SubtaskIndex, SubtaskState,
};

/// The path of the state before.
const PATH: &str = "state/1/7/count-0.arrow";
/// The same in another job's folder.
const FOREIGN_PATH: &str = "s3://bucket/other/state/1/7/count-0.arrow";
/// What that job's sink had pre-committed; no attempt of this job has that number.
const FOREIGN_TRANSACTION: TransactionName = (0, 0, 7);

impl World {
    /// Draws what the job's first attempt starts from. Most begin with nothing.
    pub(super) fn draw_beginning(&mut self) {
        let half = self.input.record_count / 2;
        let positions = vec![half; usize::from(self.input.split_count)];
        match self.random.below(6) {
            0 => {
                let manifest = self.earlier(PATH, &positions);
                remember(&mut self.store, manifest);
                self.start_from = StartFrom::Empty;
            }
            1 => {
                let mut manifest = self.earlier(FOREIGN_PATH, &positions);
                let sink = &mut manifest.operators[2].subtasks[0];
                sink.items.push(transaction_item(FOREIGN_TRANSACTION));
                self.write_as_another_job(&positions);
                self.start_from = StartFrom::Foreign(Box::new(manifest));
            }
            _ => {}
        }
    }

    /// What the other job wrote before its checkpoint: some of it is visible, the rest is
    /// pre-committed. It may have been killed before it could commit that, or do so at any time.
    fn write_as_another_job(&mut self, positions: &[u16]) {
        let mut pending = Vec::new();
        for (split, position) in (0..).zip(positions) {
            for index in 0..*position {
                let record = Record { split, index };
                if self.random.below(2) == 0 {
                    pending.push(record);
                } else {
                    self.store.visible[self.input.place(record)] = 1;
                }
            }
        }
        self.store.transactions.insert(FOREIGN_TRANSACTION, pending);
        self.oracle.name_transaction(FOREIGN_TRANSACTION);
        if self.random.below(2) == 0 {
            let wait_ms = self.long_while();
            self.after(wait_ms, Happening::OtherJobCommits);
        }
    }

    pub(super) fn other_job_commits(&mut self) -> Result<(), String> {
        self.make_visible(FOREIGN_TRANSACTION)
    }

    /// The other job deletes its state as soon as this job has some of its own.
    pub(super) fn other_job_collects(&mut self) -> Result<(), String> {
        if self.oracle.checkpoint_count > 0 && self.store.files.remove(FOREIGN_PATH).is_some() {
            self.oracle.check_deleted_file(&self.store, FOREIGN_PATH)?;
        }
        Ok(())
    }

    /// A checkpoint at these positions, its file stored.
    fn earlier(&mut self, path: &str, positions: &[u16]) -> Manifest {
        let tallies = (0..).map(KeyGroup).zip(self.input.tallies(positions));
        let rows: Rows = tallies.filter(|(_, tally)| tally.count > 0).collect();
        let max_parallelism = self.input.max_parallelism;
        let none = KeyGroupRange { start: 0, end: 0 };
        let all = KeyGroupRange {
            start: 0,
            end: max_parallelism.get() as u16,
        };
        let file = StateFile {
            path: path.to_owned(),
            kind: FileKind::Base,
            size_bytes: rows.len() as u64,
            checksum: "0".repeat(16),
            key_groups: all,
            row_count: rows.len() as u64,
        };
        self.store.files.insert(path.to_owned(), rows);
        let items = (0..).zip(positions);
        let items: Vec<_> = items.map(|(split, at)| position_item(split, *at)).collect();
        let operators = self.plan.operators().map(|plan| OperatorState {
            operator: plan.id.clone(),
            name: plan.name.clone(),
            schema: plan.state.clone(),
            subtasks: vec![SubtaskState {
                subtask: SubtaskIndex(0),
                key_groups: if plan.state.is_some() { all } else { none },
                files: plan.state.iter().map(|_| file.clone()).collect(),
                items: if plan.kind == OperatorKind::Source {
                    items.clone()
                } else {
                    Vec::new()
                },
                watermark_ms: None,
            }],
        });
        Manifest {
            checkpoint: CheckpointId::new(7).unwrap(),
            kind: CheckpointKind::Savepoint,
            name: None,
            attempt: Attempt::of_fence(LogNumber::FIRST),
            triggered_ms: 0,
            completed_ms: 0,
            parallelism: Parallelism::new(1).unwrap(),
            max_parallelism,
            plan_fingerprint: self.plan.fingerprint(),
            is_final: false,
            operators: operators.collect(),
        }
    }
}

/// The log of an earlier life: a fence and a savepoint.
fn remember(store: &mut Store, manifest: Manifest) {
    let fence = LogNumber::FIRST;
    let number = fence.next();
    let entry = |number: LogNumber, retained, body| Entry {
        format: FORMAT_VERSION,
        number,
        nonce: number.get(),
        retained,
        start_generation: 0,
        greatest_checkpoint: 0,
        body,
    };
    let fence_body = EntryBody::Fence {
        created_ms: 0,
        writer: "before".to_owned(),
        base: Base::Empty,
    };
    store
        .log
        .insert(fence, entry(fence, Vec::new(), fence_body));
    let body = EntryBody::Checkpoint(manifest);
    store.log.insert(number, entry(number, vec![number], body));
}
