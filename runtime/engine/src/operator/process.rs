//! `process`: user code with state and timers for each key.

mod context;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::ScalarBuffer;
use tidegate_protocol::{OperatorSnapshot, StateFile};
use tidegate_storage::WriteOptions;

pub use context::KeyedContext;

use crate::chunk::{Barrier, Chunk, Element, Watermark};
use crate::error::{PermanentError, Result};
use crate::exchange::{KeySelector, hash_rows};
use crate::key::Key;
use crate::operator::flat_map::{pass_on, rows_of};
use crate::operator::{OperatorContext, Progress, SnapshotTarget, SnapshotWork, Transform};
use crate::record::{Output, Record, Rows};
use crate::state::{KeyTable, Keys, RestoredBatch, State, StateChain, TimerKind};

/// Records whose keys are looked up at once: enough that the cache misses of different keys
/// overlap, few enough that the lines they bring in are still in the second-level cache when they
/// are used.
const LOOKUP_ROWS: usize = 1024;
/// Timers fired before their output is sent on.
const TIMERS_A_STEP: usize = 1024;

/// User code that sees the records of one key at a time, with state and timers of that key.
///
/// Each subtask works on a clone of its own. Everything that must survive a failure belongs in the
/// declared [`State`]; fields of the implementing type do not survive.
pub trait KeyedProcess: Clone + Send + Sync + 'static {
    /// What the stream is keyed by.
    type Key: Key;
    /// The records that come in.
    type Input: Record;
    /// The records that go out.
    type Output: Record;
    /// The states kept for each key.
    type State: State;

    /// Takes one record.
    ///
    /// # Errors
    /// Restarts the job from its last checkpoint; a [`PermanentError`] ends it.
    fn process(
        &mut self,
        record: <Self::Input as Record>::View<'_>,
        context: &mut KeyedContext<'_, Self::Key, Self::State>,
        output: &mut Output<Self::Output>,
    ) -> Result<()>;

    /// A timer that was set for this key has come.
    ///
    /// # Errors
    /// As [`KeyedProcess::process`].
    fn on_timer(
        &mut self,
        time_ms: i64,
        context: &mut KeyedContext<'_, Self::Key, Self::State>,
        output: &mut Output<Self::Output>,
    ) -> Result<()> {
        let _ = (time_ms, context, output);
        Ok(())
    }
}

/// Runs a [`KeyedProcess`] in one subtask.
pub(crate) struct Process<P: KeyedProcess, F> {
    function: P,
    selector: Arc<F>,
    table: KeyTable<P::Key, P::State>,
    chain: StateChain<P::Key>,
    output: Output<P::Output>,
    rows: Vec<u32>,
    watermark: Option<Watermark>,
    /// What waits behind the barrier of the next checkpoint.
    overtaken: Option<Watermark>,
    context: OperatorContext,
}

/// The keys of a chunk's records.
struct ChunkKeys<'c, T: Record, F> {
    rows: &'c Rows<T>,
    selector: &'c F,
    /// The first row of the part that is looked up.
    start: usize,
}

impl<K: Key, T: Record, F: for<'a> KeySelector<'a, T, K>> Keys<K> for ChunkKeys<'_, T, F> {
    #[inline]
    fn key_at(&self, at: usize) -> K::View<'_> {
        (self.selector)(self.rows.get(self.start + at))
    }
}

impl<P, F> Process<P, F>
where
    P: KeyedProcess,
    F: for<'a> KeySelector<'a, P::Input, P::Key>,
{
    pub(crate) fn new(function: P, selector: Arc<F>, mut context: OperatorContext) -> Self {
        let restore = context.restore.take();
        let watermark = restore.as_ref().and_then(|restore| restore.watermark_ms);
        let files = restore.map(|restore| restore.files).unwrap_or_default();
        Self {
            function,
            selector,
            table: KeyTable::new(context.key_groups, context.max),
            chain: StateChain::new(files),
            output: Output::default(),
            rows: Vec::new(),
            watermark,
            overtaken: None,
            context,
        }
    }

    fn take_records(&mut self, chunk: &Chunk) -> Result<()> {
        let rows = rows_of::<P::Input>(chunk);
        let computed;
        let hashes: &ScalarBuffer<u64> = match &chunk.hashes {
            Some(hashes) => hashes,
            None => {
                computed = ScalarBuffer::from(hash_rows(&rows, &*self.selector));
                &computed
            }
        };
        if let (Some(timestamps), Some(watermark)) = (&chunk.timestamps, self.watermark) {
            let is_late = |timestamp: &&i64| **timestamp <= watermark;
            let late = timestamps.iter().filter(is_late).count();
            self.context.metrics.late_records.add(late as u64);
        }
        self.output.set_timestamp(None);
        let mut start = 0;
        while start < rows.len() {
            let end = rows.len().min(start + LOOKUP_ROWS);
            let keys = ChunkKeys {
                rows: &rows,
                selector: &*self.selector,
                start,
            };
            self.table
                .resolve(&hashes[start..end], &keys, &mut self.rows);
            self.table.touch(&self.rows);
            let mut parts = self.table.parts();
            for (at, row) in (start..end).zip(&self.rows) {
                let timestamp = chunk.timestamps.as_ref().map(|timestamps| timestamps[at]);
                if timestamp.is_some() {
                    self.output.set_timestamp(timestamp);
                }
                let mut context = parts.context(*row, timestamp, self.watermark);
                self.function
                    .process(rows.get(at), &mut context, &mut self.output)?;
            }
            start = end;
        }
        Ok(())
    }

    fn fire(&mut self, kind: TimerKind, until: i64) -> Result<Progress> {
        self.table.sweep();
        for _ in 0..TIMERS_A_STEP {
            let Some((time, row)) = self.table.timers.pop(kind, until) else {
                return Ok(Progress::Done);
            };
            let mut parts = self.table.parts();
            self.output.set_timestamp(Some(time));
            let mut context = parts.context(row, Some(time), self.watermark);
            self.function
                .on_timer(time, &mut context, &mut self.output)?;
        }
        Ok(Progress::More)
    }

    fn send_output(&mut self, output: &mut Vec<Element>) {
        output.extend(self.output.take_all().into_iter().map(Element::Chunk));
    }
}

impl<P, F> Transform for Process<P, F>
where
    P: KeyedProcess,
    F: for<'a> KeySelector<'a, P::Input, P::Key>,
{
    fn on_chunk(&mut self, chunk: Chunk, output: &mut Vec<Element>) -> Result<()> {
        self.table.sweep();
        self.take_records(&chunk)?;
        pass_on(&mut self.output, &chunk, output);
        Ok(())
    }

    fn on_watermark(
        &mut self,
        watermark: Watermark,
        output: &mut Vec<Element>,
    ) -> Result<Progress> {
        let watermark = self
            .watermark
            .map_or(watermark, |reached| reached.max(watermark));
        self.watermark = Some(watermark);
        let progress = self.fire(TimerKind::EventTime, watermark)?;
        self.send_output(output);
        if progress == Progress::Done {
            output.push(Element::Watermark(watermark));
        }
        Ok(progress)
    }

    fn on_wakeup(&mut self, now_ms: i64, output: &mut Vec<Element>) -> Result<Progress> {
        let progress = self.fire(TimerKind::ProcessingTime, now_ms)?;
        self.send_output(output);
        Ok(progress)
    }

    fn next_wakeup_ms(&self) -> Option<i64> {
        self.table.timers.first_time(TimerKind::ProcessingTime)
    }

    fn freeze(&mut self, barrier: &Barrier) -> Option<SnapshotWork> {
        if let Some(taken) = self.chain.settle(barrier.last_completed) {
            self.table.give_back(taken);
        }
        let changes = self.table.changes();
        let is_whole = self.chain.wants_base(changes.row_count, self.table.len());
        let (frozen, taken) = self.table.freeze((!is_whole).then_some(changes));
        let (mut files, written) = self.chain.begin(barrier.checkpoint, taken);
        let operator = self.context.operator.clone();
        let key_groups = self.table.range();
        let watermark_ms = self.watermark.max(self.overtaken.take());
        Some(Box::new(move |target: SnapshotTarget| {
            Box::pin(async move {
                let file = match &target.folder {
                    Some(folder) if !frozen.is_empty() => {
                        let path = format!("{}.arrow", target.path);
                        let options = WriteOptions::default();
                        let mut writer = folder
                            .create_state_file(&path, frozen.schema(), options)
                            .await?;
                        frozen.write(&mut writer).await?;
                        let kind = StateChain::<P::Key>::file_kind(is_whole);
                        Some(writer.finish(kind, key_groups).await?)
                    }
                    _ => None,
                };
                files.extend(file.clone());
                written.tell(file);
                Ok(OperatorSnapshot {
                    operator: operator.try_into()?,
                    key_groups,
                    files,
                    items: Vec::new(),
                    watermark_ms,
                })
            })
        }))
    }

    fn restore(&mut self, file: &StateFile, batch: &RecordBatch) -> Option<()> {
        let _ = file;
        self.table.restore(&RestoredBatch::of(batch)?)
    }

    fn restored(&mut self) {
        self.table.mark_clean();
    }

    fn restored_watermark(&self) -> Option<Watermark> {
        self.watermark
    }

    fn on_overtaken(&mut self, watermark: Watermark) {
        self.overtaken = Some(watermark);
    }

    fn report(&self) {
        let metrics = &self.context.metrics;
        metrics.state_keys.set(self.table.len() as u64);
        metrics.state_bytes.set(self.table.size_bytes() as u64);
        metrics.timers.set(self.table.timers.len() as u64);
        if let Some(watermark) = self.watermark {
            metrics.watermark_ms.set(watermark.cast_unsigned());
        }
    }
}

/// The error of a snapshot file whose columns are not what the operator declares.
pub(crate) fn misfit(file: &StateFile, operator: &str) -> PermanentError {
    PermanentError::new(format!(
        "state file `{}` does not fit operator `{operator}`: a column has another type than the \
         program declares; restore it with the program that wrote it",
        file.path
    ))
}
