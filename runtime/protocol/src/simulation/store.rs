//! The store and the outside system that the sink writes to: what is durable.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::input::{Input, Record, Tally};
use super::{Bug, is_planted};
use crate::{AppendOutcome, Entry, KeyGroup, LogNumber, OperatorRestore};

/// The rows of a state file.
pub(super) type Rows = Vec<(KeyGroup, Tally)>;

/// A sink transaction's name: attempt, sink subtask, checkpoint.
pub(super) type TransactionName = (u64, u32, u64);

/// Everything that outlives processes.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) log: BTreeMap<LogNumber, Entry>,
    pub(super) files: BTreeMap<String, Rows>,
    /// Pre-committed output.
    pub(super) transactions: BTreeMap<TransactionName, Vec<Record>>,
    pub(super) committed: BTreeSet<TransactionName>,
    /// How often each record is visible to the sink's readers, by its place in the input.
    pub(super) visible: Vec<u8>,
}

impl Store {
    pub(super) fn new(input: &Input) -> Self {
        Self {
            visible: vec![0; input.total()],
            ..Self::default()
        }
    }

    /// A put that arrives. The writer knows its own entry by the nonce.
    pub(super) fn put_entry(&mut self, entry: &Entry) -> AppendOutcome {
        match self.log.get(&entry.number) {
            Some(found) if found.nonce == entry.nonce => AppendOutcome::Created,
            Some(_) if !is_planted(Bug::PutWithoutIfAbsent) => AppendOutcome::Taken,
            _ => {
                // What a reader gets went through bytes; some do so for real.
                let stored = if entry.nonce.is_multiple_of(16) {
                    Entry::parse(&entry.to_bytes(), entry.number).unwrap()
                } else {
                    entry.clone()
                };
                assert_eq!(stored, *entry);
                self.log.insert(entry.number, stored);
                AppendOutcome::Created
            }
        }
    }

    pub(super) fn highest(&self) -> Option<&Entry> {
        self.log.values().next_back()
    }

    /// Makes a transaction's output visible, once.
    pub(super) fn commit(&mut self, name: TransactionName, input: &Input) -> Result<(), String> {
        if !self.committed.insert(name) {
            return Ok(());
        }
        let Some(records) = self.transactions.get(&name) else {
            return Err(format!(
                "transaction {name:?} is to be committed, but was never durable"
            ));
        };
        for record in records {
            let visible = &mut self.visible[input.place(*record)];
            *visible += 1;
            if *visible > 1 {
                return Err(format!(
                    "{record:?} is visible twice, by transaction {name:?}"
                ));
            }
        }
        Ok(())
    }

    /// The state that an operator restores.
    pub(super) fn rebuild(
        &self,
        restore: &OperatorRestore,
    ) -> Result<Vec<(KeyGroup, Tally)>, String> {
        let mut rows = BTreeMap::new();
        for file in &restore.files {
            let found = self.files.get(&file.path);
            let content = found.ok_or_else(|| format!("file {} is gone", file.path))?;
            for (group, tally) in content {
                if file.key_groups.contains(*group) && restore.key_groups.contains(*group) {
                    rows.insert(*group, *tally);
                }
            }
        }
        Ok(rows.into_iter().collect())
    }
}

/// A transaction as operator state.
pub(super) fn transaction_item(name: TransactionName) -> Value {
    Value::from(vec![name.0, u64::from(name.1), name.2])
}

/// The transaction that an item names.
pub(super) fn transaction_of(item: &Value) -> TransactionName {
    let part = |index: usize| item[index].as_u64().unwrap();
    (part(0), part(1) as u32, part(2))
}

/// A split's position as operator state.
pub(super) fn position_item(split: u16, position: u16) -> Value {
    Value::from(vec![split, position])
}

/// The position of each split that the items hold; 0 where none does.
pub(super) fn positions_of<'a>(
    items: impl IntoIterator<Item = &'a Value>,
    split_count: u16,
) -> Vec<u16> {
    let mut positions = vec![0; usize::from(split_count)];
    for item in items {
        let part = |index: usize| item[index].as_u64().unwrap() as u16;
        positions[usize::from(part(0))] = part(1);
    }
    positions
}
