//! Operators side by side, and clocks of both kinds.
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use harness::{Collect, Committed, Job, Numbers};
use tidegate_engine::{KeyedContext, KeyedProcess, Output, Pipeline, Result, Stream};
use tokio::sync::watch;

fn numbers(total: u64) -> (watch::Sender<u64>, Numbers) {
    let (sender, limit) = watch::channel(0);
    (
        sender,
        Numbers {
            limit,
            total,
            split_count: 3,
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_used_twice_filtered_and_united_gives_what_a_loop_gives() {
    let folder = tempfile::tempdir().unwrap();
    let committed = Committed::default();
    let (limit, source) = numbers(20_000);
    let pipeline = Pipeline::new();
    let all = pipeline.source("numbers", source);
    let squares = all
        .clone()
        .filter(|number| number % 3 == 0)
        .map(|number| number * number);
    let repeated = all.flat_map::<u64>(|number, output| {
        (0..number % 4).for_each(|_| output.push(number));
    });
    let show = u64::to_string;
    squares.union(repeated).sink(
        "collect",
        Collect {
            committed: committed.clone(),
            show,
        },
    );
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    job.deploy(None, 3).await;
    limit.send_replace(10_000);
    let manifest = job.trigger(false).await;
    job.complete(&manifest).await;
    job.cancel().await;
    job.deploy(Some(&manifest), 2).await;
    limit.send_replace(u64::MAX);
    job.wait_ended().await;
    let last = job.trigger(false).await;
    job.complete(&last).await;
    job.shutdown().await;
    let mut expected: Vec<_> = (0..20_000_u64)
        .flat_map(|number| {
            let square = (number % 3 == 0).then(|| number * number);
            square
                .into_iter()
                .chain((0..number % 4).map(move |_| number))
        })
        .map(|number| number.to_string())
        .collect();
    expected.sort();
    assert_eq!(committed.records(), expected);
}

/// Gives each number on.
#[derive(Clone)]
struct Pass;

impl KeyedProcess for Pass {
    type Key = u64;
    type Input = u64;
    type Output = u64;
    type State = ();

    fn process(
        &mut self,
        number: u64,
        _: &mut KeyedContext<'_, u64, ()>,
        output: &mut Output<u64>,
    ) -> Result<()> {
        output.push(number);
        Ok(())
    }
}

/// Ids of source, operators and sink, where a stream is named after each of them.
fn named(after_source: bool, after_map: bool, after_process: bool) -> Result<Vec<String>> {
    let name = |stream: Stream<u64>, is_named: bool| match is_named {
        true => stream.named("other"),
        false => stream,
    };
    let pipeline = Pipeline::new();
    let stream = pipeline.source("numbers", numbers(1).1);
    let stream = name(stream, after_source).map(|number| number);
    let stream = name(stream, after_map).key_by::<u64>(|number| number);
    let collect = Collect {
        committed: Committed::default(),
        show: u64::to_string,
    };
    name(stream.process("pass", Pass), after_process).sink("collect", collect);
    let nodes = pipeline.build()?.describe();
    Ok(nodes.into_iter().map(|node| node.id.to_string()).collect())
}

#[test]
fn an_id_that_checkpoints_know_an_operator_by_cannot_be_replaced_by_a_name() {
    let ids = named(false, true, false).unwrap();
    assert_eq!(ids, ["numbers", "other", "pass", "collect"]);
    let error = named(true, false, false).unwrap_err().to_string();
    assert!(
        error.contains("`numbers`") && error.contains("`other`"),
        "{error}"
    );
    let error = named(false, true, true).unwrap_err().to_string();
    assert!(error.contains("`pass`"), "{error}");
}

/// Sets a timer by the machine's clock for each number, so long after it came.
#[derive(Clone)]
struct Alarm {
    delay_ms: i64,
}

impl KeyedProcess for Alarm {
    type Key = u64;
    type Input = u64;
    type Output = u64;
    type State = ();

    fn process(
        &mut self,
        _: u64,
        context: &mut KeyedContext<'_, u64, ()>,
        _: &mut Output<u64>,
    ) -> Result<()> {
        context.set_processing_timer_ms(context.processing_time_ms() + self.delay_ms);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        context: &mut KeyedContext<'_, u64, ()>,
        output: &mut Output<u64>,
    ) -> Result<()> {
        output.push(context.key());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_by_the_machine_s_clock_survive_and_fire_once() {
    for delay_ms in [200, 2_000, 20_000] {
        if have_timers_survived(delay_ms).await {
            return;
        }
    }
    panic!("a checkpoint takes longer than any delay");
}

/// Whether a checkpoint held all timers, so that there was something to survive.
async fn have_timers_survived(delay_ms: i64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let committed = Committed::default();
    let (limit, source) = numbers(1000);
    let pipeline = Pipeline::new();
    let alarms = pipeline
        .source("numbers", source)
        .key_by::<u64>(|number| number);
    let show = |number: &u64| format!("{number:03}");
    alarms.process("alarm", Alarm { delay_ms }).sink(
        "collect",
        Collect {
            committed: committed.clone(),
            show,
        },
    );
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    job.deploy(None, 2).await;
    limit.send_replace(100);
    job.wait_records("alarm", 100).await;
    let manifest = job.trigger(false).await;
    job.complete(&manifest).await;
    job.cancel().await;
    if !committed.records().is_empty() {
        job.shutdown().await;
        return false;
    }
    job.deploy(Some(&manifest), 3).await;
    let expected: Vec<_> = (0..100).map(|number| format!("{number:03}")).collect();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while committed.records().len() < expected.len() {
        assert!(
            std::time::Instant::now() < deadline,
            "{} fired",
            committed.records().len()
        );
        let manifest = job.trigger(false).await;
        job.complete(&manifest).await;
    }
    assert_eq!(committed.records(), expected);
    job.shutdown().await;
    true
}
