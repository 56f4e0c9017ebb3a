//! Passing elements through the operators of a chain and out.

use std::time::Instant;

use super::Subtask;
use super::turns::next_slice_rows;
use crate::chunk::{Chunk, Element, Watermark};
use crate::error::Result;
use crate::operator::{Progress, Transform};
use crate::task::outlet::Outlet;
use tidegate_protocol::FromWorker;

impl Subtask {
    /// Passes an element through the chain.
    pub(super) async fn feed(&mut self, element: Element) -> Result<()> {
        match element {
            Element::Chunk(chunk) => self.feed_chunk(chunk).await,
            Element::Ended => {
                self.progress.is_ended = true;
                self.pass(0, vec![Element::Ended]).await?;
                let (attempt, subtask) = (self.reporter.attempt, self.reporter.subtask);
                let _ = self
                    .reporter
                    .events
                    .send(FromWorker::Ended { attempt, subtask });
                Ok(())
            }
            Element::Watermark(watermark) if !self.stages.is_empty() => {
                self.advance(0, watermark).await
            }
            element => self.pass(0, vec![element]).await.map(drop),
        }
    }

    /// Gives an operator a watermark, in steps where many timers fire.
    pub(super) async fn advance(&mut self, index: usize, watermark: Watermark) -> Result<()> {
        loop {
            self.mark(index);
            let mut output = Vec::new();
            let transform = &mut self.stages[index].transform;
            let progress = transform.on_watermark(watermark, &mut output)?;
            self.pass(index + 1, output).await?;
            if progress == Progress::Done {
                return Ok(());
            }
            self.between_steps().await?;
            if self.progress.is_stopped {
                // The other timers are in the snapshot that the job stops with.
                return Ok(());
            }
        }
    }

    /// Passes a chunk through the chain in slices, smaller ones where much comes of little or code
    /// is slow, with turns of other tasks between them.
    async fn feed_chunk(&mut self, chunk: Chunk) -> Result<()> {
        self.progress.taken_rows += chunk.len();
        let mut start = 0;
        while start < chunk.len() {
            let rows = self.progress.slice_rows.min(chunk.len() - start);
            let is_whole = rows == chunk.len();
            let slice = if is_whole {
                chunk.clone()
            } else {
                chunk.slice(start, rows)
            };
            start += rows;
            let began = Instant::now();
            let output = self.transform(0, vec![Element::Chunk(slice)])?;
            // Without what follows: a sink's wait is not shorter for less that it is given.
            let now = Instant::now();
            let sent = self.send(output).await?;
            self.progress.slice_rows = next_slice_rows(rows, sent, now - began);
            self.give_turn_if_due(now).await;
        }
        Ok(())
    }

    /// Passes elements through the operators from `first` on and out; gives the number of records
    /// that left.
    pub(super) async fn pass(&mut self, first: usize, elements: Vec<Element>) -> Result<usize> {
        let output = self.transform(first, elements)?;
        self.send(output).await
    }

    /// Passes elements through the operators from `first` on.
    fn transform(&mut self, first: usize, mut elements: Vec<Element>) -> Result<Vec<Element>> {
        for index in first..self.stages.len() {
            self.mark(index);
            let mut output = Vec::with_capacity(elements.len());
            let stage = &mut self.stages[index];
            stage.metrics.records_in.add(rows_in(&elements));
            for element in elements {
                step(&mut *stage.transform, element, &mut output)?;
            }
            stage.metrics.records_out.add(rows_in(&output));
            elements = output;
        }
        Ok(elements)
    }

    /// Passes elements out; gives the number of records among them.
    async fn send(&mut self, elements: Vec<Element>) -> Result<usize> {
        self.mark(self.stages.len());
        let row_count = rows_in(&elements);
        if matches!(self.outlet, Outlet::Sink(_)) {
            self.outlet_metrics.records_in.add(row_count);
        }
        for element in elements {
            self.outlet.send(element, &self.outlet_metrics).await?;
        }
        Ok(usize::try_from(row_count).unwrap_or(usize::MAX))
    }
}

fn rows_in(elements: &[Element]) -> u64 {
    let rows = |element: &Element| match element {
        Element::Chunk(chunk) => chunk.len() as u64,
        _ => 0,
    };
    elements.iter().map(rows).sum()
}

/// Passes an element through one operator.
fn step(transform: &mut dyn Transform, element: Element, output: &mut Vec<Element>) -> Result<()> {
    match element {
        Element::Chunk(chunk) => transform.on_chunk(chunk, output),
        Element::Watermark(watermark) => {
            while transform.on_watermark(watermark, output)? == Progress::More {}
            Ok(())
        }
        Element::Idle => {
            transform.on_idle(output);
            Ok(())
        }
        Element::SplitEnded(split) => {
            transform.on_split_ended(split, output);
            Ok(())
        }
        element @ (Element::Barrier(_) | Element::Ended) => {
            output.push(element);
            Ok(())
        }
    }
}
