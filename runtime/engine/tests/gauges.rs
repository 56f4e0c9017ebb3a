//! What subtasks count, over a change of parallelism.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;

use std::time::{Duration, Instant};

use harness::{Collect, Committed, Job, Numbers};
use tidegate_engine::state::ValueState;
use tidegate_engine::{
    JobGraph, KeyedContext, KeyedProcess, OperatorMetrics, Output, Pipeline, Result,
    WatermarkStrategy,
};
use tokio::sync::watch;

const NUMBER_COUNT: u64 = 400;

/// Keeps every number, with a timer that is never due.
#[derive(Clone)]
struct Keep;

impl KeyedProcess for Keep {
    type Key = u64;
    type Input = u64;
    type Output = String;
    type State = ValueState<u64>;

    fn process(
        &mut self,
        number: u64,
        context: &mut KeyedContext<'_, u64, ValueState<u64>>,
        _: &mut Output<String>,
    ) -> Result<()> {
        context.state.set(number);
        context.set_event_timer_ms(i64::MAX - 1);
        Ok(())
    }
}

fn graph(limit: watch::Receiver<u64>) -> JobGraph {
    let pipeline = Pipeline::new();
    let source = Numbers {
        limit,
        total: 2 * NUMBER_COUNT,
        split_count: 1,
    };
    let times = WatermarkStrategy::bounded_out_of_orderness_ms(0);
    let numbers = pipeline.source("numbers", source);
    numbers
        .assign_timestamps(times, |number| number as i64)
        .key_by::<u64>(|number| number)
        .process("keep", Keep)
        .sink(
            "collect",
            Collect {
                committed: Committed::default(),
                show: Clone::clone,
            },
        );
    pipeline.build().unwrap()
}

/// Of each subtask of the operator, in order.
fn of_keep<T>(job: &Job, read: impl Fn(&OperatorMetrics) -> T) -> Vec<T> {
    let all = job.metrics();
    let own = all.iter().filter(|it| it.operator.as_str() == "keep");
    own.map(|it| read(&it.metrics)).collect()
}

fn gauges(metrics: &OperatorMetrics) -> [u64; 4] {
    let gauges = [
        &metrics.state_keys,
        &metrics.state_bytes,
        &metrics.timers,
        &metrics.watermark_ms,
    ];
    gauges.map(tidegate_engine::Count::get)
}

/// Takes checkpoints until the gauges are as wanted: subtasks tell them now and then, as they work.
async fn wait_for_gauges(job: &mut Job, wanted: impl Fn(&[[u64; 4]]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !wanted(&of_keep(job, gauges)) {
        assert!(Instant::now() < deadline, "{:?}", of_keep(job, gauges));
        job.trigger(false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescale_to_fewer_leaves_no_gauge_of_a_subtask_that_is_gone_and_every_counter() {
    let folder = tempfile::tempdir().unwrap();
    let (_limit, limited) = watch::channel(NUMBER_COUNT);
    let mut job = Job::new(graph(limited), folder.path()).await;
    job.deploy(None, 4).await;
    job.wait_records("keep", NUMBER_COUNT).await;
    wait_for_gauges(&mut job, |all| all.iter().flatten().all(|gauge| *gauge > 0)).await;
    let counted = of_keep(&job, |metrics| metrics.records_in.get());
    assert_eq!(counted.len(), 4);

    let manifest = job.trigger(false).await;
    job.cancel().await;
    job.deploy(Some(&manifest), 1).await;
    assert_eq!(of_keep(&job, gauges)[1..], [[0; 4]; 3]);
    assert_eq!(of_keep(&job, |metrics| metrics.records_in.get()), counted);
    // All keys are those of the one that is left.
    wait_for_gauges(&mut job, |all| all[0][0] == NUMBER_COUNT).await;
    assert_eq!(of_keep(&job, gauges)[1..], [[0; 4]; 3]);
    job.shutdown().await;
}
