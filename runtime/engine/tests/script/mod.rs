//! A source that says what a test tells it to, and a sink that shows at once what it takes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use serde_json::Value;
use tidegate_engine::{
    ReadStatus, Result, Rows, Sink, SinkContext, SinkWriter, Source, SourceContext, SourceOutput,
    SourceReader, Split, SplitState,
};
use tidegate_protocol::CheckpointId;
use tokio::sync::watch;

#[derive(Clone, Default)]
struct Lines {
    times: Vec<i64>,
    is_ended: bool,
    is_endless: bool,
}

/// What the splits of a source say.
#[derive(Clone)]
pub(crate) struct Script {
    splits: Arc<watch::Sender<Vec<Lines>>>,
    is_in_sequence: bool,
    /// Whether the reader tells which split gives a record.
    tells_splits: bool,
}

impl Script {
    fn new(split_count: usize, is_in_sequence: bool) -> Self {
        Self {
            splits: Arc::new(watch::channel(vec![Lines::default(); split_count]).0),
            is_in_sequence,
            tells_splits: true,
        }
    }

    /// Splits of a reader that does not tell which of them a record is from.
    pub(crate) fn untold(split_count: usize) -> Self {
        Self {
            tells_splits: false,
            ..Self::in_turn(split_count)
        }
    }

    /// Splits that are read in turn.
    pub(crate) fn in_turn(split_count: usize) -> Self {
        Self::new(split_count, false)
    }

    /// Splits of which each is read to its end before the next.
    pub(crate) fn in_sequence(split_count: usize) -> Self {
        Self::new(split_count, true)
    }

    /// A split gives these times.
    pub(crate) fn say(&self, split: usize, times: impl IntoIterator<Item = i64>) {
        self.splits
            .send_modify(|splits| splits[split].times.extend(times));
    }

    /// There is one split more.
    pub(crate) fn add(&self) {
        self.splits
            .send_modify(|splits| splits.push(Lines::default()));
    }

    /// A split ends once its times were read.
    pub(crate) fn end(&self, split: usize) {
        self.splits
            .send_modify(|splits| splits[split].is_ended = true);
    }

    /// A split gives 0, 1, 2, … and is never silent.
    pub(crate) fn say_endlessly(&self, split: usize) {
        self.splits
            .send_modify(|splits| splits[split].is_endless = true);
    }
}

pub(crate) struct Scripted(pub(crate) Script);

pub(crate) struct ScriptedReader {
    script: watch::Receiver<Vec<Lines>>,
    is_in_sequence: bool,
    tells_splits: bool,
    states: Vec<SplitState>,
    /// The splits' places in the script.
    places: Vec<usize>,
    next: usize,
}

impl Source for Scripted {
    type Item = i64;
    type Reader = ScriptedReader;

    fn discover(&self, known: &[SplitState]) -> Result<Vec<Split>> {
        let split = |index: usize| Split {
            id: index.to_string(),
            weight: 1,
            spec: index.into(),
        };
        let count = self.0.splits.borrow().len();
        Ok((known.len()..count).map(split).collect())
    }

    fn reader(&self, states: Vec<SplitState>, _: SourceContext) -> Result<ScriptedReader> {
        let place = |state: &SplitState| state.split.spec.as_u64().unwrap() as usize;
        Ok(ScriptedReader {
            script: self.0.splits.subscribe(),
            is_in_sequence: self.0.is_in_sequence,
            tells_splits: self.0.tells_splits,
            places: states.iter().map(place).collect(),
            states,
            next: 0,
        })
    }
}

impl ScriptedReader {
    fn read_now(&mut self, output: &mut SourceOutput<i64>) -> Option<ReadStatus> {
        let script = self.script.borrow_and_update();
        let first = if self.is_in_sequence { 0 } else { self.next };
        for step in 0..self.states.len() {
            let index = (first + step) % self.states.len();
            let state = &mut self.states[index];
            let lines = &script[self.places[index]];
            if state.is_ended {
                continue;
            }
            self.next = index + 1;
            let at = state.position.as_ref().and_then(Value::as_u64).unwrap_or(0);
            let time = lines.times.get(at as usize).copied();
            if let Some(time) = time.or(lines.is_endless.then_some(at as i64)) {
                if self.tells_splits {
                    output.begin_split(index as u32);
                }
                output.push(time);
                state.position = Some((at + 1).into());
                return Some(ReadStatus::More);
            }
            if lines.is_ended {
                state.is_ended = true;
                output.end_split(index as u32);
                return Some(ReadStatus::More);
            }
            if self.is_in_sequence {
                break;
            }
        }
        let is_over = self.states.iter().all(|state| state.is_ended);
        is_over.then_some(ReadStatus::Ended)
    }
}

impl SourceReader for ScriptedReader {
    type Item = i64;

    async fn read(&mut self, output: &mut SourceOutput<i64>) -> Result<ReadStatus> {
        loop {
            if let Some(status) = self.read_now(output) {
                return Ok(status);
            }
            self.script.changed().await?;
        }
    }

    fn snapshot(&self) -> Vec<SplitState> {
        self.states.clone()
    }
}

/// What came to the sink, of all attempts.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// Waits until a record has come.
    pub(crate) async fn wait_for(&self, record: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.0.lock().unwrap().iter().any(|seen| seen == record) {
            assert!(
                Instant::now() < deadline,
                "no `{record}` in {:?}",
                self.last()
            );
            tokio::task::yield_now().await;
        }
    }

    /// Waits until more records that begin like this have come than there were.
    pub(crate) async fn wait_for_more(&self, prefix: &str, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.count(prefix) <= count {
            assert!(Instant::now() < deadline, "no more than {count} `{prefix}`");
            tokio::task::yield_now().await;
        }
    }

    /// The records that came last.
    fn last(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        seen.iter().rev().take(20).cloned().collect()
    }

    /// The places, in order of coming, of those that are this record.
    pub(crate) fn places(&self, record: &str) -> Vec<usize> {
        let seen = self.0.lock().unwrap();
        let all = seen.iter().enumerate();
        let places = all.filter_map(|(place, seen)| (seen == record).then_some(place));
        places.collect()
    }

    /// How many records that begin like this have come.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        let seen = self.0.lock().unwrap();
        seen.iter().filter(|seen| seen.starts_with(prefix)).count()
    }
}

impl Sink for Seen {
    type Item = String;
    type Writer = Self;

    fn writer(&self, _: SinkContext) -> Result<Self> {
        Ok(self.clone())
    }

    fn commit(&self, _: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

impl SinkWriter for Seen {
    type Item = String;

    async fn write(&mut self, rows: &Rows<String>) -> Result<()> {
        let mut seen = self.0.lock().unwrap();
        seen.extend(rows.iter().map(str::to_owned));
        Ok(())
    }

    fn pre_commit(&mut self, _: CheckpointId) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        Ok(Box::pin(async { Ok(Vec::new()) }))
    }
}
