//! A running count for each of many random 64-bit keys: generator, exchange, keyed state, and one
//! record out for each record in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tidegate::prelude::ValueState;
use tidegate::{KeyedContext, KeyedProcess, Output, run_job};
use tidegate_connectors::{Generator, mix};

use crate::job;

/// Counts are compared with what the generator drew.
#[derive(Clone)]
struct Count;

impl KeyedProcess for Count {
    type Key = u64;
    type Input = u64;
    type Output = (u64, u64);
    type State = ValueState<u64>;

    #[inline]
    fn process(
        &mut self,
        key: u64,
        context: &mut KeyedContext<'_, u64, ValueState<u64>>,
        output: &mut Output<(u64, u64)>,
    ) -> tidegate::Result<()> {
        let count = context.state.get().unwrap_or(0) + 1;
        context.state.set(count);
        output.push((key, count));
        Ok(())
    }
}

/// Each key has come this often, on average, before the measurement begins: nearly all of them are
/// in the state by then.
const WARM_UP_ROUNDS: u64 = 6;
const WARM_UP: Duration = Duration::from_millis(1500);
const MEASURE: Duration = Duration::from_secs(6);
const DEADLINE: Duration = Duration::from_secs(120);

/// Records a second, with a checkpoint each second or none.
pub(crate) fn measure(key_count: u64, has_checkpoints: bool) -> Result<f64> {
    let folder = job::scratch()?;
    let config = job::config(&folder, has_checkpoints.then_some(1000))?;
    let (sink, records) = job::Counted::new();
    let generator = Generator::new(move |index, output: &mut tidegate::SourceOutput<u64>| {
        // One of `key_count` numbers, scrambled into a key of 64 bits.
        let drawn = ((u128::from(mix(index)) * u128::from(key_count)) >> 64) as u64;
        output.push(drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    });
    let graph = job::graph(|pipeline| {
        let stream = pipeline
            .source("generator", generator)
            .key_by::<u64>(|key| key);
        stream.process("count", Count).sink("discard", sink);
    })?;
    let job = std::thread::spawn(move || run_job(&config, graph));
    let start = Instant::now();
    wait(&records, key_count * WARM_UP_ROUNDS, start)?;
    std::thread::sleep(WARM_UP.saturating_sub(start.elapsed()));
    let (from, begin) = (records.load(Ordering::Relaxed), Instant::now());
    std::thread::sleep(MEASURE);
    let rate = (records.load(Ordering::Relaxed) - from) as f64 / begin.elapsed().as_secs_f64();
    anyhow::ensure!(!job.is_finished(), "the job ended before it was measured");
    Ok(rate)
}

/// Waits until so many records came out.
pub(crate) fn wait(records: &AtomicU64, count: u64, start: Instant) -> Result<()> {
    while records.load(Ordering::Relaxed) < count {
        let is_late = start.elapsed() > DEADLINE;
        (!is_late)
            .then_some(())
            .context("the job is far slower than it should be")?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
