//! The inputs of a chain that is no source: merged, with barriers aligned and watermarks combined.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use crate::chunk::{Barrier, Element, MAX_WATERMARK, Watermark};

/// Elements in front of a barrier that [`InputGate::try_barrier`] looks past.
const LOOK_AHEAD: usize = 16;

/// One incoming channel.
struct Input {
    channel: Receiver<Element>,
    is_blocked: bool,
    is_closed: bool,
    is_ended: bool,
    is_idle: bool,
    watermark: Option<Watermark>,
}

/// All incoming channels of a subtask.
///
/// # Invariants
/// After a barrier came on a channel, nothing is taken from it until the same barrier has come on
/// every channel (`a_channel_that_gave_its_barrier_waits_for_the_others`). The watermark given out
/// is the lowest of channels that are neither idle nor ended, and never falls; when the last goes
/// idle, it is the highest (`the_order_in_which_channels_fall_silent_makes_no_difference`).
pub(crate) struct InputGate {
    inputs: Vec<Input>,
    next: usize,
    barrier: Option<Barrier>,
    blocked_count: usize,
    watermark: Option<Watermark>,
    is_idle: bool,
    is_ended: bool,
    ready: VecDeque<Element>,
}

impl InputGate {
    pub(crate) fn new(channels: Vec<Receiver<Element>>) -> Self {
        let input = |channel| Input {
            channel,
            is_blocked: false,
            is_closed: false,
            is_ended: false,
            is_idle: false,
            watermark: None,
        };
        Self {
            inputs: channels.into_iter().map(input).collect(),
            next: 0,
            barrier: None,
            blocked_count: 0,
            watermark: None,
            is_idle: false,
            is_ended: false,
            ready: VecDeque::new(),
        }
    }

    /// The next element, if one is there.
    pub(crate) fn try_next(&mut self) -> Option<Element> {
        loop {
            if let Some(element) = self.ready.pop_front() {
                return Some(element);
            }
            let (index, element) = self.try_receive()?;
            if let Some(element) = self.take(index, element) {
                return Some(element);
            }
        }
    }

    /// The next barrier, if it is there and no record is before it. A watermark and the end of
    /// input that are come after it then: its checkpoint must hold [`InputGate::watermark`], and a
    /// source that is restored ends again.
    pub(crate) fn try_barrier(&mut self) -> Option<Barrier> {
        loop {
            match self.ready.back() {
                Some(Element::Barrier(barrier)) => {
                    let barrier = *barrier;
                    self.ready.pop_back();
                    return Some(barrier);
                }
                Some(Element::Chunk(_)) => return None,
                _ if self.ready.len() >= LOOK_AHEAD => return None,
                _ => {}
            }
            let (index, element) = self.try_receive()?;
            let chunk = self.take(index, element);
            self.ready.extend(chunk);
        }
    }

    /// The highest watermark that was given out, or is about to be.
    pub(crate) fn watermark(&self) -> Option<Watermark> {
        self.watermark
    }

    fn try_receive(&mut self) -> Option<(usize, Element)> {
        for step in 0..self.inputs.len() {
            let index = (self.next + step) % self.inputs.len();
            let input = &mut self.inputs[index];
            if input.is_blocked || input.is_closed {
                continue;
            }
            match input.channel.try_recv() {
                Ok(element) => {
                    self.next = index + 1;
                    return Some((index, element));
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => input.is_closed = true,
            }
        }
        None
    }

    /// Waits for the next element. A channel whose sender is gone stays silent, since its attempt
    /// is about to be cancelled.
    pub(crate) async fn next(&mut self) -> Element {
        loop {
            if let Some(element) = self.try_next() {
                return element;
            }
            let (index, element) = std::future::poll_fn(|context| self.poll(context)).await;
            if let Some(element) = self.take(index, element) {
                return element;
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(usize, Element)> {
        for (index, input) in self.inputs.iter_mut().enumerate() {
            if input.is_blocked || input.is_closed {
                continue;
            }
            match input.channel.poll_recv(context) {
                Poll::Ready(Some(element)) => return Poll::Ready((index, element)),
                Poll::Ready(None) => input.is_closed = true,
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// What a channel's element means for the whole gate.
    fn take(&mut self, index: usize, element: Element) -> Option<Element> {
        let input = &mut self.inputs[index];
        match element {
            Element::Chunk(mut chunk) => {
                // Whose split it is matters next to the source only: elsewhere the numbers of
                // different sources meet, and nobody tells when one ends.
                chunk.split = None;
                return Some(Element::Chunk(chunk));
            }
            Element::SplitEnded(_) => {}
            Element::Watermark(watermark) => {
                input.watermark = input.watermark.max(Some(watermark));
                input.is_idle = false;
                self.combine_watermarks();
            }
            Element::Idle => {
                input.is_idle = true;
                self.combine_watermarks();
            }
            Element::Ended => {
                input.is_ended = true;
                self.combine_watermarks();
                if !self.is_ended && self.inputs.iter().all(|input| input.is_ended) {
                    self.is_ended = true;
                    self.ready.push_back(Element::Ended);
                }
            }
            Element::Barrier(barrier) => self.align(index, barrier),
        }
        None
    }

    fn align(&mut self, index: usize, barrier: Barrier) {
        if self
            .barrier
            .is_some_and(|aligning| aligning.checkpoint < barrier.checkpoint)
        {
            // The coordinator gave the older one up before it triggered this one.
            self.unblock();
        }
        self.barrier = Some(barrier);
        self.inputs[index].is_blocked = true;
        self.blocked_count += 1;
        if self.blocked_count == self.inputs.len() {
            self.unblock();
            self.ready.push_back(Element::Barrier(barrier));
        }
    }

    fn unblock(&mut self) {
        self.barrier = None;
        self.blocked_count = 0;
        self.inputs
            .iter_mut()
            .for_each(|input| input.is_blocked = false);
    }

    fn combine_watermarks(&mut self) {
        let mut lowest = Some(MAX_WATERMARK);
        let mut has_active = false;
        for input in self
            .inputs
            .iter()
            .filter(|input| !input.is_idle && !input.is_ended)
        {
            has_active = true;
            lowest = lowest.min(input.watermark);
        }
        let idle = self.inputs.iter().filter(|input| !input.is_ended);
        if !has_active && idle.clone().count() > 0 {
            let highest = idle.map(|input| input.watermark).max().flatten();
            if !self.is_idle {
                // Whichever fell silent first: none holds back another any more.
                if highest > self.watermark {
                    self.watermark = highest;
                    self.ready.extend(highest.map(Element::Watermark));
                }
                self.is_idle = true;
                self.ready.push_back(Element::Idle);
            }
            return;
        }
        if !has_active {
            // Each channel sent its last watermark before its end, unless the job was stopped.
            lowest = self
                .inputs
                .iter()
                .map(|input| input.watermark)
                .min()
                .flatten();
        }
        if lowest > self.watermark || (self.is_idle && lowest.is_some()) {
            self.is_idle = false;
            self.watermark = self.watermark.max(lowest);
            self.ready.extend(self.watermark.map(Element::Watermark));
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::{CheckpointId, CheckpointKind};
    use tokio::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::chunk::Chunk;
    use crate::record::Output;

    fn gate(count: usize) -> (Vec<Sender<Element>>, InputGate) {
        let (senders, receivers) = (0..count).map(|_| channel(16)).unzip();
        (senders, InputGate::new(receivers))
    }

    fn barrier(number: u64) -> Element {
        Element::Barrier(Barrier {
            checkpoint: CheckpointId::new(number).unwrap(),
            kind: CheckpointKind::Checkpoint,
            is_last: false,
            last_completed: None,
        })
    }

    fn chunk(value: u64) -> Element {
        let mut output = Output::<u64>::default();
        output.push(value);
        Element::Chunk(output.take_all().remove(0))
    }

    fn value_of(element: Option<Element>) -> Option<u64> {
        match element {
            Some(Element::Chunk(Chunk { batch, .. })) => {
                crate::record::Rows::<u64>::of(&batch).map(|rows| rows.get(0))
            }
            _ => None,
        }
    }

    #[test]
    fn a_channel_that_gave_its_barrier_waits_for_the_others() {
        let (senders, mut gate) = gate(2);
        senders[0].try_send(barrier(1)).unwrap();
        senders[0].try_send(chunk(7)).unwrap();
        assert!(gate.try_next().is_none());
        senders[1].try_send(chunk(8)).unwrap();
        assert_eq!(value_of(gate.try_next()), Some(8));
        senders[1].try_send(barrier(1)).unwrap();
        assert!(matches!(gate.try_next(), Some(Element::Barrier(_))));
        assert_eq!(value_of(gate.try_next()), Some(7));
    }

    #[test]
    fn a_barrier_is_taken_before_watermarks_and_the_end_but_not_before_records() {
        let (senders, mut gate) = gate(1);
        senders[0].try_send(Element::Watermark(10)).unwrap();
        senders[0].try_send(barrier(1)).unwrap();
        senders[0].try_send(chunk(7)).unwrap();
        senders[0].try_send(barrier(2)).unwrap();
        senders[0].try_send(Element::Ended).unwrap();
        senders[0].try_send(barrier(3)).unwrap();
        assert_eq!(gate.try_barrier().unwrap().checkpoint.get(), 1);
        assert!(gate.try_barrier().is_none());
        assert!(gate.try_barrier().is_none());
        assert!(matches!(gate.try_next(), Some(Element::Watermark(10))));
        assert_eq!(value_of(gate.try_next()), Some(7));
        assert_eq!(gate.try_barrier().unwrap().checkpoint.get(), 2);
        assert_eq!(gate.try_barrier().unwrap().checkpoint.get(), 3);
        assert!(matches!(gate.try_next(), Some(Element::Ended)));
        assert!(gate.try_next().is_none());
    }

    #[test]
    fn a_newer_barrier_ends_the_wait_for_one_that_was_given_up() {
        let (senders, mut gate) = gate(2);
        senders[0].try_send(barrier(1)).unwrap();
        assert!(gate.try_next().is_none());
        senders[1].try_send(barrier(2)).unwrap();
        assert!(gate.try_next().is_none());
        senders[0].try_send(barrier(2)).unwrap();
        match gate.try_next() {
            Some(Element::Barrier(barrier)) => assert_eq!(barrier.checkpoint.get(), 2),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_order_in_which_channels_fall_silent_makes_no_difference() {
        for order in [[0, 1], [1, 0]] {
            let (senders, mut gate) = gate(2);
            senders[0].try_send(Element::Watermark(10)).unwrap();
            for channel in order {
                senders[channel].try_send(Element::Idle).unwrap();
            }
            assert!(matches!(gate.try_next(), Some(Element::Watermark(10))));
            assert!(matches!(gate.try_next(), Some(Element::Idle)));
            assert!(gate.try_next().is_none());
        }
    }

    #[test]
    fn the_lowest_active_channel_makes_the_watermark() {
        let (senders, mut gate) = gate(2);
        let watermark = |gate: &mut InputGate| match gate.try_next() {
            Some(Element::Watermark(watermark)) => Some(watermark),
            _ => None,
        };
        senders[0].try_send(Element::Watermark(10)).unwrap();
        assert_eq!(watermark(&mut gate), None);
        senders[1].try_send(Element::Watermark(5)).unwrap();
        assert_eq!(watermark(&mut gate), Some(5));
        senders[1].try_send(Element::Idle).unwrap();
        assert_eq!(watermark(&mut gate), Some(10));
        senders[1].try_send(Element::Watermark(7)).unwrap();
        assert_eq!(watermark(&mut gate), None);
        senders[1]
            .try_send(Element::Watermark(MAX_WATERMARK))
            .unwrap();
        senders[1].try_send(Element::Ended).unwrap();
        senders[0]
            .try_send(Element::Watermark(MAX_WATERMARK))
            .unwrap();
        senders[0].try_send(Element::Ended).unwrap();
        assert_eq!(watermark(&mut gate), Some(MAX_WATERMARK));
        assert!(matches!(gate.try_next(), Some(Element::Ended)));
    }
}
