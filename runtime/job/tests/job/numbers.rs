//! A source of numbers that can be read again from any position, at a rate.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tidegate::engine::{
    ReadStatus, Result, Source, SourceContext, SourceOutput, SourceReader, Split, SplitState,
};

/// Numbers read at once.
const STEP: u64 = 50;
/// How often is looked whether it may end.
const LOOK: Duration = Duration::from_millis(5);

/// `0..count`, in splits.
pub(crate) struct Numbers {
    pub(crate) count: u64,
    pub(crate) split_count: u64,
    /// The wait before each step of a split.
    pub(crate) pause: Duration,
    /// No split is read to its end before this file is there.
    pub(crate) ends_with: Option<PathBuf>,
}

impl Source for Numbers {
    type Item = u64;
    type Reader = NumbersReader;

    fn discover(&self, _: &[SplitState]) -> Result<Vec<Split>> {
        let size = self.count.div_ceil(self.split_count);
        let split = |index: u64| {
            let (start, end) = (index * size, ((index + 1) * size).min(self.count));
            Split {
                id: format!("numbers-{index}"),
                weight: end - start,
                spec: json!({"start": start, "end": end}),
            }
        };
        Ok((0..self.split_count).map(split).collect())
    }

    fn reader(&self, splits: Vec<SplitState>, _: SourceContext) -> Result<NumbersReader> {
        Ok(NumbersReader {
            splits,
            at: 0,
            pause: self.pause,
            ends_with: self.ends_with.clone(),
        })
    }
}

pub(crate) struct NumbersReader {
    splits: Vec<SplitState>,
    at: usize,
    pause: Duration,
    ends_with: Option<PathBuf>,
}

impl NumbersReader {
    /// The next split that may be read on, in turns, so that each one has a position of its own.
    fn next_split(&mut self) -> Option<usize> {
        let may_end = self.ends_with.as_ref().is_none_or(|file| file.exists());
        let count = self.splits.len();
        let may_read = |index: &usize| {
            let split = &self.splits[*index];
            !split.is_ended && (may_end || range(split).1 - range(split).0 > STEP)
        };
        let mut turns = (self.at..self.at + count).map(|turn| turn % count);
        let index = turns.find(may_read)?;
        self.at = index + 1;
        Some(index)
    }
}

/// What is left of a split.
fn range(split: &SplitState) -> (u64, u64) {
    let number = |name: &str| split.split.spec[name].as_u64().unwrap();
    let from = split.position.as_ref();
    let from = from.map_or(number("start"), |position| position.as_u64().unwrap());
    (from, number("end"))
}

impl SourceReader for NumbersReader {
    type Item = u64;

    async fn read(&mut self, output: &mut SourceOutput<u64>) -> Result<ReadStatus> {
        if self.splits.iter().all(|split| split.is_ended) {
            return Ok(ReadStatus::Ended);
        }
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        // Barriers and signals get through meanwhile: they end a read that waits.
        let index = loop {
            match self.next_split() {
                Some(index) => break index,
                None => tokio::time::sleep(LOOK).await,
            }
        };
        let split = &mut self.splits[index];
        let (from, end) = range(split);
        let to = (from + STEP).min(end);
        output.begin_split(u32::try_from(index)?);
        for value in from..to {
            output.push(value);
        }
        split.position = Some(json!(to));
        split.is_ended = to == end;
        if split.is_ended {
            output.end_split(u32::try_from(index)?);
        }
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<SplitState> {
        self.splits.clone()
    }
}
