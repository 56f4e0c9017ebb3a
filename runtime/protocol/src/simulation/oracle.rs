//! Who knows everything, and says at each step whether it is still true.
//!
//! - Every record counts once in the state of each checkpoint that the log goes on from, and is
//!   visible or about to become visible to the sink's readers once (invariants 1 and 3).
//! - What the highest entry names is there, and can be restored at any parallelism (invariant 2).
//! - No retained checkpoint, savepoint or file is lost (invariants 2 and 4).

use std::collections::{BTreeMap, BTreeSet};

use super::input::Input;
use super::store::{Store, TransactionName, positions_of, transaction_of};
use super::user::{OLD_START, START};
use crate::{
    Attempt, Base, CheckpointId, CheckpointKind, Entry, EntryBody, JobPlan, KeyGroup, LogNumber,
    Manifest, OperatorKind, Parallelism, WorkerId, plan_restore, subtask_of,
};

/// Identifies the highest entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Highest {
    number: LogNumber,
    nonce: u64,
}

impl Highest {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            number: entry.number,
            nonce: entry.nonce,
        }
    }
}

/// What was promised so far.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    greatest: Option<LogNumber>,
    /// The newest start that the highest entry ever told of.
    generation: u64,
    /// Checkpoints that a coordinator reported as complete, with their entries' nonces.
    reported: BTreeMap<LogNumber, (u64, CheckpointId, CheckpointKind)>,
    /// Checkpoints that somebody asked to release.
    released: BTreeSet<CheckpointId>,
    /// Transactions that a manifest in the log named at some time.
    named_transactions: BTreeSet<TransactionName>,
    pub(super) fence_count: u64,
    pub(super) checkpoint_count: u64,
}

impl Oracle {
    pub(super) fn release(&mut self, checkpoint: CheckpointId) {
        self.released.insert(checkpoint);
    }

    pub(super) fn reported(&self) -> Vec<CheckpointId> {
        self.reported
            .values()
            .map(|(_, checkpoint, _)| *checkpoint)
            .collect()
    }

    /// A coordinator says that a checkpoint is complete.
    pub(super) fn report(&mut self, entry: &Entry, store: &Store) -> Result<(), String> {
        let Some(manifest) = entry.manifest() else {
            return Err(format!(
                "entry {} is reported, but is no checkpoint",
                entry.number
            ));
        };
        let facts = (entry.nonce, manifest.checkpoint, manifest.kind);
        self.reported.insert(entry.number, facts);
        self.check_log(store)
    }

    /// Another job's log names this one.
    pub(super) fn name_transaction(&mut self, name: TransactionName) {
        self.named_transactions.insert(name);
    }

    /// Whether output may become visible.
    pub(super) fn check_commit(&self, name: TransactionName) -> Result<(), String> {
        if self.named_transactions.contains(&name) {
            Ok(())
        } else {
            Err(format!(
                "transaction {name:?} is committed before a manifest names it"
            ))
        }
    }

    /// The log has another highest entry.
    pub(super) fn new_highest(
        &mut self,
        store: &Store,
        input: &Input,
        plan: &JobPlan,
        choice: u64,
    ) -> Result<(), String> {
        let Some(entry) = store.highest() else {
            return Ok(());
        };
        self.check_start(entry)?;
        match entry.manifest() {
            None => self.fence_count += 1,
            Some(manifest) => {
                self.checkpoint_count += 1;
                self.named_transactions.extend(transactions(manifest));
                let parallelism = 1 + choice % u64::from(plan.max_parallelism.get());
                let parallelism = Parallelism::new(parallelism as u32).unwrap();
                check_state(store, input, plan, (manifest, parallelism))?;
                check_output(store, input, manifest)?;
            }
        }
        Ok(())
    }

    /// An older start never takes over from a newer one, and the log never forgets that.
    fn check_start(&mut self, entry: &Entry) -> Result<(), String> {
        let (number, generation) = (entry.number, entry.start_generation);
        if generation < self.generation {
            let known = self.generation;
            return Err(format!(
                "entry {number} is of start {generation}, not of {known}"
            ));
        }
        if let EntryBody::Fence { writer, .. } = &entry.body
            && self.generation == START
            && writer.ends_with(&format!("of start {OLD_START}"))
        {
            return Err(format!("{writer} takes over by entry {number}"));
        }
        self.generation = generation;
        Ok(())
    }

    /// The log changed, or what was promised did.
    pub(super) fn check_log(&mut self, store: &Store) -> Result<(), String> {
        let Some(highest) = store.highest() else {
            return self
                .greatest
                .map_or(Ok(()), |lost| Err(format!("entry {lost} is gone")));
        };
        if self.greatest > Some(highest.number) {
            return Err(format!("the highest entry, {:?}, is gone", self.greatest));
        }
        self.greatest = Some(highest.number);
        for number in &highest.retained {
            let Some(named) = store.log.get(number) else {
                return Err(format!(
                    "entry {number} is named by {}, but gone",
                    highest.number
                ));
            };
            let Some(manifest) = named.manifest() else {
                return Err(format!("entry {number} is named, but is no checkpoint"));
            };
            if let Some((nonce, ..)) = self.reported.get(number)
                && *nonce != named.nonce
            {
                return Err(format!("entry {number} is not the one that was reported"));
            }
            if let Some(file) = manifest
                .files()
                .find(|f| !store.files.contains_key(&f.path))
            {
                return Err(format!("entry {number} names {}, which is gone", file.path));
            }
        }
        self.check_promises(highest)
    }

    fn check_promises(&self, highest: &Entry) -> Result<(), String> {
        let Some(newest) = self.reported.keys().next_back() else {
            return Ok(());
        };
        let goes_on_from = match highest.base() {
            Base::Checkpoint(number) => Some(number),
            Base::Empty | Base::Foreign(_) => None,
        };
        if goes_on_from < Some(*newest) {
            return Err(format!(
                "entry {newest} was reported, but entry {} goes on from {goes_on_from:?}",
                highest.number
            ));
        }
        if goes_on_from.is_some_and(|number| !highest.retained.contains(&number)) {
            return Err(format!(
                "entry {} does not retain {goes_on_from:?}",
                highest.number
            ));
        }
        for (number, (_, checkpoint, kind)) in &self.reported {
            let is_promised =
                *kind == CheckpointKind::Savepoint && !self.released.contains(checkpoint);
            if is_promised && !highest.retained.contains(number) {
                return Err(format!(
                    "entry {number}, checkpoint {checkpoint}, is not retained"
                ));
            }
        }
        Ok(())
    }

    /// A file is gone.
    pub(super) fn check_deleted_file(&self, store: &Store, path: &str) -> Result<(), String> {
        let highest = store.highest();
        let named = highest.into_iter().flat_map(|highest| &highest.retained);
        let mut entries = named.filter_map(|number| store.log.get(number));
        let names = |entry: &Entry| {
            entry
                .manifest()
                .is_some_and(|m| m.files().any(|file| file.path == path))
        };
        match entries.find(|entry| names(entry)) {
            Some(entry) => Err(format!(
                "{path} is deleted, but entry {} names it",
                entry.number
            )),
            None => Ok(()),
        }
    }

    /// The job has ended: everything is visible, once.
    pub(super) fn check_end(&self, store: &Store, input: &Input) -> Result<(), String> {
        let missing = store.visible.iter().position(|count| *count != 1);
        match missing {
            Some(place) => Err(format!(
                "{:?} is visible {} times at the end",
                input.record_at(place),
                store.visible[place]
            )),
            None => Ok(()),
        }
    }

    /// The job has stopped with this savepoint: what it holds is visible.
    pub(super) fn check_stop(&self, store: &Store, savepoint: CheckpointId) -> Result<(), String> {
        // A late put of an old attempt, which counts for nothing, may have the same id.
        let counts = |entry: &&Entry| {
            let facts = self.reported.get(&entry.number);
            facts.is_some_and(|(nonce, ..)| *nonce == entry.nonce)
        };
        let manifests = store
            .log
            .values()
            .filter(counts)
            .filter_map(Entry::manifest);
        for manifest in manifests.filter(|manifest| manifest.checkpoint == savepoint) {
            if let Some(open) = transactions(manifest).find(|name| !store.committed.contains(name))
            {
                return Err(format!(
                    "stopped, but transaction {open:?} is not committed"
                ));
            }
        }
        Ok(())
    }
}

fn transactions(manifest: &Manifest) -> impl Iterator<Item = TransactionName> {
    let sinks = manifest
        .operators
        .iter()
        .filter(|state| state.operator.as_str() == "result");
    let items = sinks
        .flat_map(|state| &state.subtasks)
        .flat_map(|subtask| &subtask.items);
    items.map(transaction_of)
}

fn positions(manifest: &Manifest, input: &Input) -> Vec<u16> {
    let sources = manifest
        .operators
        .iter()
        .filter(|state| state.operator.as_str() == "lines");
    let items = sources
        .flat_map(|state| &state.subtasks)
        .flat_map(|subtask| &subtask.items);
    positions_of(items, input.split_count)
}

/// Restores a checkpoint and compares each key group with what the sources had sent.
fn check_state(
    store: &Store,
    input: &Input,
    plan: &JobPlan,
    (manifest, parallelism): (&Manifest, Parallelism),
) -> Result<(), String> {
    let placement = vec![WorkerId::FIRST; parallelism.get() as usize];
    let attempt = Attempt::of_fence(LogNumber::FIRST);
    let deployment = plan_restore(plan, Some(manifest), attempt, &placement).map_err(|error| {
        format!(
            "checkpoint {} cannot be restored: {error}",
            manifest.checkpoint
        )
    })?;
    let mut expected = input.tallies(&positions(manifest, input));
    for deployed in &deployment.subtasks {
        for (plan, restore) in plan.chains[deployed.subtask.chain.0 as usize]
            .operators
            .iter()
            .zip(&deployed.operators)
        {
            if plan.kind != OperatorKind::Keyed {
                continue;
            }
            for (group, tally) in store.rebuild(restore)? {
                let owner = subtask_of(group, input.max_parallelism, parallelism);
                if owner != deployed.subtask.index {
                    return Err(format!("{group:?} is restored by the wrong subtask"));
                }
                let wanted = std::mem::take(&mut expected[usize::from(group.0)]);
                if wanted != tally {
                    return Err(format!(
                        "checkpoint {} restored at parallelism {parallelism}: {group:?} holds \
                         {tally:?}, its sources had sent {wanted:?}",
                        manifest.checkpoint
                    ));
                }
            }
        }
    }
    match (0..).zip(expected).find(|(_, tally)| tally.count > 0) {
        Some((group, tally)) => Err(format!(
            "checkpoint {} lost {:?}: {tally:?}",
            manifest.checkpoint,
            KeyGroup(group)
        )),
        None => Ok(()),
    }
}

/// Each record before the sources' positions is visible or will be by the checkpoint's
/// transactions, once; none after them is.
fn check_output(store: &Store, input: &Input, manifest: &Manifest) -> Result<(), String> {
    let checkpoint = manifest.checkpoint;
    let mut seen = store.visible.clone();
    for name in transactions(manifest).filter(|name| !store.committed.contains(name)) {
        let Some(records) = store.transactions.get(&name) else {
            return Err(format!(
                "checkpoint {checkpoint} names {name:?}, which is not durable"
            ));
        };
        for record in records {
            seen[input.place(*record)] += 1;
        }
    }
    let positions = positions(manifest, input);
    for (place, count) in seen.iter().enumerate() {
        let record = input.record_at(place);
        let wanted = u8::from(record.index < positions[usize::from(record.split)]);
        if *count != wanted {
            return Err(format!(
                "checkpoint {checkpoint}: {record:?} is visible {count} times, not {wanted}"
            ));
        }
    }
    Ok(())
}
