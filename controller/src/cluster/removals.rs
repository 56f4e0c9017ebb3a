//! What was removed lately, so that an answer or an event that is late does not bring it back.

use std::collections::{BTreeSet, HashMap};

use super::store::Place;

/// So many removals are remembered, more than can happen while one request is under way.
const REMOVALS_MAX: usize = 4096;

/// The places from which objects went, with the version at which they did. All versions of one API
/// server come from one counter, so that whatever is made there later has a higher one.
///
/// # Invariants
/// At most [`REMOVALS_MAX`] are kept, the newest: see `only_the_newest_removals_are_remembered`.
#[derive(Debug, Default)]
pub(super) struct Removals {
    versions: HashMap<Place, u64>,
    by_version: BTreeSet<(u64, Place)>,
}

impl Removals {
    /// The version at which the last object went from there, if that is remembered.
    pub(super) fn version(&self, place: &Place) -> Option<u64> {
        self.versions.get(place).copied()
    }

    /// Takes note that what was there went at this version.
    pub(super) fn add(&mut self, place: Place, version: u64) {
        let known = self.versions.entry(place.clone()).or_default();
        if *known >= version {
            return;
        }
        let old = std::mem::replace(known, version);
        self.by_version.remove(&(old, place.clone()));
        self.by_version.insert((version, place));
        if self.by_version.len() > REMOVALS_MAX
            && let Some((_, oldest)) = self.by_version.pop_first()
        {
            self.versions.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u64) -> Place {
        ("shop".to_owned(), format!("orders-{number}"))
    }

    #[test]
    fn only_the_newest_removals_are_remembered() {
        let mut removals = Removals::default();
        let count = REMOVALS_MAX as u64;
        (1..=count).for_each(|version| removals.add(place(version), version));
        // The first goes once more, so that the second is the oldest.
        removals.add(place(1), count + 1);
        removals.add(place(1), 1);
        removals.add(place(count + 2), count + 2);
        assert_eq!(removals.version(&place(1)), Some(count + 1));
        assert_eq!(removals.version(&place(2)), None);
        assert_eq!(removals.version(&place(3)), Some(3));
        assert_eq!(removals.versions.len(), REMOVALS_MAX);
        assert_eq!(removals.by_version.len(), REMOVALS_MAX);
    }
}
