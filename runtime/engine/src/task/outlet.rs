//! Where a chain's output goes: channels to other chains, or a sink.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::intake::WantedRows;
use super::snapshot::SinkSnapshots;
use crate::chunk::{Chunk, Element};
use crate::error::Result;
use crate::exchange::Partitioner;
use crate::graph::AnyWriter;
use crate::metrics::OperatorMetrics;

/// The way out of a chain.
pub(crate) enum Outlet {
    Channels(Vec<ChannelOutlet>),
    Sink(SinkOutlet),
}

/// The channels to one other chain.
pub(crate) struct ChannelOutlet {
    /// Is told `place` when the partitioner, which runs the key selector, is at work.
    pub(crate) at_work: Rc<Cell<usize>>,
    pub(crate) place: usize,
    pub(crate) channels: Vec<Channel>,
    /// Chooses the channel of each record; `None` where there is one channel alone.
    pub(crate) partitioner: Option<Box<dyn Partitioner>>,
    pub(crate) ready: Vec<(usize, Chunk)>,
    /// What each channel's receiver wants: scratch space.
    pub(crate) wanted_rows: Vec<usize>,
}

/// One channel: its end, and how much its receiver wants at a time.
pub(crate) struct Channel {
    pub(crate) sender: Sender<Element>,
    pub(crate) wanted: WantedRows,
}

/// A sink's writer and its transactions.
pub(crate) struct SinkOutlet {
    pub(crate) operator: String,
    pub(crate) writer: Box<dyn AnyWriter>,
    pub(crate) snapshots: SinkSnapshots,
}

impl Outlet {
    /// Hands an element on, waiting while a channel is full.
    ///
    /// # Errors
    /// The sink's.
    pub(crate) async fn send(&mut self, element: Element, metrics: &OperatorMetrics) -> Result<()> {
        match self {
            Self::Channels(outlets) => {
                let last = outlets.len().saturating_sub(1);
                for outlet in &mut outlets[..last] {
                    outlet.send(element.clone(), metrics).await;
                }
                if let Some(outlet) = outlets.last_mut() {
                    outlet.send(element, metrics).await;
                }
                Ok(())
            }
            Self::Sink(sink) => match element {
                Element::Chunk(chunk) => sink.writer.write(&chunk).await,
                Element::Ended => sink.writer.flush().await,
                Element::Watermark(_)
                | Element::Idle
                | Element::SplitEnded(_)
                | Element::Barrier(_) => Ok(()),
            },
        }
    }

    /// Hands on what is held back to fill chunks; called when input pauses.
    ///
    /// # Errors
    /// The sink's.
    pub(crate) async fn flush(&mut self, metrics: &OperatorMetrics) -> Result<()> {
        match self {
            Self::Channels(outlets) => {
                for outlet in outlets {
                    outlet.flush(metrics).await;
                }
                Ok(())
            }
            Self::Sink(sink) => sink.writer.flush().await,
        }
    }
}

impl ChannelOutlet {
    async fn send(&mut self, element: Element, metrics: &OperatorMetrics) {
        match (element, &mut self.partitioner) {
            (Element::SplitEnded(_), _) => {}
            (Element::Chunk(chunk), Some(partitioner)) => {
                self.at_work.set(self.place);
                self.wanted_rows.clear();
                let wanted = self.channels.iter().map(|channel| channel.wanted.get());
                self.wanted_rows.extend(wanted);
                partitioner.partition(&chunk, &self.wanted_rows, &mut self.ready);
                self.send_ready(metrics).await;
            }
            (Element::Chunk(chunk), None) => {
                self.ready.push((0, chunk));
                self.send_ready(metrics).await;
            }
            (element, _) => {
                self.flush(metrics).await;
                for channel in &self.channels {
                    channel.send(element.clone(), metrics).await;
                }
            }
        }
    }

    async fn flush(&mut self, metrics: &OperatorMetrics) {
        if let Some(partitioner) = &mut self.partitioner {
            partitioner.flush(&mut self.ready);
            self.send_ready(metrics).await;
        }
    }

    async fn send_ready(&mut self, metrics: &OperatorMetrics) {
        for (index, chunk) in self.ready.drain(..) {
            self.channels[index].send_chunk(chunk, metrics).await;
        }
    }
}

impl Channel {
    /// Sends a chunk, in even parts where the receiver wants less at a time.
    async fn send_chunk(&self, chunk: Chunk, metrics: &OperatorMetrics) {
        let part_count = chunk.len().div_ceil(self.wanted.get());
        if part_count <= 1 {
            return self.send(Element::Chunk(chunk), metrics).await;
        }
        let rows = chunk.len().div_ceil(part_count);
        for start in (0..chunk.len()).step_by(rows) {
            let part = chunk.slice(start, rows.min(chunk.len() - start));
            self.send(Element::Chunk(part), metrics).await;
        }
    }

    /// Sends, and counts how long a full channel made it wait. A receiver that is gone means that
    /// the attempt is about to be cancelled: what is sent to it does not matter any more.
    async fn send(&self, element: Element, metrics: &OperatorMetrics) {
        match self.sender.try_send(element) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(element)) => {
                let start = std::time::Instant::now();
                let _ = self.sender.send(element).await;
                let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                metrics.backpressured_nanos.add(nanos);
            }
        }
    }
}
