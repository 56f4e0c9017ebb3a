//! Event times and watermarks: the lowest over active splits of the highest time seen, less a
//! bound.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow_buffer::ScalarBuffer;

use crate::chunk::{Chunk, Element, Watermark};
use crate::error::Result;
use crate::operator::Transform;
use crate::operator::flat_map::rows_of;
use crate::record::Record;

/// How far records may come out of order, and how long a silent split holds others back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkStrategy {
    bound_ms: i64,
    idle_after: Option<Duration>,
}

impl WatermarkStrategy {
    /// A record may be this much older than the newest before it; 0: times never fall.
    pub fn bounded_out_of_orderness_ms(bound_ms: u32) -> Self {
        Self {
            bound_ms: i64::from(bound_ms),
            idle_after: None,
        }
    }

    /// A split that gives nothing for this long does not hold back the watermark until it speaks;
    /// no more does a subtask that has none to read.
    #[must_use]
    pub fn with_idle_after_ms(mut self, idle_after_ms: u32) -> Self {
        self.idle_after = Some(Duration::from_millis(u64::from(idle_after_ms)));
        self
    }
}

/// One split's progress.
struct SplitProgress {
    /// `None`: begun before the restored checkpoint, and not read on yet.
    max_timestamp: Option<i64>,
    /// By [`Watermarks::asked`].
    last_seen: Duration,
    is_idle: bool,
}

/// Reads each record's event time, and makes watermarks of them.
///
/// # Invariants
/// Watermarks never fall. A split counts to its end, but not while it is idle: from its first
/// record, or from the start where the restored checkpoint had begun it, since what is left of it
/// is as old as the watermark of that time
/// (`a_split_that_was_begun_holds_the_watermark_back_until_it_speaks`). A split with records to
/// give is not idle, however long the chain is busy with those of others or its process stands
/// still (`a_split_that_was_not_asked_is_not_idle`).
pub(crate) struct Watermarks<T: Record, F> {
    time_of: F,
    strategy: WatermarkStrategy,
    splits: BTreeMap<u32, SplitProgress>,
    /// How long input has been asked for. What passes between two times counts up to `step`, so
    /// that a reader that asks its splits in turn has asked each before one is idle.
    asked: Duration,
    step: Duration,
    /// The start, or when the last split ended.
    empty_since: Duration,
    emitted: Option<Watermark>,
    is_idle: bool,
    input: PhantomData<T>,
}

impl<T: Record, F> Watermarks<T, F> {
    pub(crate) fn new(time_of: F, strategy: WatermarkStrategy) -> Self {
        Self {
            time_of,
            strategy,
            splits: BTreeMap::new(),
            asked: Duration::ZERO,
            step: Duration::ZERO,
            empty_since: Duration::ZERO,
            emitted: None,
            is_idle: false,
            input: PhantomData,
        }
    }

    fn active(&self) -> impl Iterator<Item = &SplitProgress> {
        self.splits.values().filter(|split| !split.is_idle)
    }

    fn advance(&mut self, output: &mut Vec<Element>) {
        // A split without a time is lower than any.
        let lowest = self.active().map(|split| split.max_timestamp).min();
        match lowest {
            Some(lowest) => self.reach(lowest, output),
            None if self.splits.is_empty() => {}
            None => self.go_idle(output),
        }
    }

    fn reach(&mut self, time: Option<i64>, output: &mut Vec<Element>) {
        let Some(time) = time else {
            return;
        };
        let watermark = time
            .saturating_sub(self.strategy.bound_ms)
            .saturating_sub(1);
        if self.is_idle || self.emitted.is_none_or(|emitted| watermark > emitted) {
            self.is_idle = false;
            let watermark = self.emitted.max(Some(watermark));
            self.emitted = watermark;
            output.extend(watermark.map(Element::Watermark));
        }
    }

    fn end_split(&mut self, split: u32, output: &mut Vec<Element>) {
        self.splits.remove(&split);
        self.empty_since = self.asked;
        self.advance(output);
    }

    fn go_idle(&mut self, output: &mut Vec<Element>) {
        if !self.is_idle {
            // Whichever fell silent first: none holds back another any more.
            let highest = self.splits.values().map(|split| split.max_timestamp).max();
            self.reach(highest.flatten(), output);
            self.is_idle = true;
            output.push(Element::Idle);
        }
    }

    /// How long input is still to be asked for until a split that counts is idle, or the subtask
    /// is that has none.
    fn idle_in(&self, idle_after: Duration) -> Option<Duration> {
        let since = if self.splits.is_empty() {
            (!self.is_idle).then_some(self.empty_since)
        } else {
            self.active().map(|split| split.last_seen).min()
        };
        Some((since? + idle_after).saturating_sub(self.asked))
    }
}

/// Milliseconds since the epoch by the machine's clock.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl<T, F> Transform for Watermarks<T, F>
where
    T: Record,
    F: Fn(T::View<'_>) -> i64,
{
    fn on_chunk(&mut self, mut chunk: Chunk, output: &mut Vec<Element>) -> Result<()> {
        let rows = rows_of::<T>(&chunk);
        let timestamps: Vec<i64> = rows.iter().map(&self.time_of).collect();
        let Some(newest) = timestamps.iter().copied().max() else {
            return Ok(());
        };
        let progress = self
            .splits
            .entry(chunk.split.unwrap_or_default())
            .or_insert(SplitProgress {
                max_timestamp: None,
                last_seen: self.asked,
                is_idle: false,
            });
        progress.max_timestamp = progress.max_timestamp.max(Some(newest));
        progress.is_idle = false;
        progress.last_seen = self.asked;
        chunk.timestamps = Some(ScalarBuffer::from(timestamps));
        output.push(Element::Chunk(chunk));
        self.advance(output);
        Ok(())
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        output: &mut Vec<Element>,
    ) -> Result<super::Progress> {
        // Only the end of all input comes from before; times are read here.
        if watermark == crate::chunk::MAX_WATERMARK {
            self.emitted = Some(watermark);
            output.push(Element::Watermark(watermark));
        }
        Ok(super::Progress::Done)
    }

    fn on_idle(&mut self, output: &mut Vec<Element>) {
        for split in self.splits.values_mut() {
            split.is_idle = true;
        }
        self.go_idle(output);
    }

    fn on_split_begun(&mut self, split: u32) {
        let progress = SplitProgress {
            max_timestamp: None,
            last_seen: self.asked,
            is_idle: false,
        };
        self.splits.insert(split, progress);
    }

    fn on_split_read(&mut self, split: u32, output: &mut Vec<Element>) {
        // Nothing that was read of it came this far, and perhaps nothing ever does.
        let progress = self.splits.get(&split);
        if progress.is_some_and(|progress| progress.max_timestamp.is_none()) {
            self.end_split(split, output);
        }
    }

    fn on_split_ended(&mut self, split: u32, output: &mut Vec<Element>) {
        output.push(Element::SplitEnded(split));
        self.end_split(split, output);
    }

    fn on_wakeup(&mut self, _: i64, output: &mut Vec<Element>) -> Result<super::Progress> {
        if let Some(idle_after) = self.strategy.idle_after {
            let asked = self.asked;
            let is_idle = |since: Duration| asked.saturating_sub(since) >= idle_after;
            if self.splits.is_empty() && is_idle(self.empty_since) {
                self.go_idle(output);
            }
            for split in self.splits.values_mut() {
                split.is_idle |= is_idle(split.last_seen);
            }
            self.advance(output);
        }
        Ok(super::Progress::Done)
    }

    fn on_asked(&mut self, since_last: Duration, split_count: u32) {
        if let Some(idle_after) = self.strategy.idle_after {
            self.step = idle_after / split_count.saturating_mul(2).saturating_add(8);
            self.asked += since_last.min(self.step);
        }
    }

    fn next_wakeup_ms(&self) -> Option<i64> {
        if self.emitted == Some(crate::chunk::MAX_WATERMARK) {
            return None;
        }
        let idle_after = self.strategy.idle_after?;
        let wait = self.idle_in(idle_after)?.min(self.step);
        let wait_ms = i64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i64::MAX);
        Some(now_ms().saturating_add(wait_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Output;

    fn chunk(split: u32, times: &[i64]) -> Chunk {
        let mut output = Output::<i64>::default();
        times.iter().for_each(|time| output.push(*time));
        let mut chunk = output.take_all().remove(0);
        chunk.split = Some(split);
        chunk
    }

    fn watermarks(elements: &[Element]) -> Vec<Watermark> {
        let watermark = |element: &Element| match element {
            Element::Watermark(watermark) => Some(*watermark),
            _ => None,
        };
        elements.iter().filter_map(watermark).collect()
    }

    /// Input is asked for again and again for so long, and nothing comes.
    fn be_silent<F: Fn(i64) -> i64>(
        operator: &mut Watermarks<i64, F>,
        millis: u32,
        output: &mut Vec<Element>,
    ) {
        for _ in 0..millis * 10 {
            operator.on_asked(Duration::from_micros(100), 2);
            operator.on_wakeup(0, output).unwrap();
        }
    }

    #[test]
    fn the_slowest_split_holds_the_watermark_back_until_it_ends() {
        let strategy = WatermarkStrategy::bounded_out_of_orderness_ms(10);
        let mut operator = Watermarks::<i64, _>::new(|time| time, strategy);
        let mut output = Vec::new();
        operator
            .on_chunk(chunk(0, &[100, 50]), &mut output)
            .unwrap();
        operator.on_chunk(chunk(1, &[1000]), &mut output).unwrap();
        operator.on_chunk(chunk(0, &[200]), &mut output).unwrap();
        operator.on_split_ended(0, &mut output);
        assert_eq!(watermarks(&output), [89, 189, 989]);
    }

    #[test]
    fn an_idle_split_holds_nothing_back_and_a_late_one_never_lowers_it() {
        let strategy = WatermarkStrategy::bounded_out_of_orderness_ms(0).with_idle_after_ms(10);
        let mut operator = Watermarks::<i64, _>::new(|time| time, strategy);
        let mut output = Vec::new();
        operator.on_chunk(chunk(0, &[100]), &mut output).unwrap();
        be_silent(&mut operator, 10, &mut output);
        assert!(matches!(output.last(), Some(Element::Idle)));
        operator.on_chunk(chunk(1, &[500]), &mut output).unwrap();
        operator.on_chunk(chunk(0, &[101]), &mut output).unwrap();
        assert_eq!(watermarks(&output), [99, 499]);
    }

    #[test]
    fn a_split_that_was_begun_holds_the_watermark_back_until_it_speaks() {
        let strategy = WatermarkStrategy::bounded_out_of_orderness_ms(0);
        let mut operator = Watermarks::<i64, _>::new(|time| time, strategy);
        let mut output = Vec::new();
        operator.on_split_begun(1);
        operator.on_chunk(chunk(0, &[500]), &mut output).unwrap();
        assert!(watermarks(&output).is_empty());
        operator.on_chunk(chunk(1, &[100]), &mut output).unwrap();
        operator.on_split_read(1, &mut output);
        assert_eq!(watermarks(&output), [99]);
    }

    #[test]
    fn a_split_that_was_begun_holds_nothing_back_once_idle_or_ended_or_of_no_use() {
        type Leave = fn(&mut Watermarks<i64, fn(i64) -> i64>, &mut Vec<Element>);
        let leave: [Leave; 3] = [
            |operator, output| operator.on_split_ended(1, output),
            |operator, output| operator.on_split_read(1, output),
            |operator, output| {
                be_silent(operator, 9, output);
                operator.on_chunk(chunk(0, &[500]), output).unwrap();
                assert!(watermarks(output).is_empty());
                be_silent(operator, 1, output);
            },
        ];
        for leave in leave {
            let strategy = WatermarkStrategy::bounded_out_of_orderness_ms(0).with_idle_after_ms(10);
            let mut operator = Watermarks::<i64, fn(i64) -> i64>::new(|time| time, strategy);
            let mut output = Vec::new();
            operator.on_split_begun(1);
            operator.on_chunk(chunk(0, &[500]), &mut output).unwrap();
            assert!(watermarks(&output).is_empty());
            leave(&mut operator, &mut output);
            assert_eq!(watermarks(&output), [499]);
        }
    }

    #[test]
    fn when_the_last_split_goes_idle_time_comes_as_far_as_the_first_had() {
        let strategy = WatermarkStrategy::bounded_out_of_orderness_ms(0).with_idle_after_ms(10);
        let mut operator = Watermarks::<i64, _>::new(|time| time, strategy);
        let mut output = Vec::new();
        operator.on_chunk(chunk(0, &[100]), &mut output).unwrap();
        operator.on_chunk(chunk(1, &[500]), &mut output).unwrap();
        be_silent(&mut operator, 10, &mut output);
        assert_eq!(watermarks(&output), [99, 499]);
        assert!(matches!(output.last(), Some(Element::Idle)));
    }

    /// The reader asks each in its turn; what comes of one keeps the chain for an hour.
    #[test]
    fn a_split_that_was_not_asked_is_not_idle() {
        let strategy = WatermarkStrategy::bounded_out_of_orderness_ms(0).with_idle_after_ms(1000);
        let mut operator = Watermarks::<i64, _>::new(|time| time, strategy);
        let mut output = Vec::new();
        for time in 0..3 {
            for split in 0..64 {
                let time = i64::from(split) * 100 + time;
                operator
                    .on_chunk(chunk(split, &[time]), &mut output)
                    .unwrap();
                operator.on_asked(Duration::from_secs(3600), 64);
                operator.on_wakeup(0, &mut output).unwrap();
            }
        }
        assert_eq!(operator.active().count(), 64);
        assert_eq!(watermarks(&output).last(), Some(&1));
        be_silent(&mut operator, 1000, &mut output);
        assert_eq!(operator.active().count(), 0);
    }

    #[test]
    fn an_input_that_never_spoke_goes_idle_once_and_wakes_with_its_first_record() {
        let strategy = WatermarkStrategy::bounded_out_of_orderness_ms(0).with_idle_after_ms(10);
        let mut operator = Watermarks::<i64, _>::new(|time| time, strategy);
        let mut output = Vec::new();
        be_silent(&mut operator, 9, &mut output);
        assert!(output.is_empty() && operator.next_wakeup_ms().is_some());
        be_silent(&mut operator, 1, &mut output);
        assert!(matches!(output[..], [Element::Idle]));
        assert_eq!(operator.next_wakeup_ms(), None);
        operator.on_chunk(chunk(0, &[500]), &mut output).unwrap();
        assert_eq!(watermarks(&output), [499]);
    }
}
