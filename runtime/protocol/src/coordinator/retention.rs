//! Which checkpoints stay, and what nobody refers to any more. Pure.

use std::collections::BTreeSet;

use super::log_read::{LogContent, damaged_hint};
use super::planted::planted;
use crate::{Attempt, Base, CheckpointId, CheckpointKind, Entry, LogNumber, Manifest};

/// The log as the running attempt knows it: it alone appends, else it is fenced.
///
/// # Invariants
/// `head` is the attempt's own newest counted entry; `retained` and `damaged` are what that entry
/// names, the former ascending by number, checkpoints only; `base`, where it is a checkpoint of
/// this log that an attempt runs from, is one of the former.
#[derive(Debug)]
pub(super) struct LogView {
    pub(super) head: LogNumber,
    pub(super) base: Base,
    pub(super) retained: Vec<Entry>,
    /// What that entry names too, but cannot be read. It may be a savepoint, so it stays named.
    damaged: BTreeSet<LogNumber>,
    /// As every entry carries it on.
    pub(super) start_generation: u64,
    /// The greatest id of any checkpoint that the log has had, also of those that cannot be read.
    pub(super) greatest_checkpoint: Option<CheckpointId>,
    /// The listing that showed `head` to be the highest.
    numbers: Vec<LogNumber>,
}

/// What a collection may delete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbage {
    pub(super) entries: Vec<LogNumber>,
    pub(super) keep_files: Vec<String>,
    pub(super) keep_before: Attempt,
}

impl LogView {
    /// After the attempt's fence counted.
    pub(super) fn of_fence(content: LogContent, fence: &Entry, numbers: Vec<LogNumber>) -> Self {
        Self {
            head: fence.number,
            base: fence.base(),
            start_generation: fence.start_generation,
            greatest_checkpoint: fence.greatest_checkpoint(),
            retained: content.retained,
            damaged: content.damaged.into_keys().collect(),
            numbers,
        }
    }

    /// What a checkpoint's entry at this number has to name.
    pub(super) fn retained_with(
        &self,
        number: LogNumber,
        kind: CheckpointKind,
        keep_count: u32,
    ) -> Vec<LogNumber> {
        let of_entry = |entry: &Entry| Some((entry.number, entry.manifest()?.kind));
        let all: Vec<_> = self.retained.iter().filter_map(of_entry).collect();
        let all = all.into_iter().chain([(number, kind)]);
        let mut kept = newest(&all.collect::<Vec<_>>(), keep_count);
        kept.extend(&self.damaged);
        kept.sort_unstable();
        kept
    }

    /// What the head names but for these, ascending.
    pub(super) fn named_without(&self, released: &BTreeSet<LogNumber>) -> Vec<LogNumber> {
        let named = self.retained.iter().map(|entry| entry.number);
        let named: BTreeSet<_> = named.chain(self.damaged.iter().copied()).collect();
        named.difference(released).copied().collect()
    }

    /// The attempt's own entry counts: it is the head now.
    pub(super) fn count(&mut self, entry: Entry, numbers: Vec<LogNumber>) {
        self.head = entry.number;
        self.base = entry.base();
        self.greatest_checkpoint = self.greatest_checkpoint.max(entry.greatest_checkpoint());
        self.numbers = numbers;
        let named: BTreeSet<_> = entry.retained.iter().copied().collect();
        self.retained.retain(|entry| named.contains(&entry.number));
        self.damaged.retain(|number| named.contains(number));
        if entry.manifest().is_some() {
            self.retained.push(entry);
        }
    }

    /// The number that the attempt's next entry takes.
    pub(super) fn next_number(&self) -> LogNumber {
        self.head.next()
    }

    /// The retained savepoint of this name.
    pub(super) fn savepoint_named(&self, name: &str) -> Option<CheckpointId> {
        let mut manifests = self.retained.iter().filter_map(Entry::manifest);
        let is_it = |manifest: &&Manifest| {
            manifest.kind == CheckpointKind::Savepoint && manifest.name.as_deref() == Some(name)
        };
        manifests.find(is_it).map(|manifest| manifest.checkpoint)
    }

    /// What an attempt that starts now goes on from.
    pub(super) fn base_manifest(&self) -> Option<&Manifest> {
        match &self.base {
            Base::Empty => None,
            Base::Foreign(manifest) => Some(manifest),
            Base::Checkpoint(number) => {
                let mut entries = self.retained.iter();
                entries.find(|entry| entry.number == *number)?.manifest()
            }
        }
    }

    /// The files that no collection deletes, now or later, while the base stands. Another job's
    /// are none of them: its own collections know nothing of who else reads them.
    pub(super) fn base_files(&self) -> BTreeSet<&str> {
        let own = self
            .base_manifest()
            .filter(|_| matches!(self.base, Base::Checkpoint(_)));
        let files = own.into_iter().flat_map(Manifest::files);
        files.map(|file| file.path.as_str()).collect()
    }

    /// The entry that the user may release under this id.
    ///
    /// # Errors
    /// A checkpoint that is not retained, or that the job would go on from.
    pub(super) fn releasable(&self, checkpoint: CheckpointId) -> Result<LogNumber, String> {
        let is_it = |entry: &&Entry| entry.manifest().is_some_and(|m| m.checkpoint == checkpoint);
        let Some(entry) = self.retained.iter().find(is_it) else {
            // The controller takes "not retained" for a checkpoint that is gone.
            let found = match self.damaged.is_empty() {
                true => "not retained",
                false => "in no entry of the log that can be read",
            };
            let hint = damaged_hint(self.damaged.iter());
            return Err(format!("checkpoint {checkpoint} is {found}{hint}"));
        };
        if self.base == Base::Checkpoint(entry.number) {
            return Err(format!(
                "checkpoint {checkpoint} is the one that the job goes on from; it can be released \
                 when a newer one is complete"
            ));
        }
        Ok(entry.number)
    }

    /// What nothing refers to: rule 3 for entries, and the files that rule 4 spares.
    pub(super) fn garbage(&self) -> Garbage {
        let named: BTreeSet<_> = self.named_without(&BTreeSet::new()).into_iter().collect();
        let is_free = |number: &LogNumber| {
            if planted!(FreeNamedEntry) && named.first() == Some(number) {
                return true;
            }
            let is_below = *number < self.head || planted!(FreeHighest);
            is_below && !named.contains(number)
        };
        let entries = self.numbers.iter().copied().filter(is_free).collect();
        let kept = self.retained.iter().filter_map(Entry::manifest);
        let skipped = if planted!(CollectReferencedFile) {
            1
        } else {
            0
        };
        let files = kept.flat_map(|manifest| manifest.files().skip(skipped));
        let keep_files: BTreeSet<String> = files.map(|file| file.path.clone()).collect();
        // An entry names files of attempts that began before it, and of no other.
        let newest_damaged = self.damaged.last().copied();
        Garbage {
            entries,
            keep_files: keep_files.into_iter().collect(),
            keep_before: Attempt::of_fence(newest_damaged.unwrap_or(LogNumber::FIRST)),
        }
    }
}

/// The newest `keep_count` automatic checkpoints and every savepoint.
fn newest(all: &[(LogNumber, CheckpointKind)], keep_count: u32) -> Vec<LogNumber> {
    let is_automatic = |kind| planted!(RetireSavepoints) || kind == CheckpointKind::Checkpoint;
    let automatic = all.iter().filter(|(_, kind)| is_automatic(*kind)).count();
    let mut surplus = automatic.saturating_sub(keep_count.max(1) as usize);
    let mut kept = Vec::with_capacity(all.len());
    for (number, kind) in all {
        if is_automatic(*kind) && surplus > 0 {
            surplus -= 1;
        } else {
            kept.push(*number);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u64) -> LogNumber {
        LogNumber::new(value).unwrap()
    }

    #[test]
    fn the_newest_automatic_checkpoints_and_every_savepoint_stay() {
        use CheckpointKind::{Checkpoint, Savepoint};
        let all = [
            (number(2), Checkpoint),
            (number(3), Savepoint),
            (number(5), Checkpoint),
            (number(6), Savepoint),
            (number(9), Checkpoint),
        ];
        assert_eq!(newest(&all, 2), [3, 5, 6, 9].map(number));
        assert_eq!(newest(&all, 1), [3, 6, 9].map(number));
        assert_eq!(newest(&all, 9), [2, 3, 5, 6, 9].map(number));
    }

    #[test]
    fn a_retention_of_zero_keeps_one() {
        let all = [
            (number(2), CheckpointKind::Checkpoint),
            (number(4), CheckpointKind::Checkpoint),
        ];
        assert_eq!(newest(&all, 0), [number(4)]);
    }
}
