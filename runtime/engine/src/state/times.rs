//! One key's timers of one kind, as a hidden column of its table keeps them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use super::block::Row;
use super::column::Column;
use super::kind::{ListState, ListValues, StateKind};
use crate::record::{Field, FieldBuilder};

/// So many times are searched one by one; a set of more is ordered.
const FEW_TIMES: usize = 32;

/// Distinct times, in no order that means anything. O(log n) each, and as small as a list where
/// they are few.
#[derive(Debug, Clone)]
pub(super) enum Times {
    Few(Vec<i64>),
    #[expect(
        clippy::box_collection,
        reason = "most keys have few: theirs stays a list's size"
    )]
    Many(Box<BTreeSet<i64>>),
}

impl Default for Times {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl FromIterator<i64> for Times {
    fn from_iter<I: IntoIterator<Item = i64>>(times: I) -> Self {
        let times: Vec<i64> = times.into_iter().collect();
        if times.len() <= FEW_TIMES {
            Self::Few(times)
        } else {
            Self::Many(Box::new(times.into_iter().collect()))
        }
    }
}

impl Times {
    /// Adds a time that is not there yet.
    pub(super) fn add(&mut self, time: i64) {
        match self {
            Self::Few(times) if times.len() < FEW_TIMES => times.push(time),
            Self::Few(times) => {
                let more = times.iter().copied().chain([time]);
                *self = Self::Many(Box::new(more.collect()));
            }
            Self::Many(times) => drop(times.insert(time)),
        }
    }

    /// Removes a time.
    pub(super) fn remove(&mut self, time: i64) {
        match self {
            Self::Few(times) => times.retain(|other| *other != time),
            Self::Many(times) => {
                times.remove(&time);
                // Half, so that one more and one less in turn do not rebuild it each time.
                if times.len() <= FEW_TIMES / 2 {
                    *self = Self::Few(times.iter().copied().collect());
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(times) => times.len(),
            Self::Many(times) => times.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn for_each(&self, visit: impl FnMut(i64)) {
        match self {
            Self::Few(times) => times.iter().copied().for_each(visit),
            Self::Many(times) => times.iter().copied().for_each(visit),
        }
    }
}

/// The kind of the hidden columns: a snapshot has them as lists.
pub(super) struct TimesState;

impl StateKind for TimesState {
    type Stored = Arc<Times>;
    type Cell<'a> = ();
    type Values = ListValues<<i64 as Field>::Builder>;
    const KIND: &'static str = ListState::<i64>::KIND;

    fn type_name() -> String {
        ListState::<i64>::type_name()
    }

    fn data_type() -> DataType {
        ListState::<i64>::data_type()
    }

    fn looks_alike(stored: &Arc<Times>, other: &Arc<Times>) -> bool {
        Arc::ptr_eq(stored, other)
    }

    fn cell(_: &mut Column<Self>, _: Row) {}

    fn push(values: &mut Self::Values, stored: &Arc<Times>) {
        stored.for_each(|time| values.items.push(time));
        values.end_row(stored.len());
    }

    fn is_full(values: &Self::Values) -> bool {
        values.is_full::<i64>()
    }

    fn finish(values: Self::Values, nulls: Option<NullBuffer>) -> ArrayRef {
        ListState::<i64>::finish(values, nulls)
    }

    fn decode(array: &ArrayRef) -> Option<Vec<Option<Arc<Times>>>> {
        let lists = ListState::<i64>::decode(array)?.into_iter();
        let times = |list: Arc<Vec<i64>>| Arc::new(list.iter().copied().collect());
        Some(lists.map(|list| list.map(times)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(times: &Times) -> Vec<i64> {
        let mut all = Vec::new();
        times.for_each(|time| all.push(time));
        all.sort_unstable();
        all
    }

    #[test]
    fn few_times_take_no_more_room_than_a_list() {
        assert_eq!(size_of::<Times>(), size_of::<Vec<i64>>());
        let times = Times::from_iter(0..FEW_TIMES as i64);
        assert!(matches!(times, Times::Few(_)));
    }

    #[test]
    fn many_times_are_searched_in_order() {
        let mut times = Times::default();
        (0..=FEW_TIMES as i64).for_each(|time| times.add(time));
        assert!(matches!(times, Times::Many(_)));
        assert!(matches!(Times::from_iter(0..100), Times::Many(_)));
    }

    proptest! {
        #[test]
        fn times_are_a_set_however_many(
            steps in proptest::collection::vec((0..100_u32, 0_i64..80), 1..600),
            adds in 30..70_u32,
        ) {
            let mut times = Times::default();
            let mut model = BTreeSet::new();
            for (step, time) in steps {
                if step >= adds {
                    times.remove(time);
                    model.remove(&time);
                } else if model.insert(time) {
                    times.add(time);
                }
                prop_assert_eq!(times.len(), model.len());
            }
            let expected: Vec<i64> = model.into_iter().collect();
            prop_assert_eq!(sorted(&times), expected.clone());
            let column = {
                let mut values = ListValues::default();
                TimesState::push(&mut values, &Arc::new(times));
                TimesState::finish(values, None)
            };
            let read = TimesState::decode(&column).unwrap().remove(0).unwrap();
            prop_assert_eq!(sorted(&read), expected);
        }
    }
}
