//! Keyed state, timers and output through checkpoints, failures and changes of parallelism, against
//! a batch computation of the same input.
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::collections::{BTreeMap, BTreeSet};

use harness::{Collect, Committed, Job, Numbers};
use proptest::prelude::*;
use tidegate_engine::state::{
    Column, ListState, MapState, Max, ReducingState, State, StateColumns, StateKind, ValueState,
};
use tidegate_engine::{
    JobGraph, KeyedContext, KeyedProcess, Output, Pipeline, Result, WatermarkStrategy,
};
use tokio::sync::watch;

const KEYS: u64 = 37;

/// One of each kind of state.
struct AllKinds;

#[derive(Default)]
struct AllColumns {
    count: Column<ValueState<u64>>,
    greatest: Column<ReducingState<Max<u64>>>,
    list: Column<ListState<u64>>,
    map: Column<MapState<String, u64>>,
}

struct AllRow<'a> {
    count: <ValueState<u64> as StateKind>::Cell<'a>,
    greatest: <ReducingState<Max<u64>> as StateKind>::Cell<'a>,
    list: <ListState<u64> as StateKind>::Cell<'a>,
    map: <MapState<String, u64> as StateKind>::Cell<'a>,
}

impl State for AllKinds {
    type Columns = AllColumns;
    type Row<'a> = AllRow<'a>;

    fn row(columns: &mut AllColumns, row: u32) -> AllRow<'_> {
        AllRow {
            count: tidegate_engine::state::cell(&mut columns.count, row),
            greatest: tidegate_engine::state::cell(&mut columns.greatest, row),
            list: tidegate_engine::state::cell(&mut columns.list, row),
            map: tidegate_engine::state::cell(&mut columns.map, row),
        }
    }
}

impl StateColumns for AllColumns {
    const NAMES: &'static [&'static str] = &["count", "greatest", "list", "map"];

    fn all(&self) -> Vec<&dyn tidegate_engine::state::AnyColumn> {
        vec![&self.count, &self.greatest, &self.list, &self.map]
    }

    fn all_mut(&mut self) -> Vec<&mut dyn tidegate_engine::state::AnyColumn> {
        vec![
            &mut self.count,
            &mut self.greatest,
            &mut self.list,
            &mut self.map,
        ]
    }
}

fn key_of(number: u64) -> String {
    format!("key {}", number * number % KEYS)
}

/// What a key's numbers come to: sets, changes and removes state of every kind.
#[derive(Clone)]
struct Fold;

impl KeyedProcess for Fold {
    type Key = String;
    type Input = (String, u64);
    type Output = String;
    type State = AllKinds;

    fn process(
        &mut self,
        (_, number): (&str, u64),
        context: &mut KeyedContext<'_, String, AllKinds>,
        output: &mut Output<String>,
    ) -> Result<()> {
        if number % 5 == 4 {
            // Once its last timer has fired, the key is gone for good, unless it comes again.
            context.state.count.clear();
            context.state.greatest.clear();
            context.state.list.clear();
            context.state.map.clear();
            context.remove_event_timer_ms(i64::MAX);
            return Ok(());
        }
        context.set_end_of_input_timer();
        context.set_event_timer_ms((number as i64 / 50 + 1) * 50);
        if number % 11 == 3 {
            // Some of the key's states start anew.
            context.state.count.clear();
            context.state.list.clear();
            output.push(&format!("{} cleared at {number}", context.key()));
            return Ok(());
        }
        context.state.count.update(|count| *count += 1);
        context.state.greatest.add(number);
        context.state.list.push(number);
        let place = format!("{}", number % 5);
        let sum = context.state.map.get(&place).copied().unwrap_or(0);
        if number % 7 == 0 {
            context.state.map.remove(&place);
        } else {
            context.state.map.insert(place, sum + number);
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        time_ms: i64,
        context: &mut KeyedContext<'_, String, AllKinds>,
        output: &mut Output<String>,
    ) -> Result<()> {
        if time_ms != i64::MAX {
            output.push(&format!("{} at {time_ms}", context.key()));
            return Ok(());
        }
        let key = context.key().to_owned();
        let map: Vec<_> = context.state.map.entries().collect();
        let text = format!(
            "{key}: {:?} {:?} {:?} {map:?}",
            context.state.count.get(),
            context.state.greatest.get(),
            context.state.list.items(),
        );
        output.push(&text);
        Ok(())
    }
}

fn pipeline(
    limit: watch::Receiver<u64>,
    total: u64,
    split_count: u64,
    committed: &Committed,
) -> JobGraph {
    let pipeline = Pipeline::new();
    let times = WatermarkStrategy::bounded_out_of_orderness_ms(10);
    pipeline
        .source(
            "numbers",
            Numbers {
                limit,
                total,
                split_count,
            },
        )
        .assign_timestamps(times, |number| number as i64)
        .map(|number| (key_of(number), number))
        .key_by::<String>(|(key, _)| key)
        .process("fold", Fold)
        .sink(
            "collect",
            Collect {
                committed: committed.clone(),
                show: Clone::clone,
            },
        );
    pipeline.build().unwrap()
}

/// The same by a plain loop. One split only, since the order of a key's numbers matters.
fn expected(total: u64) -> Vec<String> {
    type Kept = (Option<u64>, Option<u64>, Vec<u64>, BTreeMap<String, u64>);
    let mut states: BTreeMap<String, Kept> = BTreeMap::new();
    let mut timers = BTreeSet::new();
    let mut records = Vec::new();
    for number in 0..total {
        let key = key_of(number);
        if number % 5 == 4 {
            states.remove(&key);
            continue;
        }
        let (count, greatest, list, map) = states.entry(key.clone()).or_default();
        timers.insert((key.clone(), (number / 50 + 1) * 50));
        if number % 11 == 3 {
            (*count, *list) = (None, Vec::new());
            records.push(format!("{key} cleared at {number}"));
            continue;
        }
        *count = Some(count.unwrap_or(0) + 1);
        *greatest = (*greatest).max(Some(number));
        list.push(number);
        let place = format!("{}", number % 5);
        if number % 7 == 0 {
            map.remove(&place);
        } else {
            *map.entry(place).or_default() += number;
        }
    }
    records.extend(
        timers
            .into_iter()
            .map(|(key, time)| format!("{key} at {time}")),
    );
    for (key, (count, greatest, list, map)) in states {
        let map: Vec<_> = map.iter().collect();
        records.push(format!("{key}: {count:?} {greatest:?} {list:?} {map:?}"));
    }
    records.sort();
    records
}

/// What happens at one point of a run.
#[derive(Debug, Clone)]
struct Step {
    read: u64,
    parallelism: u32,
    /// The checkpoint is taken once everything was read; else somewhere under way.
    waits: bool,
    /// The snapshot is durable but its checkpoint never completes.
    is_aborted: bool,
    /// The attempt fails right after, and goes on from the last complete checkpoint.
    fails: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let aborts = proptest::bool::weighted(0.3);
    (0_u64..400, 1_u32..=16, any::<bool>(), aborts, any::<bool>()).prop_map(
        |(read, parallelism, waits, is_aborted, fails)| Step {
            read,
            parallelism,
            waits,
            is_aborted,
            fails,
        },
    )
}

/// Takes a job through these steps, up to where the rest of its input may come.
async fn go_through(
    steps: &[Step],
    job: &mut Job,
    operator: &str,
    limit: &watch::Sender<u64>,
    total: u64,
) {
    let mut last = None;
    job.deploy(None, steps.first().map_or(1, |step| step.parallelism))
        .await;
    let mut read = 0;
    for step in steps {
        read += step.read;
        limit.send_replace(read.min(total));
        if step.waits {
            job.wait_records(operator, read.min(total)).await;
        }
        let manifest = job.trigger(false).await;
        if !step.is_aborted {
            job.complete(&manifest).await;
            last = Some(manifest);
        }
        if step.fails {
            job.cancel().await;
            job.deploy(last.as_ref(), step.parallelism).await;
        }
    }
}

async fn end(mut job: Job, limit: &watch::Sender<u64>) {
    limit.send_replace(u64::MAX);
    job.wait_ended().await;
    let manifest = job.trigger(false).await;
    job.complete(&manifest).await;
    job.shutdown().await;
}

async fn run(steps: &[Step], total: u64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let committed = Committed::default();
    let (limit, limited) = watch::channel(0);
    let mut job = Job::new(pipeline(limited, total, 1, &committed), folder.path()).await;
    go_through(steps, &mut job, "fold", &limit, total).await;
    end(job, &limit).await;
    committed.records()
}

/// Keeps nothing but timers: one by the clock a moment ahead and one by event time for each number,
/// but none by the clock for the last, so that the input does not end before all have fired.
#[derive(Clone)]
struct TimersOnly {
    last: u64,
}

impl KeyedProcess for TimersOnly {
    type Key = u64;
    type Input = u64;
    type Output = String;
    type State = ();

    fn process(
        &mut self,
        number: u64,
        context: &mut KeyedContext<'_, u64, ()>,
        _: &mut Output<String>,
    ) -> Result<()> {
        if !number.is_multiple_of(3) {
            context.set_event_timer_ms((number as i64 / 50 + 1) * 50);
        }
        if number % 3 != 1 && number != self.last {
            context.set_processing_timer_ms(context.processing_time_ms() + number as i64 % 64);
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        time_ms: i64,
        context: &mut KeyedContext<'_, u64, ()>,
        output: &mut Output<String>,
    ) -> Result<()> {
        let is_by_clock = time_ms > 1_000_000;
        let clock = if is_by_clock { "clock" } else { "event time" };
        output.push(&format!("{clock} {}", context.key()));
        Ok(())
    }
}

async fn run_timers(steps: &[Step], total: u64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let committed = Committed::default();
    let (limit, limited) = watch::channel(0);
    let pipeline = Pipeline::new();
    let numbers = Numbers {
        limit: limited,
        total,
        split_count: 1,
    };
    let times = WatermarkStrategy::bounded_out_of_orderness_ms(10);
    let sink = Collect {
        committed: committed.clone(),
        show: Clone::clone,
    };
    let timers = TimersOnly { last: total - 1 };
    pipeline
        .source("numbers", numbers)
        .assign_timestamps(times, |number| number as i64)
        .key_by::<u64>(|number| number)
        .process("timers", timers)
        .sink("collect", sink);
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    go_through(steps, &mut job, "timers", &limit, total - 1).await;
    limit.send_replace(total - 1);
    let by_clock = expected_timers(total);
    let by_clock = by_clock
        .iter()
        .filter(|text| text.starts_with("clock"))
        .count();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let manifest = job.trigger(false).await;
        job.complete(&manifest).await;
        let records = committed.records();
        let fired = records
            .iter()
            .filter(|text| text.starts_with("clock"))
            .count();
        if fired >= by_clock {
            break;
        }
        let is_late = std::time::Instant::now() > deadline;
        assert!(!is_late, "{fired} of {by_clock} timers fired");
    }
    end(job, &limit).await;
    committed.records()
}

fn expected_timers(total: u64) -> Vec<String> {
    let by_event_time = (0..total).filter(|number| !number.is_multiple_of(3));
    let by_clock = (0..total - 1).filter(|number| number % 3 != 1);
    let mut records: Vec<_> = by_event_time
        .map(|number| format!("event time {number}"))
        .chain(by_clock.map(|number| format!("clock {number}")))
        .collect();
    records.sort();
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_failure_and_no_change_of_parallelism_loses_or_doubles_anything(
        steps in proptest::collection::vec(step(), 1..7)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let records = runtime.block_on(run(&steps, 1500));
        prop_assert_eq!(records, expected(1500));
    }

    #[test]
    fn no_timer_of_an_operator_without_states_is_lost_or_fires_twice(
        steps in proptest::collection::vec(step(), 1..5)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let records = runtime.block_on(run_timers(&steps, 900));
        prop_assert_eq!(records, expected_timers(900));
    }
}
