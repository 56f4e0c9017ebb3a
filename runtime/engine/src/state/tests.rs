//! Snapshots against a model: whatever was aborted or restored before, a complete checkpoint holds
//! exactly what the operator held at its barrier.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;

use proptest::prelude::*;
use tidegate_protocol::{
    CheckpointId, CheckpointKind, KeyGroupRange, MaxParallelism, OperatorId, OperatorRestore,
    OperatorSnapshot,
};
use tidegate_storage::{JobFolder, StorageUrl, Store, StoreOptions};

use super::{State, ValueCell, ValueState};
use crate::chunk::{Barrier, Element, MAX_WATERMARK};
use crate::error::Result;
use crate::metrics::OperatorMetrics;
use crate::operator::{
    KeyedContext, KeyedProcess, OperatorContext, Process, Progress, SnapshotTarget, Transform,
};
use crate::record::{Output, Rows};

const KEYS: u64 = 12;
const TIMES: u64 = 6;
/// Times from here on are those of processing timers, before it those of event timers.
const CLOCK: u64 = 100;
/// A timer from here on sets itself again.
const AGAIN: u64 = 10_000;
/// What is given out for a value begins here.
const VALUES: u64 = 1000;

const SET_EVENT_TIMER: u64 = 0;
const SET_CLOCK_TIMER: u64 = 1;
const UNSET_EVENT_TIMER: u64 = 2;
const UNSET_CLOCK_TIMER: u64 = 3;
const SET_VALUE: u64 = 4;
const CLEAR_VALUE: u64 = 5;
const CLEAR_ALL: u64 = 6;
const LOOK: u64 = 7;
const ACTIONS: u64 = 8;

const fn action(kind: u64, argument: u64) -> u64 {
    argument * ACTIONS + kind
}

/// States with or without a value.
trait Kept: State {
    const HAS_VALUE: bool;
    fn set(row: &mut Self::Row<'_>, value: Option<u64>);
    fn value(row: &Self::Row<'_>) -> Option<u64>;
}

impl Kept for () {
    const HAS_VALUE: bool = false;
    fn set((): &mut (), _: Option<u64>) {}
    fn value((): &()) -> Option<u64> {
        None
    }
}

impl Kept for ValueState<u64> {
    const HAS_VALUE: bool = true;
    fn set(cell: &mut ValueCell<'_, u64>, value: Option<u64>) {
        match value {
            Some(value) => cell.set(value),
            None => cell.clear(),
        }
    }
    fn value(cell: &ValueCell<'_, u64>) -> Option<u64> {
        cell.get()
    }
}

/// Does to its key what the records say.
struct Obey<S>(PhantomData<fn() -> S>);

impl<S> Clone for Obey<S> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<S: Kept> KeyedProcess for Obey<S> {
    type Key = u64;
    type Input = (u64, u64);
    type Output = (u64, u64);
    type State = S;

    fn process(
        &mut self,
        (key, action): (u64, u64),
        context: &mut KeyedContext<'_, u64, S>,
        output: &mut Output<(u64, u64)>,
    ) -> Result<()> {
        let argument = action / ACTIONS;
        let event_ms = argument as i64;
        let clock_ms = (CLOCK + argument) as i64;
        match action % ACTIONS {
            SET_EVENT_TIMER => context.set_event_timer_ms(event_ms),
            SET_CLOCK_TIMER => context.set_processing_timer_ms(clock_ms),
            UNSET_EVENT_TIMER => context.remove_event_timer_ms(event_ms),
            UNSET_CLOCK_TIMER => context.remove_processing_timer_ms(clock_ms),
            SET_VALUE => S::set(&mut context.state, Some(argument)),
            CLEAR_VALUE => S::set(&mut context.state, None),
            CLEAR_ALL => {
                S::set(&mut context.state, None);
                for time in 0..TIMES {
                    context.remove_event_timer_ms(time as i64);
                    context.remove_processing_timer_ms((CLOCK + time) as i64);
                }
            }
            _ => {
                if let Some(value) = S::value(&context.state) {
                    output.push((key, VALUES + value));
                }
            }
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        time_ms: i64,
        context: &mut KeyedContext<'_, u64, S>,
        output: &mut Output<(u64, u64)>,
    ) -> Result<()> {
        output.push((context.key(), time_ms as u64));
        if time_ms as u64 >= AGAIN {
            context.set_processing_timer_ms(time_ms + 1);
        }
        Ok(())
    }
}

/// The same by plain sets.
#[derive(Clone, Default)]
struct Model {
    values: BTreeMap<u64, u64>,
    /// Key and time.
    timers: BTreeSet<(u64, u64)>,
    watermark: Option<u64>,
}

impl Model {
    fn take<S: Kept>(&mut self, records: &[(u64, u64)]) {
        for (key, action) in records {
            let (key, argument) = (*key, action / ACTIONS);
            match action % ACTIONS {
                SET_EVENT_TIMER => drop(self.timers.insert((key, argument))),
                SET_CLOCK_TIMER => drop(self.timers.insert((key, CLOCK + argument))),
                UNSET_EVENT_TIMER => drop(self.timers.remove(&(key, argument))),
                UNSET_CLOCK_TIMER => drop(self.timers.remove(&(key, CLOCK + argument))),
                SET_VALUE if S::HAS_VALUE => drop(self.values.insert(key, argument)),
                CLEAR_VALUE => drop(self.values.remove(&key)),
                CLEAR_ALL => {
                    self.values.remove(&key);
                    self.timers.retain(|(other, _)| *other != key);
                }
                _ => {}
            }
        }
    }

    fn fire(&mut self, times: std::ops::RangeInclusive<u64>) -> Vec<(u64, u64)> {
        let (due, left) = std::mem::take(&mut self.timers)
            .into_iter()
            .partition(|(_, time)| times.contains(time));
        self.timers = left;
        BTreeSet::into_iter(due).collect()
    }

    fn contents(&self) -> Vec<(u64, u64)> {
        let values = self
            .values
            .iter()
            .map(|(key, value)| (*key, VALUES + value));
        let all: BTreeSet<_> = values.chain(self.timers.iter().copied()).collect();
        all.into_iter().collect()
    }
}

type Selector = fn((u64, u64)) -> u64;

/// An operator, and what a coordinator would know about it.
struct Rig<S: Kept> {
    folder: Arc<JobFolder>,
    process: Process<Obey<S>, Selector>,
    metrics: Arc<OperatorMetrics>,
    checkpoint: CheckpointId,
    last_completed: Option<CheckpointId>,
    complete: Option<OperatorSnapshot>,
}

impl<S: Kept> Rig<S> {
    async fn new(folder: &tempfile::TempDir) -> Self {
        let url = StorageUrl::parse(folder.path().to_str().unwrap()).unwrap();
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let folder = Arc::new(JobFolder::new(store, "test", "job").unwrap());
        let metrics = Arc::<OperatorMetrics>::default();
        Self {
            process: open(&folder, &metrics, None).await,
            folder,
            metrics,
            checkpoint: CheckpointId::FIRST,
            last_completed: None,
            complete: None,
        }
    }

    /// Goes on from the last complete checkpoint, as after a crash.
    async fn restore(&mut self) {
        self.process = open(&self.folder, &self.metrics, self.complete.as_ref()).await;
    }

    fn take(&mut self, records: &[(u64, u64)]) {
        assert_eq!(take(&mut self.process, records), []);
    }

    /// Takes a checkpoint that is written or not, and that completes or not.
    async fn checkpoint(&mut self, is_written: bool, completes: bool) {
        let checkpoint = self.checkpoint;
        self.checkpoint = checkpoint.next();
        let work = self.process.freeze(&Barrier {
            checkpoint,
            kind: CheckpointKind::Checkpoint,
            is_last: false,
            last_completed: self.last_completed,
        });
        if is_written || completes {
            let target = SnapshotTarget {
                folder: Some(Arc::clone(&self.folder)),
                path: format!("state/1/{checkpoint}/obey-0"),
            };
            let snapshot = work.unwrap()(target).await.unwrap();
            if completes {
                self.last_completed = Some(checkpoint);
                self.complete = Some(snapshot);
            }
        }
    }

    /// What the last complete checkpoint holds.
    async fn restored_contents(&self) -> Vec<(u64, u64)> {
        let metrics = Arc::default();
        contents(&mut open::<S>(&self.folder, &metrics, self.complete.as_ref()).await)
    }

    fn state_bytes(&self) -> u64 {
        self.process.report();
        self.metrics.state_bytes.get()
    }
}

async fn open<S: Kept>(
    folder: &JobFolder,
    metrics: &Arc<OperatorMetrics>,
    from: Option<&OperatorSnapshot>,
) -> Process<Obey<S>, Selector> {
    let key_groups = KeyGroupRange { start: 0, end: 4 };
    let files = from.map_or(Vec::new(), |snapshot| snapshot.files.clone());
    let restore = from.map(|snapshot| OperatorRestore {
        operator: OperatorId::new("obey").unwrap(),
        key_groups,
        files: files.clone(),
        items: Vec::new(),
        watermark_ms: snapshot.watermark_ms,
    });
    let context = OperatorContext {
        operator: "obey".to_owned(),
        key_groups,
        max: MaxParallelism::new(4).unwrap(),
        metrics: Arc::clone(metrics),
        restore,
    };
    let selector: Selector = |(key, _)| key;
    let mut process = Process::new(Obey(PhantomData), Arc::new(selector), context);
    for file in &files {
        for batch in folder.read_state_file(file, key_groups).await.unwrap() {
            process.restore(file, &batch).unwrap();
        }
    }
    process.restored();
    process
}

fn records_of(elements: Vec<Element>) -> Vec<(u64, u64)> {
    let mut records = Vec::new();
    for element in elements {
        if let Element::Chunk(chunk) = element {
            records.extend(Rows::<(u64, u64)>::of(&chunk.batch).unwrap().iter());
        }
    }
    records.sort_unstable();
    records
}

fn take(process: &mut impl Transform, records: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut input = Output::<(u64, u64)>::default();
    records.iter().for_each(|record| input.push(*record));
    let mut output = Vec::new();
    for chunk in input.take_all() {
        process.on_chunk(chunk, &mut output).unwrap();
    }
    records_of(output)
}

fn fire_event_timers(process: &mut impl Transform, until: i64) -> Vec<(u64, u64)> {
    let mut output = Vec::new();
    while process.on_watermark(until, &mut output).unwrap() == Progress::More {}
    records_of(output)
}

fn fire_clock_timers(process: &mut impl Transform, until: i64) -> Vec<(u64, u64)> {
    let mut output = Vec::new();
    while process.on_wakeup(until, &mut output).unwrap() == Progress::More {}
    records_of(output)
}

fn contents(process: &mut impl Transform) -> Vec<(u64, u64)> {
    let looks: Vec<_> = (0..KEYS).map(|key| (key, LOOK)).collect();
    let mut found = take(process, &looks);
    found.extend(fire_event_timers(process, MAX_WATERMARK));
    found.extend(fire_clock_timers(process, i64::MAX));
    found.sort_unstable();
    found
}

#[derive(Debug, Clone)]
enum Step {
    Records(Vec<(u64, u64)>),
    EventTime(u64),
    ClockTime(u64),
    Checkpoint { is_written: bool, completes: bool },
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..KEYS, 0..LOOK, 0..TIMES)
        .prop_map(|(key, kind, argument)| (key, action(kind, argument)));
    prop_oneof![
        6 => proptest::collection::vec(record, 1..12).prop_map(Step::Records),
        1 => (0..TIMES).prop_map(Step::EventTime),
        1 => (0..TIMES).prop_map(|time| Step::ClockTime(CLOCK + time)),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(is_written, completes)| Step::Checkpoint {
            is_written,
            completes,
        }),
        1 => Just(Step::Restore),
    ]
}

async fn compare_with_model<S: Kept>(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::<S>::new(&folder).await;
    let (mut model, mut complete) = (Model::default(), Model::default());
    for step in steps {
        match step {
            Step::Records(records) => {
                rig.take(&records);
                model.take::<S>(&records);
            }
            Step::EventTime(until) => {
                let reached = model.watermark.max(Some(until)).unwrap();
                model.watermark = Some(reached);
                let fired = fire_event_timers(&mut rig.process, until as i64);
                assert_eq!(fired, model.fire(0..=reached));
            }
            Step::ClockTime(until) => {
                let fired = fire_clock_timers(&mut rig.process, until as i64);
                assert_eq!(fired, model.fire(CLOCK..=until));
            }
            Step::Checkpoint {
                is_written,
                completes,
            } => {
                rig.checkpoint(is_written, completes).await;
                if completes {
                    complete = model.clone();
                    assert_eq!(rig.restored_contents().await, complete.contents());
                }
            }
            Step::Restore => {
                rig.restore().await;
                model = complete.clone();
                // What is due by then waits for no other watermark.
                let due = rig.process.restored_watermark();
                let fired = due.map(|due| fire_event_timers(&mut rig.process, due));
                let due = model.watermark.map(|reached| model.fire(0..=reached));
                assert_eq!(fired.unwrap_or_default(), due.unwrap_or_default());
            }
        }
    }
    assert_eq!(contents(&mut rig.process), model.contents());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_complete_checkpoint_holds_what_the_table_held(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(compare_with_model::<ValueState<u64>>(steps.clone()));
        runtime.block_on(compare_with_model::<()>(steps));
    }
}

#[tokio::test]
async fn timers_of_an_aborted_checkpoint_are_in_the_next_one() {
    for kind in [SET_EVENT_TIMER, SET_CLOCK_TIMER] {
        let folder = tempfile::tempdir().unwrap();
        let mut rig = Rig::<()>::new(&folder).await;
        let mut model = Model::default();
        let timers = |keys: std::ops::Range<u64>| -> Vec<_> {
            keys.map(|key| (key, action(kind, 3))).collect()
        };
        for (keys, completes) in [(0..8, true), (8..KEYS, false), (0..1, true)] {
            let records = timers(keys);
            rig.take(&records);
            model.take::<()>(&records);
            rig.checkpoint(true, completes).await;
        }
        assert_eq!(rig.restored_contents().await, model.contents());
    }
}

/// Some rows more or less a key group are chance.
fn is_no_more(size: u64, before: u64) -> bool {
    size <= before + before / 4
}

/// Takes `records` again and again; what it keeps in memory must not grow after the first times.
fn churn<S: Kept>(rig: &mut Rig<S>, mut records: impl FnMut(u64) -> Vec<(u64, u64)>) {
    let mut most = 0;
    for round in 0..100 {
        rig.take(&records(round));
        let size = rig.state_bytes();
        if round < 30 {
            most = most.max(size);
        } else {
            assert!(is_no_more(size, most), "{size} bytes, {most} before");
        }
    }
}

fn timers_set_and_unset(_: u64) -> Vec<(u64, u64)> {
    let key = |at: u64| at % KEYS;
    let pair = |at| {
        let set = action(SET_EVENT_TIMER, at % TIMES);
        let unset = action(UNSET_EVENT_TIMER, at % TIMES);
        [(key(at), set), (key(at), unset)]
    };
    (0..2000).flat_map(pair).collect()
}

fn values_set_and_cleared(round: u64) -> Vec<(u64, u64)> {
    let keys = KEYS + round * 1000..KEYS + (round + 1) * 1000;
    let pair = |key| [(key, action(SET_VALUE, 1)), (key, action(CLEAR_VALUE, 0))];
    keys.flat_map(pair).collect()
}

#[tokio::test]
async fn timers_that_come_and_go_between_checkpoints_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    churn(&mut Rig::<()>::new(&folder).await, timers_set_and_unset);
    let mut rig = Rig::<ValueState<u64>>::new(&folder).await;
    churn(&mut rig, timers_set_and_unset);
}

#[tokio::test]
async fn timers_that_set_themselves_again_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::<()>::new(&folder).await;
    rig.take(&[(0, action(SET_CLOCK_TIMER, AGAIN))]);
    let mut most = 0;
    for step in 0..100 {
        let progress = rig.process.on_wakeup(i64::MAX, &mut Vec::new()).unwrap();
        assert_eq!(progress, Progress::More);
        let size = rig.state_bytes();
        if step < 30 {
            most = most.max(size);
        } else {
            assert!(is_no_more(size, most), "{size} bytes, {most} before");
        }
    }
}

#[tokio::test]
async fn keys_that_come_and_go_between_checkpoints_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::<ValueState<u64>>::new(&folder).await;
    churn(&mut rig, values_set_and_cleared);
    // The same after a checkpoint that is complete, one that is not, and a restore.
    for completes in [true, false] {
        let values: Vec<_> = (0..KEYS).map(|key| (key, action(SET_VALUE, 7))).collect();
        rig.take(&values);
        rig.checkpoint(true, completes).await;
        churn(&mut rig, values_set_and_cleared);
    }
    rig.restore().await;
    churn(&mut rig, values_set_and_cleared);
    let cleared: Vec<_> = (0..3).map(|key| (key, action(CLEAR_VALUE, 0))).collect();
    rig.take(&cleared);
    rig.checkpoint(true, true).await;
    let left: Vec<_> = (3..KEYS).map(|key| (key, VALUES + 7)).collect();
    assert_eq!(rig.restored_contents().await, left);
}

#[tokio::test]
async fn keys_of_checkpoints_that_never_complete_are_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::<ValueState<u64>>::new(&folder).await;
    let of = |kind: u64, round: u64| -> Vec<_> {
        let keys = round * 100..(round + 1) * 100;
        keys.map(|key| (key, action(kind, 1))).collect()
    };
    rig.take(&of(SET_VALUE, 0));
    rig.checkpoint(true, true).await;
    let mut sizes = Vec::new();
    for round in 1..100 {
        rig.take(&of(SET_VALUE, round));
        rig.checkpoint(round % 2 == 0, false).await;
        rig.take(&of(CLEAR_VALUE, round));
        sizes.push(rig.state_bytes());
    }
    let most = |sizes: &[u64]| sizes.iter().copied().max().unwrap();
    let (early, late) = (most(&sizes[..20]), most(&sizes[20..]));
    assert!(is_no_more(late, early), "{late} bytes, {early} before");
    rig.checkpoint(true, true).await;
    let left: Vec<_> = (0..KEYS).map(|key| (key, VALUES + 1)).collect();
    assert_eq!(rig.restored_contents().await, left);
}
