//! Which subtask reads which split.

use std::collections::HashSet;

use crate::source::{Split, SplitState};

/// Spreads known and newly found splits over subtasks: the unread ones evenly by weight, heaviest
/// first; each subtask's own stay in the order in which they were found. Ended splits go along,
/// since they are part of the state.
///
/// A split that a checkpoint knows keeps its position, and its place before all new ones.
pub(super) fn assign(
    known: Vec<SplitState>,
    found: Vec<Split>,
    parallelism: u32,
) -> Vec<Vec<SplitState>> {
    let ids: HashSet<String> = known.iter().map(|state| state.split.id.clone()).collect();
    let new = found.into_iter().filter(|split| !ids.contains(&split.id));
    let new = new.map(SplitState::unread);
    let all: Vec<SplitState> = known.into_iter().chain(new).collect();
    let mut by_weight: Vec<usize> = (0..all.len()).collect();
    by_weight
        .sort_by_key(|index| std::cmp::Reverse((!all[*index].is_ended, all[*index].split.weight)));
    let count = usize::try_from(parallelism).unwrap_or(1).max(1);
    // Every split counts a little, so that splits of no weight are spread too.
    let mut loads = vec![0_u64; count];
    let mut owners = vec![0; all.len()];
    for index in by_weight {
        let lightest = (0..count)
            .min_by_key(|subtask| loads[*subtask])
            .unwrap_or(0);
        owners[index] = lightest;
        let weight = if all[index].is_ended {
            0
        } else {
            all[index].split.weight
        };
        loads[lightest] = loads[lightest].saturating_add(weight.max(1));
    }
    let mut assigned = vec![Vec::new(); count];
    for (state, owner) in all.into_iter().zip(owners) {
        assigned[owner].push(state);
    }
    assigned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(id: &str, weight: u64) -> Split {
        Split {
            id: id.to_owned(),
            weight,
            spec: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_known_split_keeps_its_position_and_is_not_read_twice() {
        let known = SplitState {
            split: split("a", 10),
            position: Some(7.into()),
            is_ended: false,
        };
        let assigned = assign(vec![known.clone()], vec![split("a", 10), split("b", 10)], 2);
        let all: Vec<_> = assigned.into_iter().flatten().collect();
        assert_eq!(all.len(), 2);
        assert!(all.contains(&known));
    }

    proptest! {
        #[test]
        fn every_split_has_one_reader_and_none_has_much_more_than_another(
            weights in proptest::collection::vec(0_u64..1000, 0..60), parallelism in 1_u32..9
        ) {
            let found: Vec<_> = weights
                .iter()
                .enumerate()
                .map(|(index, weight)| split(&index.to_string(), *weight))
                .collect();
            let assigned = assign(Vec::new(), found, parallelism);
            prop_assert_eq!(assigned.len(), parallelism as usize);
            let mut ids: Vec<_> = assigned.iter().flatten().map(|state| &state.split.id).collect();
            ids.sort();
            ids.dedup();
            prop_assert_eq!(ids.len(), weights.len());
            let load = |splits: &Vec<SplitState>| {
                splits.iter().map(|state| state.split.weight.max(1)).sum::<u64>()
            };
            let loads: Vec<_> = assigned.iter().map(load).collect();
            let heaviest = weights.iter().copied().max().unwrap_or(0).max(1);
            let (most, least) = (loads.iter().max(), loads.iter().min());
            prop_assert!(most.unwrap() - least.unwrap() <= heaviest);
        }
    }
}
