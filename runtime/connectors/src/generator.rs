//! Records made from their index: for benchmarks, tests and demonstrations.

use std::marker::PhantomData;
use std::sync::Arc;

use tidegate_engine::{
    PermanentError, ReadStatus, Record, Result, Source, SourceContext, SourceOutput, SourceReader,
    Split, SplitState,
};

use crate::rate::{self, RateLimit};

/// Splits by default: a job of higher parallelism leaves subtasks without any.
const DEFAULT_SPLITS: u32 = 64;

/// A source that calls a function with 0, 1, 2, …, which makes the record of that index, always the
/// same one. The indexes are dealt out to splits, so that a position is the number of records made.
///
/// ```ignore
/// Generator::new(|index, out: &mut SourceOutput<u64>| out.push(mix(index))).with_count(1_000_000)
/// ```
pub struct Generator<R, F> {
    make: Arc<F>,
    count: Option<u64>,
    split_count: u32,
    records_per_second: Option<u64>,
    record: PhantomData<fn() -> R>,
}

/// Scrambles an index into a number that looks random (splitmix64): a bijection, so that different
/// indexes never collide. Add a seed to the index for another sequence.
#[inline]
pub fn mix(index: u64) -> u64 {
    let mut word = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl<R, F> Generator<R, F>
where
    R: Record,
    F: Fn(u64, &mut SourceOutput<R>) + Send + Sync + 'static,
{
    /// Without an end, as fast as it goes. `make` pushes exactly one record.
    pub fn new(make: F) -> Self {
        Self {
            make: Arc::new(make),
            count: None,
            split_count: DEFAULT_SPLITS,
            records_per_second: None,
            record: PhantomData,
        }
    }

    /// Ends after this many records. A job that goes on with another count makes those that are
    /// missing, or none where there were more.
    #[must_use]
    pub fn with_count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Deals records out to this many splits, at least 1. Part of the positions' meaning: a job
    /// keeps it for life.
    #[must_use]
    pub fn with_splits(mut self, split_count: u32) -> Self {
        self.split_count = split_count.max(1);
        self
    }

    /// Makes at most this many records a second, over all subtasks.
    #[must_use]
    pub fn with_rate(mut self, records_per_second: u64) -> Self {
        self.records_per_second = Some(records_per_second);
        self
    }
}

impl<R, F> Source for Generator<R, F>
where
    R: Record,
    F: Fn(u64, &mut SourceOutput<R>) + Send + Sync + 'static,
{
    type Item = R;
    type Reader = GeneratorReader<R, F>;

    fn discover(&self, known: &[SplitState]) -> Result<Vec<Split>> {
        let suffix = format!("-of-{}", self.split_count);
        if let Some(other) = known
            .iter()
            .find(|state| !state.split.id.ends_with(&suffix))
        {
            return Err(PermanentError::new(format!(
                "the checkpoint has split `{}` of a generator with another number of splits than \
                 {}, so records would come again; give it its former number back, or start from \
                 empty",
                other.split.id, self.split_count
            ))
            .into());
        }
        let split = |index: u32| Split {
            id: format!("{index}-of-{}", self.split_count),
            weight: 1,
            spec: index.into(),
        };
        Ok((0..self.split_count).map(split).collect())
    }

    fn reader(&self, splits: Vec<SplitState>, context: SourceContext) -> Result<Self::Reader> {
        let positions = splits.iter().map(|state| {
            let index = serde_json::from_value::<u32>(state.split.spec.clone())?;
            let made = state
                .position
                .clone()
                .map(serde_json::from_value::<u64>)
                .transpose()?;
            let (step, index) = (u64::from(self.split_count), u64::from(index));
            let own_count = |count: u64| count.saturating_sub(index).div_ceil(step);
            let end = self.count.map_or(u64::MAX, own_count);
            Ok(Position {
                index,
                made: made.unwrap_or(0),
                end,
            })
        });
        let positions: Vec<Position> = positions.collect::<Result<_>>()?;
        let step = u64::from(self.split_count);
        let mut silent: Vec<usize> = (0..positions.len()).collect();
        silent.sort_by_key(|split| std::cmp::Reverse(positions[*split].next_index(step)));
        Ok(GeneratorReader {
            make: Arc::clone(&self.make),
            positions,
            splits,
            step,
            next: 0,
            silent,
            rate: self
                .records_per_second
                .map(|rate| RateLimit::new(rate, context.parallelism)),
            record: PhantomData,
        })
    }
}

struct Position {
    index: u64,
    made: u64,
    end: u64,
}

impl Position {
    fn next_index(&self, step: u64) -> u64 {
        self.index + self.made * step
    }

    fn is_ended(&self) -> bool {
        self.made >= self.end
    }
}

/// Reads some splits of a [`Generator`] in turn.
pub struct GeneratorReader<R, F> {
    make: Arc<F>,
    splits: Vec<SplitState>,
    positions: Vec<Position>,
    step: u64,
    next: usize,
    /// Splits that have made nothing since this reader began, the one of the lowest index last.
    silent: Vec<usize>,
    rate: Option<RateLimit>,
    record: PhantomData<fn() -> R>,
}

impl<R, F> GeneratorReader<R, F> {
    /// The split whose turn it is and how many records it makes; `None` once all have ended.
    ///
    /// A watermark knows a split from its first record. So at first each makes a single one, in
    /// the order of their indexes: a whole batch of one split would make the others' late.
    fn turn(&mut self, allowed: u64) -> Option<(usize, u64)> {
        while let Some(split) = self.silent.pop() {
            if !self.positions[split].is_ended() {
                return Some((split, 1));
            }
        }
        for _ in 0..self.positions.len() {
            let split = self.next % self.positions.len();
            self.next = split + 1;
            let position = &self.positions[split];
            if !position.is_ended() {
                return Some((split, allowed.min(position.end - position.made)));
            }
        }
        None
    }
}

impl<R, F> SourceReader for GeneratorReader<R, F>
where
    R: Record,
    F: Fn(u64, &mut SourceOutput<R>) + Send + Sync + 'static,
{
    type Item = R;

    async fn read(&mut self, output: &mut SourceOutput<R>) -> Result<ReadStatus> {
        let allowed = rate::allowed(&mut self.rate, output.wanted_rows()).await;
        let Some((split, count)) = self.turn(allowed) else {
            return Ok(ReadStatus::Ended);
        };
        // A split's place in the list of its subtask fits.
        output.begin_split(split as u32);
        let position = &mut self.positions[split];
        let first = position.next_index(self.step);
        for number in 0..count {
            (self.make)(first + number * self.step, output);
        }
        position.made += count;
        if position.is_ended() {
            output.end_split(split as u32);
        }
        if let Some(rate) = &mut self.rate {
            rate.took(count);
        }
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<SplitState> {
        let states = self.splits.iter().zip(&self.positions);
        states
            .map(|(state, position)| state.read_to(Some(position.made.into()), position.is_ended()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::context;

    type Numbers = Generator<u64, fn(u64, &mut SourceOutput<u64>)>;

    fn numbers(count: u64, split_count: u32) -> Numbers {
        let make: fn(u64, &mut SourceOutput<u64>) = |index, output| output.push(index);
        Generator::new(make)
            .with_count(count)
            .with_splits(split_count)
    }

    fn fresh(source: &Numbers) -> Vec<SplitState> {
        let found = source.discover(&[]).unwrap();
        found.into_iter().map(SplitState::unread).collect()
    }

    /// Reads until the end or until so many calls were made.
    async fn read(
        source: &Numbers,
        splits: Vec<SplitState>,
        calls: usize,
    ) -> (Vec<u64>, Vec<SplitState>) {
        let mut reader = source.reader(splits, context("generator")).unwrap();
        let mut output = SourceOutput::default();
        for _ in 0..calls {
            if reader.read(&mut output).await.unwrap() == ReadStatus::Ended {
                break;
            }
        }
        (output.into_records(), reader.snapshot())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_index_comes_once_also_when_reading_goes_on(
            count in 0_u64..20_000, split_count in 1_u32..9, calls in 0_usize..8
        ) {
            let source = numbers(count, split_count);
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (first, rest) = runtime.block_on(async {
                let (first, state) = read(&source, fresh(&source), calls).await;
                let (rest, state) = read(&source, state, usize::MAX).await;
                assert!(state.iter().all(|state| state.is_ended));
                (first, rest)
            });
            prop_assert_eq!(first.len() + rest.len(), usize::try_from(count).unwrap());
            let all: BTreeSet<u64> = first.into_iter().chain(rest).collect();
            prop_assert_eq!(all, (0..count).collect::<BTreeSet<_>>());
        }
    }

    #[tokio::test]
    async fn splits_begin_one_record_each_in_the_order_of_their_indexes() {
        let source = numbers(1_000_000, 5);
        let (first, state) = read(&source, fresh(&source), 7).await;
        assert_eq!(first[..5], [0, 1, 2, 3, 4]);
        // The first two have gone on further than the others.
        let (rest, _) = read(&source, state, 6).await;
        let lowest = [7, 8, 9, 4097 * 5, 4097 * 5 + 1];
        assert_eq!(rest[..5], lowest);
        assert!(rest.len() > 4000);
    }

    #[tokio::test]
    async fn going_on_with_another_count_makes_what_is_missing_or_nothing() {
        let (first, state) = read(&numbers(100, 4), fresh(&numbers(100, 4)), usize::MAX).await;
        assert_eq!(first.len(), 100);
        let (rest, ended) = read(&numbers(60, 4), state.clone(), usize::MAX).await;
        assert_eq!(rest, [0_u64; 0]);
        assert!(ended.iter().all(|state| state.is_ended));
        let (mut rest, _) = read(&numbers(130, 4), state, usize::MAX).await;
        rest.sort_unstable();
        assert_eq!(rest, (100..130).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn any_parallelism_makes_the_same_records() {
        let source = numbers(50_000, 7);
        for parallelism in [1, 2, 3, 7, 9] {
            let mut all = BTreeSet::new();
            for subtask in 0..parallelism {
                let splits = fresh(&source).into_iter().enumerate();
                let own = splits.filter(|(index, _)| index % parallelism == subtask);
                let own = own.map(|(_, state)| state).collect();
                let (made, _) = read(&source, own, usize::MAX).await;
                assert!(made.into_iter().all(|index| all.insert(index)));
            }
            assert_eq!(all, (0..50_000).collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn another_number_of_splits_is_refused() {
        let known = fresh(&numbers(10, 4));
        let error = numbers(10, 5).discover(&known).unwrap_err().to_string();
        assert!(
            error.contains("0-of-4") && error.contains("former number"),
            "{error}"
        );
    }

    #[test]
    fn scrambled_indexes_never_collide() {
        let scrambled: BTreeSet<u64> = (0..100_000).map(mix).collect();
        assert_eq!(scrambled.len(), 100_000);
    }
}
