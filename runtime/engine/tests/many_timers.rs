//! Timers that fire without end, and what gets through meanwhile.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;
#[allow(dead_code, reason = "each test file uses its own part")]
mod script;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{Collect, Committed, Job, Numbers};
use script::{Script, Scripted, Seen};
use tidegate_engine::{
    JobGraph, KeyedContext, KeyedProcess, Output, Pipeline, Result, WatermarkStrategy,
};
use tidegate_protocol::Manifest;
use tokio::sync::watch;

const TOTAL: u64 = 5000;

/// Sets a timer for each number to the end of input, and one that sets itself again and again.
#[derive(Clone)]
struct Storm {
    is_over: Arc<AtomicBool>,
    is_event_time: bool,
}

impl KeyedProcess for Storm {
    type Key = u64;
    type Input = u64;
    type Output = u64;
    type State = ();

    fn process(
        &mut self,
        number: u64,
        context: &mut KeyedContext<'_, u64, ()>,
        _: &mut Output<u64>,
    ) -> Result<()> {
        context.set_event_timer_ms(1_000_000 + number.cast_signed());
        self.set_again(context);
        Ok(())
    }

    fn on_timer(
        &mut self,
        time_ms: i64,
        context: &mut KeyedContext<'_, u64, ()>,
        output: &mut Output<u64>,
    ) -> Result<()> {
        match u64::try_from(time_ms - 1_000_000) {
            Ok(number) if number < TOTAL => output.push(number),
            _ if self.is_over.load(Ordering::Relaxed) => {}
            _ => self.set_again(context),
        }
        Ok(())
    }
}

impl Storm {
    fn set_again(&self, context: &mut KeyedContext<'_, u64, ()>) {
        match self.is_event_time {
            true => context.set_end_of_input_timer(),
            false => context.set_processing_timer_ms(context.processing_time_ms()),
        }
    }
}

fn storm(is_event_time: bool) -> (JobGraph, Committed, watch::Sender<u64>, Arc<AtomicBool>) {
    let committed = Committed::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let (sender, limit) = watch::channel(0);
    let source = Numbers {
        limit,
        total: TOTAL,
        split_count: 2,
    };
    let pipeline = Pipeline::new();
    let strategy = WatermarkStrategy::bounded_out_of_orderness_ms(0);
    let numbers = pipeline
        .source("numbers", source)
        .assign_timestamps(strategy, |number| number.cast_signed());
    let storm = Storm {
        is_over: Arc::clone(&is_over),
        is_event_time,
    };
    let show = |number: &u64| format!("{number:04}");
    numbers
        .key_by::<u64>(|number| number % 3)
        .process("storm", storm)
        .sink(
            "collect",
            Collect {
                committed: committed.clone(),
                show,
            },
        );
    (pipeline.build().unwrap(), committed, sender, is_over)
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_stops_and_cancellation_get_through_while_timers_fire_without_end() {
    for is_event_time in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (graph, committed, limit, is_over) = storm(is_event_time);
        let mut job = Job::new(graph, folder.path()).await;
        job.deploy(None, 1).await;
        limit.send_replace(TOTAL);
        job.wait_records("storm", TOTAL).await;
        let manifest = job.trigger(false).await;
        job.complete(&manifest).await;
        let manifest = job.trigger(false).await;
        job.complete(&manifest).await;
        job.cancel().await;
        job.deploy(Some(&manifest), 2).await;
        let manifest = job.trigger(true).await;
        job.complete(&manifest).await;
        job.cancel().await;
        is_over.store(true, Ordering::Relaxed);
        job.deploy(Some(&manifest), 1).await;
        job.wait_ended().await;
        let last = job.trigger(false).await;
        job.complete(&last).await;
        let expected: Vec<_> = (0..TOTAL).map(|number| format!("{number:04}")).collect();
        assert_eq!(committed.records(), expected);
        job.shutdown().await;
    }
}

/// Has a timer of each number's key fire, again and again while told to.
#[derive(Clone)]
struct Burst {
    holds: Arc<AtomicBool>,
}

impl KeyedProcess for Burst {
    type Key = i64;
    type Input = i64;
    type Output = String;
    type State = ();

    fn process(
        &mut self,
        _: i64,
        context: &mut KeyedContext<'_, i64, ()>,
        output: &mut Output<String>,
    ) -> Result<()> {
        output.push(&format!("took {}", context.key()));
        context.set_event_timer_ms(50);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        context: &mut KeyedContext<'_, i64, ()>,
        output: &mut Output<String>,
    ) -> Result<()> {
        if self.holds.load(Ordering::Relaxed) {
            output.push(&format!("holds {}", context.key()));
            context.set_event_timer_ms(51);
        } else {
            output.push(&format!("ends {}", context.key()));
        }
        Ok(())
    }
}

/// Gives what it takes, and tells when event time has reached a half.
#[derive(Clone)]
struct Half(i64);

impl KeyedProcess for Half {
    type Key = u8;
    type Input = String;
    type Output = String;
    type State = ();

    fn process(
        &mut self,
        text: &str,
        context: &mut KeyedContext<'_, u8, ()>,
        output: &mut Output<String>,
    ) -> Result<()> {
        context.set_event_timer_ms(self.0);
        output.push(text);
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: i64,
        _: &mut KeyedContext<'_, u8, ()>,
        output: &mut Output<String>,
    ) -> Result<()> {
        output.push(&format!("reached {time}"));
        Ok(())
    }
}

fn watermark_of(manifest: &Manifest, operator: &str) -> Option<i64> {
    let mut operators = manifest.operators.iter();
    let state = operators.find(|state| state.operator.as_str() == operator);
    state.unwrap().subtasks[0].watermark_ms
}

/// A barrier overtakes a watermark there. Its checkpoint holds that one as well, since the source
/// never says it again.
#[tokio::test(flavor = "multi_thread")]
async fn timers_that_were_due_at_a_checkpoint_fire_before_anything_else_and_time_goes_on_from_them()
{
    for is_stop in [false, true] {
        due_timers(is_stop).await;
    }
}

async fn due_timers(is_stop: bool) {
    let folder = tempfile::tempdir().unwrap();
    let (script, seen, other) = (Script::in_turn(2), Seen::default(), Seen::default());
    let holds = Arc::new(AtomicBool::new(true));
    let pipeline = Pipeline::new();
    let strategy = WatermarkStrategy::bounded_out_of_orderness_ms(0);
    let times = pipeline
        .source("a", Scripted(script.clone()))
        .assign_timestamps(strategy, |time| time);
    let burst = Burst {
        holds: Arc::clone(&holds),
    };
    let burst = times
        .clone()
        .key_by::<i64>(|time| time)
        .process("burst", burst);
    let behind = burst.key_by::<u8>(|_| 0).process("behind", Half(500));
    behind.sink("seen", seen.clone());
    let texts = times.map(|time: i64| time.to_string());
    let beside = texts.key_by::<u8>(|_| 0).process("beside", Half(500));
    beside.sink("other", other.clone());
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    // Read in turn: time reaches the timers with the last of them.
    script.say(0, [7, 100]);
    script.say(1, [1000]);
    job.deploy(None, 1).await;
    seen.wait_for("holds 7").await;
    script.end(0);
    other.wait_for("reached 500").await;
    let manifest = job.trigger(is_stop).await;
    assert_eq!(watermark_of(&manifest, "burst"), Some(999));
    assert_eq!(watermark_of(&manifest, "behind"), Some(6));
    // A job that stops fires no timers after its last barrier.
    holds.store(!is_stop, Ordering::Relaxed);
    job.complete(&manifest).await;
    job.cancel().await;
    assert_eq!(seen.count("ends"), 0);
    assert_eq!(seen.count("reached"), 0);
    holds.store(false, Ordering::Relaxed);
    script.say(1, [7]);
    job.deploy(Some(&manifest), 1).await;
    seen.wait_for("reached 500").await;
    seen.wait_for_more("took 7", 1).await;
    assert!(seen.places("ends 7")[0] < seen.places("took 7")[1]);
    job.shutdown().await;
}
