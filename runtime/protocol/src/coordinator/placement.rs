//! Which worker runs which subtask index. Pure.

use std::collections::BTreeMap;

use crate::{Parallelism, WorkerId};

/// Spreads the subtask indices evenly over the workers, neighbouring indices together, none beyond
/// its slots. Every chain's subtask of an index goes to the same worker. `None`: too few slots.
pub(super) fn place(
    parallelism: Parallelism,
    workers: &BTreeMap<WorkerId, u32>,
) -> Option<Vec<WorkerId>> {
    let wanted = parallelism.get();
    if slot_count(workers) < u64::from(wanted) {
        return None;
    }
    let mut counts: BTreeMap<WorkerId, u32> = BTreeMap::new();
    let mut left = wanted;
    // Each round gives a slot of every worker that has one left, so it ends within `wanted` rounds.
    while left > 0 {
        for (worker, slots) in workers {
            let count = counts.entry(*worker).or_default();
            if left > 0 && *count < *slots {
                *count += 1;
                left -= 1;
            }
        }
    }
    let of_worker = |(worker, count)| std::iter::repeat_n(worker, count as usize);
    Some(counts.into_iter().flat_map(of_worker).collect())
}

/// Slots over all workers.
pub(super) fn slot_count(workers: &BTreeMap<WorkerId, u32>) -> u64 {
    workers.values().map(|slots| u64::from(*slots)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(slots: &[u32]) -> BTreeMap<WorkerId, u32> {
        let id = |index: u64| WorkerId::new(index + 1).unwrap();
        (0..).map(id).zip(slots.iter().copied()).collect()
    }

    fn placed(parallelism: u32, slots: &[u32]) -> Option<Vec<u64>> {
        let placement = place(Parallelism::new(parallelism).unwrap(), &workers(slots))?;
        Some(placement.into_iter().map(WorkerId::get).collect())
    }

    #[test]
    fn subtasks_are_spread_evenly_and_neighbours_stay_together() {
        assert_eq!(placed(4, &[4, 4]), Some(vec![1, 1, 2, 2]));
        assert_eq!(placed(5, &[1, 4, 3]), Some(vec![1, 2, 2, 3, 3]));
        assert_eq!(placed(2, &[0, 5]), Some(vec![2, 2]));
    }

    #[test]
    fn too_few_slots_are_noticed() {
        assert_eq!(placed(4, &[1, 2]), None);
        assert_eq!(placed(1, &[]), None);
    }
}
