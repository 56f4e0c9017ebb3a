//! A source of numbers that can be read again from any position, at a rate.

use std::time::Duration;

use serde_json::json;
use tidegate::engine::{
    ReadStatus, Result, Source, SourceContext, SourceOutput, SourceReader, Split, SplitState,
};

/// Numbers read at once.
const STEP: u64 = 50;

/// `0..count`, in splits.
pub(crate) struct Numbers {
    pub(crate) count: u64,
    pub(crate) split_count: u64,
    /// The wait before each step of a split.
    pub(crate) pause: Duration,
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
        })
    }
}

pub(crate) struct NumbersReader {
    splits: Vec<SplitState>,
    at: usize,
    pause: Duration,
}

impl SourceReader for NumbersReader {
    type Item = u64;

    async fn read(&mut self, output: &mut SourceOutput<u64>) -> Result<ReadStatus> {
        let is_open = |split: &SplitState| !split.is_ended;
        if !self.splits.iter().any(is_open) {
            return Ok(ReadStatus::Ended);
        }
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        // In turns, so that every split has a position of its own.
        while !is_open(&self.splits[self.at % self.splits.len()]) {
            self.at += 1;
        }
        let index = self.at % self.splits.len();
        self.at += 1;
        let split = &mut self.splits[index];
        let number = |name: &str| split.split.spec[name].as_u64().unwrap();
        let (start, end) = (number("start"), number("end"));
        let from = split
            .position
            .as_ref()
            .map_or(start, |position| position.as_u64().unwrap());
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
