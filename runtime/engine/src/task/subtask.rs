//! The loop of one subtask.

mod passing;
mod turns;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_protocol::{
    Attempt, CheckpointId, FailureCategory, FromWorker, KeyGroupRange, OperatorId,
    OperatorSnapshot, SubtaskId,
};
use tidegate_storage::JobFolder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::gate::InputGate;
use super::intake::Intake;
use super::outlet::Outlet;
use super::snapshot::{CommitTracker, FrozenSubtask};
use crate::chunk::{Barrier, Element, MAX_WATERMARK};
use crate::error::{Result, category, describe, is_permanent};
use crate::graph::SourceHead;
use crate::metrics::OperatorMetrics;
use crate::operator::{Progress, Transform, now_ms};
use crate::source::ReadStatus;

/// How long records of a trickle wait for a chunk to fill.
const LINGER: Duration = Duration::from_millis(2);
/// Output records of one step, about, before it is sent on: it bounds what a `flat_map` that makes
/// many of one can pile up.
const STEP_ROWS: usize = 1 << 16;
/// Rows of a chain's first slice: what its code costs is not known yet.
const FIRST_SLICE_ROWS: usize = 64;
/// How long a task works before others of the slot get their turn, about, and the time that a slice
/// of a chunk should take: the end of the attempt and a source's barriers wait for it.
const TURN: Duration = Duration::from_millis(10);
/// Reads in a row before other tasks of the slot get their turn.
const READS_A_TURN: u32 = 16;
/// Elements in a row before other tasks do. A gate mostly has fewer, and then waits anyhow; turns
/// as short as a source's cost 5 % at small states.
const ELEMENTS_A_TURN: u32 = 256;
/// How often gauges are brought up to date.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// What the worker tells a subtask.
pub(crate) enum Control {
    /// Inject this barrier; to source subtasks only.
    Barrier(Barrier),
    /// Commit output up to this checkpoint; to sink subtasks only.
    Commit(CheckpointId, Arc<CommitTracker>),
}

/// Where a chain's elements come from.
pub(crate) enum Head {
    Source {
        operator: OperatorId,
        head: Box<dyn SourceHead>,
        /// Splits that the restored checkpoint had begun, and that were not read on yet.
        begun_splits: Vec<u32>,
    },
    Gate(InputGate),
}

/// How a subtask tells the coordinator things.
#[derive(Clone)]
pub(crate) struct Reporter {
    pub(crate) attempt: Attempt,
    pub(crate) subtask: SubtaskId,
    pub(crate) events: UnboundedSender<FromWorker>,
}

impl Reporter {
    /// The subtask has failed with an error.
    pub(crate) fn fail(&self, operator: Option<String>, error: &(dyn std::error::Error + 'static)) {
        self.fail_with(
            operator,
            describe(error),
            is_permanent(error),
            category(error),
        );
    }

    /// The subtask has failed.
    pub(crate) fn fail_with(
        &self,
        operator: Option<String>,
        message: String,
        is_permanent: bool,
        category: FailureCategory,
    ) {
        let (attempt, subtask) = (self.attempt, Some(self.subtask));
        let failed = FromWorker::Failed {
            attempt,
            subtask,
            operator,
            message,
            is_permanent,
            category,
        };
        let _ = self.events.send(failed);
    }
}

/// One parallel instance of a chain, with everything it needs.
pub(crate) struct Subtask {
    pub(crate) head: Head,
    pub(crate) stages: Vec<Stage>,
    pub(crate) outlet: Outlet,
    pub(crate) intake: Intake,
    pub(crate) control: UnboundedReceiver<Control>,
    pub(crate) reporter: Reporter,
    pub(crate) io: tokio::runtime::Handle,
    pub(crate) folder: Option<Arc<JobFolder>>,
    /// The source's, where the chain begins with one.
    pub(crate) head_metrics: Option<Arc<OperatorMetrics>>,
    /// The last operator's.
    pub(crate) outlet_metrics: Arc<OperatorMetrics>,
    pub(crate) progress: SubtaskProgress,
}

/// One operator in the middle of a chain.
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) transform: Box<dyn Transform>,
    pub(crate) metrics: Arc<OperatorMetrics>,
}

/// Where a subtask stands.
pub(crate) struct SubtaskProgress {
    /// The place in the chain of the operator that is at work, for whoever reports a failure.
    pub(crate) at_work: Rc<Cell<usize>>,
    slice_rows: usize,
    /// Rows taken in since the work at hand began.
    taken_rows: usize,
    /// When other tasks of the slot had their turn.
    turn_began: Instant,
    /// For how long others had it.
    away: Duration,
    /// Since when records of a source wait for a chunk to fill, there or on the way out.
    held_since: Option<Instant>,
    /// So many the source reads.
    split_count: u32,
    /// When input was last asked for.
    asked: Instant,
    /// Whether all input was read before, so that nothing of a source is: not even what it has got
    /// since.
    is_over: bool,
    is_ended: bool,
    is_stopped: bool,
    last_report: Instant,
}

impl SubtaskProgress {
    pub(crate) fn new(at_work: Rc<Cell<usize>>, is_over: bool, split_count: u32) -> Self {
        Self {
            at_work,
            slice_rows: FIRST_SLICE_ROWS,
            taken_rows: 0,
            turn_began: Instant::now(),
            away: Duration::ZERO,
            held_since: None,
            split_count,
            asked: Instant::now(),
            is_over,
            is_ended: false,
            is_stopped: false,
            last_report: Instant::now(),
        }
    }
}

/// What woke a subtask.
enum Wake {
    Control(Option<Control>),
    Read(Result<ReadStatus>),
    Element(Element),
    Linger,
    Clock,
}

impl Subtask {
    /// Runs until the attempt is cancelled, which drops it, or until an operator fails.
    ///
    /// # Errors
    /// The operator's at [`SubtaskProgress::at_work`].
    pub(crate) async fn run(mut self) -> Result<()> {
        self.progress.asked = Instant::now();
        for index in 0..self.stages.len() {
            if let Some(watermark) = self.stages[index].transform.restored_watermark() {
                self.advance(index, watermark).await?;
            }
        }
        if matches!(self.head, Head::Source { .. }) {
            self.run_source().await
        } else {
            self.run_gate().await
        }
    }

    async fn run_source(&mut self) -> Result<()> {
        self.begin_splits();
        if self.progress.is_over {
            self.end().await?;
        }
        let mut reads = 0_u32;
        loop {
            let wake = self.wait_source().await;
            let work = self.begin_work();
            match wake {
                Wake::Control(None) => return Ok(()),
                Wake::Control(Some(control)) => self.on_control(control).await?,
                Wake::Read(status) => {
                    let is_ended = status? == ReadStatus::Ended;
                    let is_sent = self.take_read(is_ended).await?;
                    if is_ended {
                        self.end().await?;
                    }
                    self.linger(is_sent, work.began).await?;
                    reads += 1;
                    if reads.is_multiple_of(READS_A_TURN) {
                        self.give_turn().await;
                    }
                }
                Wake::Linger => self.send_held().await?,
                Wake::Clock | Wake::Element(_) => {}
            }
            self.check_clock().await?;
            self.give_turn_if_due(self.progress.asked).await;
            self.end_work(work);
            self.report();
        }
    }

    async fn wait_source(&mut self) -> Wake {
        let wakeup = self.next_wakeup();
        let reads = !self.progress.is_ended && !self.progress.is_stopped;
        let Head::Source { head, .. } = &mut self.head else {
            return Wake::Linger;
        };
        head.want(self.intake.wanted_rows());
        let linger_until = self.progress.held_since.map(|since| since + LINGER);
        self.progress.at_work.set(0);
        tokio::select! {
            biased;
            control = self.control.recv() => Wake::Control(control),
            status = head.read(), if reads => Wake::Read(status),
            () = sleep_to(linger_until), if linger_until.is_some() => Wake::Linger,
            () = sleep_until(wakeup), if wakeup.is_some() => Wake::Clock,
        }
    }

    /// Tells which splits go on where the restored checkpoint left them.
    fn begin_splits(&mut self) {
        let Head::Source { begun_splits, .. } = &self.head else {
            return;
        };
        for stage in &mut self.stages {
            let transform = &mut stage.transform;
            begun_splits
                .iter()
                .for_each(|split| transform.on_split_begun(*split));
        }
    }

    /// After a read: sends on what has waited for long, however many reads came in the meantime.
    async fn linger(&mut self, is_sent: bool, now: Instant) -> Result<()> {
        let Head::Source { head, .. } = &self.head else {
            return Ok(());
        };
        match self.progress.held_since {
            // What waits now came with this read.
            _ if is_sent => self.progress.held_since = Some(now),
            None if head.has_rest() => self.progress.held_since = Some(now),
            Some(since) if now.duration_since(since) >= LINGER => self.send_held().await?,
            _ => {}
        }
        Ok(())
    }

    async fn send_held(&mut self) -> Result<()> {
        self.take_read(true).await?;
        self.flush().await?;
        self.progress.held_since = None;
        Ok(())
    }

    /// Feeds what the reader has filled; tells whether there was any.
    async fn take_read(&mut self, is_all: bool) -> Result<bool> {
        let Head::Source { head, .. } = &mut self.head else {
            return Ok(false);
        };
        let (chunks, ended_splits) = head.take(is_all);
        let is_any = !chunks.is_empty();
        for chunk in chunks {
            if let Some(metrics) = &self.head_metrics {
                metrics.records_out.add(chunk.len() as u64);
            }
            let split = chunk.split;
            self.feed(Element::Chunk(chunk)).await?;
            self.on_read(split).await?;
        }
        for split in ended_splits {
            self.feed(Element::SplitEnded(split)).await?;
        }
        Ok(is_any)
    }

    /// Tells where the first records of a begun split were read on.
    async fn on_read(&mut self, split: Option<u32>) -> Result<()> {
        let Head::Source { begun_splits, .. } = &mut self.head else {
            return Ok(());
        };
        // A reader that tells no splits apart may have read on any of them.
        let is_read = |begun: &mut u32| split.is_none_or(|split| *begun == split);
        let read: Vec<u32> = begun_splits.extract_if(.., is_read).collect();
        for split in read {
            for index in 0..self.stages.len() {
                self.mark(index);
                let mut output = Vec::new();
                let transform = &mut self.stages[index].transform;
                transform.on_split_read(split, &mut output);
                self.pass(index + 1, output).await?;
            }
        }
        Ok(())
    }

    /// All input has been read: event time is over, and nothing but barriers follows.
    async fn end(&mut self) -> Result<()> {
        self.feed(Element::Watermark(MAX_WATERMARK)).await?;
        self.feed(Element::Ended).await
    }

    async fn run_gate(&mut self) -> Result<()> {
        let mut elements = 0_u32;
        loop {
            let Head::Gate(gate) = &mut self.head else {
                return Ok(());
            };
            let element = match gate.try_next() {
                Some(element) => Wake::Element(element),
                None => {
                    self.flush().await?;
                    let wake = self.wait_gate().await;
                    // Others had their turn meanwhile.
                    self.progress.turn_began = Instant::now();
                    wake
                }
            };
            elements = elements.wrapping_add(1);
            if elements.is_multiple_of(ELEMENTS_A_TURN) {
                self.give_turn().await;
            }
            let work = self.begin_work();
            match element {
                Wake::Control(None) => return Ok(()),
                Wake::Control(Some(control)) => self.on_control(control).await?,
                Wake::Element(Element::Barrier(barrier)) => self.on_barrier(barrier).await?,
                // What was before the last barrier, but may wait until after it.
                Wake::Element(_) if self.progress.is_stopped => {}
                Wake::Element(element) => self.feed(element).await?,
                Wake::Clock | Wake::Read(_) | Wake::Linger => {}
            }
            self.take_commits();
            self.check_clock().await?;
            self.give_turn_if_due(self.progress.asked).await;
            self.end_work(work);
            self.report();
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.mark(self.stages.len());
        self.outlet.flush(&self.outlet_metrics).await
    }

    async fn wait_gate(&mut self) -> Wake {
        let wakeup = self.next_wakeup();
        if wakeup.is_some_and(|wakeup| wakeup <= now_ms()) {
            return Wake::Clock;
        }
        let Head::Gate(gate) = &mut self.head else {
            return Wake::Linger;
        };
        tokio::select! {
            biased;
            control = self.control.recv() => Wake::Control(control),
            element = gate.next() => Wake::Element(element),
            () = sleep_until(wakeup), if wakeup.is_some() => Wake::Clock,
        }
    }

    fn next_wakeup(&self) -> Option<i64> {
        if self.progress.is_stopped {
            return None;
        }
        self.stages
            .iter()
            .filter_map(|stage| stage.transform.next_wakeup_ms())
            .min()
    }

    /// Fires clocks that are due, also while input never pauses.
    async fn check_clock(&mut self) -> Result<()> {
        let last = std::mem::replace(&mut self.progress.asked, Instant::now());
        let since_last = self.progress.asked - last;
        for stage in &mut self.stages {
            stage
                .transform
                .on_asked(since_last, self.progress.split_count);
        }
        match self.next_wakeup() {
            Some(wakeup) if wakeup <= now_ms() => self.on_clock().await,
            _ => Ok(()),
        }
    }

    /// One step of each operator whose clock is due. What is left has its turn after the next
    /// element, so that barriers get through.
    async fn on_clock(&mut self) -> Result<()> {
        for index in 0..self.stages.len() {
            self.mark(index);
            let now = now_ms();
            let transform = &mut self.stages[index].transform;
            if transform.next_wakeup_ms().is_none_or(|wakeup| wakeup > now) {
                continue;
            }
            let mut output = Vec::new();
            let progress = transform.on_wakeup(now, &mut output)?;
            self.pass(index + 1, output).await?;
            if progress == Progress::More {
                self.give_turn().await;
            }
        }
        Ok(())
    }

    /// Between two steps of a watermark that has many timers fire: what must not wait for the last
    /// of them has its turn. That is a commit, the attempt's end, which drops the subtask where it
    /// yields, and a barrier with no record before it: timers that have not fired are in its
    /// snapshot, and fire once it is restored.
    async fn between_steps(&mut self) -> Result<()> {
        if let Head::Gate(gate) = &mut self.head {
            let barrier = gate.try_barrier();
            let watermark = gate.watermark();
            self.take_commits();
            if let Some(barrier) = barrier {
                if let (Some(watermark), Some(stage)) = (watermark, self.stages.first_mut()) {
                    stage.transform.on_overtaken(watermark);
                }
                self.on_barrier(barrier).await?;
            }
        }
        self.give_turn().await;
        Ok(())
    }

    /// Does what the worker told a subtask behind a gate, which gets its barriers from there.
    fn take_commits(&mut self) {
        while let Ok(control) = self.control.try_recv() {
            if let Control::Commit(checkpoint, tracker) = control {
                self.commit(checkpoint, tracker);
            }
        }
    }

    async fn on_control(&mut self, control: Control) -> Result<()> {
        match control {
            Control::Barrier(barrier) => {
                self.take_read(true).await?;
                self.on_barrier(barrier).await
            }
            Control::Commit(checkpoint, tracker) => {
                self.commit(checkpoint, tracker);
                Ok(())
            }
        }
    }

    fn commit(&mut self, checkpoint: CheckpointId, tracker: Arc<CommitTracker>) {
        if let Outlet::Sink(sink) = &mut self.outlet {
            let (reporter, operator) = (self.reporter.clone(), sink.operator.clone());
            sink.snapshots
                .commit(checkpoint, &self.io, move |result| match result {
                    Ok(()) => tracker.one_is_done(),
                    Err(error) => {
                        reporter.fail(Some(operator), &*error);
                    }
                });
        }
    }

    /// Freezes, starts the upload, and only then lets the barrier pass: what follows it in any
    /// channel is not in the snapshot.
    async fn on_barrier(&mut self, barrier: Barrier) -> Result<()> {
        let start = Instant::now();
        let mut ready = Vec::new();
        let mut work = Vec::new();
        if let Head::Source { operator, head, .. } = &self.head {
            self.progress.at_work.set(0);
            let items = head
                .snapshot()
                .iter()
                .map(serde_json::to_value)
                .collect::<Result<_, _>>()?;
            ready.push(OperatorSnapshot {
                operator: operator.clone(),
                key_groups: KeyGroupRange { start: 0, end: 0 },
                files: Vec::new(),
                items,
                watermark_ms: None,
            });
        }
        for index in 0..self.stages.len() {
            self.mark(index);
            let Stage {
                name, transform, ..
            } = &mut self.stages[index];
            work.extend(
                transform
                    .freeze(&barrier)
                    .map(|frozen| (name.clone(), frozen)),
            );
        }
        self.mark(self.stages.len());
        if let Outlet::Sink(sink) = &mut self.outlet {
            let operator = OperatorId::new(sink.operator.as_str())?;
            let frozen =
                sink.snapshots
                    .pre_commit(&mut *sink.writer, operator, barrier.checkpoint)?;
            work.push((sink.operator.clone(), frozen));
        }
        let frozen = FrozenSubtask {
            attempt: self.reporter.attempt,
            checkpoint: barrier.checkpoint,
            subtask: self.reporter.subtask,
            freeze_micros: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
            ready,
            work,
        };
        self.io
            .spawn(frozen.upload(self.folder.clone(), self.reporter.events.clone()));
        self.progress.is_stopped |= barrier.is_last;
        self.outlet
            .send(Element::Barrier(barrier), &self.outlet_metrics)
            .await
    }

    /// Notes which stage is at work; one past the last: the outlet.
    fn mark(&self, stage: usize) {
        let head = usize::from(matches!(self.head, Head::Source { .. }));
        self.progress.at_work.set(stage + head);
    }

    fn report(&mut self) {
        if self.progress.last_report.elapsed() >= REPORT_EVERY {
            self.progress.last_report = Instant::now();
            self.stages
                .iter()
                .for_each(|stage| stage.transform.report());
        }
    }
}

/// Waits until a moment; for ever where there is none.
async fn sleep_to(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until the machine's clock reaches a time; for ever where there is none.
async fn sleep_until(time_ms: Option<i64>) {
    match time_ms {
        Some(time) => {
            let left = u64::try_from(time.saturating_sub(now_ms())).unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
        None => std::future::pending().await,
    }
}
