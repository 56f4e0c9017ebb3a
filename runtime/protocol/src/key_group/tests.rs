use proptest::prelude::*;

use super::*;

/// Made with the reference implementation; the file says how to check it.
const GOLDEN: &str = include_str!("../../tests/golden/key-hashes-1.tsv");

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.trim_start_matches('-').as_bytes();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

#[test]
fn the_hash_and_the_key_group_of_a_key_never_change() {
    let rows = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    let mut row_count = 0;
    for row in rows {
        let fields: Vec<_> = row.split('\t').collect();
        let [name, bytes, seed, hash, group] = fields[..] else {
            panic!("`{row}` has not five fields");
        };
        let expected = u64::from_str_radix(hash, 16).unwrap();
        let (bytes, seed) = (bytes_of(bytes), seed.parse().unwrap());
        assert_eq!(hash_key_with_seed(&bytes, seed), expected, "{name}");
        if seed == 0 {
            assert_eq!(hash_key(&bytes), expected, "{name}");
        }
        let found = key_group_of(expected, MaxParallelism::default());
        assert_eq!(found, KeyGroup(group.parse().unwrap()), "{name}");
        row_count += 1;
    }
    assert!(row_count >= 25, "only {row_count} rows");
}

#[test]
fn ranges_cover_every_key_group_once() {
    for max in [1, 2, 7, 128, 1000] {
        let max = MaxParallelism::new(max).unwrap();
        for parallelism in 1..=max.get() {
            let parallelism = Parallelism::new(parallelism).unwrap();
            let mut next = 0;
            for index in (0..parallelism.get()).map(SubtaskIndex) {
                let range = KeyGroupRange::of_subtask(max, parallelism, index);
                assert_eq!(range.start, next);
                next = range.end;
                for group in (range.start..range.end).map(KeyGroup) {
                    assert_eq!(subtask_of(group, max, parallelism), index);
                }
            }
            assert_eq!(u32::from(next), max.get());
        }
    }
}

/// Max parallelism and a parallelism it allows.
fn parallelisms() -> impl Strategy<Value = (MaxParallelism, Parallelism)> {
    (1..=MaxParallelism::MAX).prop_flat_map(|max| {
        let max_parallelism = Just(MaxParallelism::new(max).unwrap());
        let parallelism = (1..=max).prop_map(|count| Parallelism::new(count).unwrap());
        (max_parallelism, parallelism)
    })
}

fn range() -> impl Strategy<Value = KeyGroupRange> {
    (0..300_u16, 0..300_u16).prop_map(|(left, right)| KeyGroupRange {
        start: left.min(right),
        end: left.max(right),
    })
}

proptest! {
    #[test]
    fn every_hash_falls_into_a_group_that_its_subtask_owns(
        hash in any::<u64>(),
        (max, parallelism) in parallelisms(),
    ) {
        let group = key_group_of(hash, max);
        prop_assert!(u32::from(group.0) < max.get());
        let index = subtask_of(group, max, parallelism);
        prop_assert!(index.0 < parallelism.get());
        prop_assert!(KeyGroupRange::of_subtask(max, parallelism, index).contains(group));
    }

    #[test]
    fn key_groups_keep_the_order_of_hashes(
        left in any::<u64>(),
        right in any::<u64>(),
        (max, _) in parallelisms(),
    ) {
        let (low, high) = (left.min(right), left.max(right));
        prop_assert!(key_group_of(low, max) <= key_group_of(high, max));
    }

    #[test]
    fn no_subtask_owns_nothing_and_none_owns_two_more_than_another(
        (max, parallelism) in parallelisms(),
        left in any::<u32>(),
        right in any::<u32>(),
    ) {
        let count = |index: u32| {
            let index = SubtaskIndex(index % parallelism.get());
            KeyGroupRange::of_subtask(max, parallelism, index).group_count()
        };
        prop_assert!(count(left) >= 1);
        prop_assert!(count(left).abs_diff(count(right)) <= 1);
    }

    #[test]
    fn an_intersection_holds_what_both_hold(
        left in range(),
        right in range(),
        group in 0..300_u16,
    ) {
        let group = KeyGroup(group);
        let is_in_both = left.contains(group) && right.contains(group);
        let intersection = left.intersect(right);
        prop_assert_eq!(intersection.is_some_and(|both| both.contains(group)), is_in_both);
        prop_assert_eq!(intersection, right.intersect(left));
        prop_assert!(intersection.is_none_or(|both| !both.is_empty()));
    }
}
