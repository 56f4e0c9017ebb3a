//! Watermarks of sources that are silent, busy, read in sequence, or restored half-way.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;
#[allow(dead_code, reason = "each test file uses its own part")]
mod script;

use std::time::{Duration, Instant};

use harness::Job;
use script::{Script, Scripted, Seen};
use tidegate_engine::{
    KeyedContext, KeyedProcess, Output, Pipeline, Result, Stream, WatermarkStrategy,
};

const IDLE_AFTER: Duration = Duration::from_millis(50);

/// Shows each record, whether it is late, and the event timer that is set to its time.
#[derive(Clone)]
struct Echo;

impl KeyedProcess for Echo {
    type Key = u8;
    type Input = i64;
    type Output = String;
    type State = ();

    fn process(
        &mut self,
        time: i64,
        context: &mut KeyedContext<'_, u8, ()>,
        output: &mut Output<String>,
    ) -> Result<()> {
        let is_late = context
            .watermark_ms()
            .is_some_and(|watermark| watermark >= time);
        output.push(&format!("{} {time}", if is_late { "late" } else { "took" }));
        context.set_event_timer_ms(time);
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: i64,
        _: &mut KeyedContext<'_, u8, ()>,
        output: &mut Output<String>,
    ) -> Result<()> {
        output.push(&format!("fired {time}"));
        Ok(())
    }
}

/// Gives what it takes.
#[derive(Clone)]
struct Same;

impl KeyedProcess for Same {
    type Key = u8;
    type Input = i64;
    type Output = i64;
    type State = ();

    fn process(
        &mut self,
        time: i64,
        _: &mut KeyedContext<'_, u8, ()>,
        output: &mut Output<i64>,
    ) -> Result<()> {
        output.push(time);
        Ok(())
    }
}

/// Shows what is late. Its first record keeps it longer than a split may be silent.
#[derive(Clone)]
struct SlowToStart {
    is_warm: bool,
}

impl KeyedProcess for SlowToStart {
    type Key = u8;
    type Input = i64;
    type Output = String;
    type State = ();

    fn process(
        &mut self,
        time: i64,
        context: &mut KeyedContext<'_, u8, ()>,
        output: &mut Output<String>,
    ) -> Result<()> {
        let start = Instant::now();
        while !self.is_warm && start.elapsed() < 4 * IDLE_AFTER {
            std::thread::park_timeout(IDLE_AFTER);
        }
        self.is_warm = true;
        let watermark = context.watermark_ms();
        if watermark.is_some_and(|watermark| watermark >= time) {
            output.push(&format!("late {time}"));
        }
        Ok(())
    }
}

fn in_order() -> WatermarkStrategy {
    WatermarkStrategy::bounded_out_of_orderness_ms(0)
}

fn source(
    pipeline: &Pipeline,
    id: &str,
    script: &Script,
    strategy: WatermarkStrategy,
) -> Stream<i64> {
    let source = pipeline.source(id, Scripted(script.clone()));
    source.assign_timestamps(strategy, |time| time)
}

async fn job(pipeline: Pipeline, times: Stream<i64>, folder: &tempfile::TempDir) -> (Job, Seen) {
    let seen = Seen::default();
    let echo = times.key_by::<u8>(|_| 0).process("echo", Echo);
    echo.sink("seen", seen.clone());
    (
        Job::new(pipeline.build().unwrap(), folder.path()).await,
        seen,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_silent_from_the_start_or_from_a_restart_holds_nothing_back_once_idle() {
    let folder = tempfile::tempdir().unwrap();
    let (talks, silent) = (Script::in_turn(1), Script::in_turn(1));
    let strategy = in_order().with_idle_after_ms(50);
    let pipeline = Pipeline::new();
    let both =
        source(&pipeline, "a", &talks, strategy).union(source(&pipeline, "b", &silent, strategy));
    let (mut job, seen) = job(pipeline, both, &folder).await;
    job.deploy(None, 1).await;
    talks.say(0, [100, 200]);
    seen.wait_for("fired 100").await;
    silent.say(0, [150]);
    seen.wait_for("late 150").await;
    let manifest = job.trigger(false).await;
    job.complete(&manifest).await;
    job.cancel().await;
    job.deploy(Some(&manifest), 1).await;
    talks.say(0, [300, 400]);
    seen.wait_for("fired 300").await;
    job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_read_splits_that_meet_in_one_subtask_make_no_record_late() {
    let folder = tempfile::tempdir().unwrap();
    let files = Script::in_sequence(2);
    let pipeline = Pipeline::new();
    let times = source(&pipeline, "files", &files, in_order());
    let (mut job, seen) = job(pipeline, times, &folder).await;
    job.deploy(None, 2).await;
    for split in 0..2 {
        files.say(split, (0..50).map(|step| step * 2 + split as i64));
    }
    job.wait_records("echo", 100).await;
    let manifest = job.trigger(false).await;
    job.complete(&manifest).await;
    job.cancel().await;
    for split in 0..2 {
        files.say(split, (50..100).map(|step| step * 2 + split as i64));
        files.end(split);
    }
    job.deploy(Some(&manifest), 1).await;
    job.wait_ended().await;
    assert_eq!(seen.count("late"), 0);
    assert_eq!(seen.count("took"), 200);
    assert_eq!(seen.count("fired"), 200);
    job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_waits_for_its_turn_holds_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let files = Script::in_sequence(2);
    let pipeline = Pipeline::new();
    let times = source(&pipeline, "files", &files, in_order());
    let (mut job, seen) = job(pipeline, times, &folder).await;
    job.deploy(None, 1).await;
    files.say(0, [100, 200]);
    seen.wait_for("fired 100").await;
    let manifest = job.trigger(false).await;
    job.complete(&manifest).await;
    job.cancel().await;
    job.deploy(Some(&manifest), 1).await;
    files.say(0, [300]);
    seen.wait_for("fired 200").await;
    files.say(1, [250]);
    files.end(0);
    seen.wait_for("late 250").await;
    job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_split_whose_records_are_all_filtered_out_holds_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::in_turn(2);
    let pipeline = Pipeline::new();
    let wanted = pipeline
        .source("a", Scripted(script.clone()))
        .filter(|time| time >= 0);
    let times = wanted.assign_timestamps(in_order(), |time| time);
    let (mut job, seen) = job(pipeline, times, &folder).await;
    job.deploy(None, 1).await;
    script.say(1, [-1]);
    script.say(0, [100, 200]);
    seen.wait_for("fired 100").await;
    let manifest = job.trigger(false).await;
    job.complete(&manifest).await;
    job.cancel().await;
    job.deploy(Some(&manifest), 1).await;
    script.say(1, [-2]);
    script.say(0, [300, 400]);
    seen.wait_for("fired 300").await;
    job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_given_after_a_union_or_an_exchange_go_on_when_a_split_has_ended() {
    for is_exchanged in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (files, other) = (Script::in_sequence(2), Script::in_turn(1));
        let pipeline = Pipeline::new();
        let first = pipeline.source("files", Scripted(files.clone()));
        let united = match is_exchanged {
            true => first.key_by::<u8>(|_| 0).process("same", Same),
            false => first.union(pipeline.source("other", Scripted(other.clone()))),
        };
        let times = united.assign_timestamps(in_order(), |time| time);
        let (mut job, seen) = job(pipeline, times, &folder).await;
        job.deploy(None, 1).await;
        files.say(0, [100]);
        files.end(0);
        seen.wait_for("took 100").await;
        files.say(1, [200, 300]);
        seen.wait_for("fired 200").await;
        job.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_falls_idle_while_another_of_its_subtask_is_never_silent() {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::in_turn(2);
    let pipeline = Pipeline::new();
    let times = source(&pipeline, "a", &script, in_order().with_idle_after_ms(50));
    let (mut job, seen) = job(pipeline, times, &folder).await;
    script.say(1, [5]);
    script.say_endlessly(0);
    job.deploy(None, 1).await;
    seen.wait_for("fired 100").await;
    job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_full_channels_keep_from_being_read_is_not_idle() {
    const COUNT: i64 = 50_000;
    let folder = tempfile::tempdir().unwrap();
    let script = Script::in_turn(2);
    for split in 0..2 {
        // One split's times lie far behind the other's.
        script.say(
            split,
            (0..COUNT).map(|time| time + 10 * COUNT * split as i64),
        );
        script.end(split);
    }
    let pipeline = Pipeline::new();
    let strategy = in_order().with_idle_after_ms(IDLE_AFTER.as_millis() as u32);
    let times = source(&pipeline, "a", &script, strategy);
    let seen = Seen::default();
    let slow = SlowToStart { is_warm: false };
    let late = times.key_by::<u8>(|_| 0).process("slow", slow);
    late.sink("seen", seen.clone());
    let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
    job.deploy(None, 1).await;
    job.wait_ended().await;
    assert_eq!(seen.count("late"), 0);
    job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_tells_no_splits_apart_holds_nothing_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::untold(2);
    let pipeline = Pipeline::new();
    let times = source(&pipeline, "a", &script, in_order());
    let (mut job, seen) = job(pipeline, times, &folder).await;
    job.deploy(None, 1).await;
    script.say(0, [100]);
    script.say(1, [200]);
    job.wait_records("echo", 2).await;
    let manifest = job.trigger(false).await;
    job.complete(&manifest).await;
    job.cancel().await;
    job.deploy(Some(&manifest), 1).await;
    script.say(1, [300, 400]);
    seen.wait_for("fired 300").await;
    job.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_input_was_over_at_a_checkpoint_nothing_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::in_turn(1);
    let pipeline = Pipeline::new();
    let times = source(&pipeline, "a", &script, in_order());
    let (mut job, seen) = job(pipeline, times, &folder).await;
    script.say(0, [100]);
    script.end(0);
    job.deploy(None, 1).await;
    job.wait_ended().await;
    let manifest = job.trigger(false).await;
    assert!(!manifest.is_final);
    job.complete(&manifest).await;
    job.cancel().await;
    script.add();
    script.say(1, [50]);
    script.end(1);
    job.deploy(Some(&manifest), 1).await;
    job.wait_ended().await;
    assert_eq!((seen.count("fired"), seen.count("late")), (1, 0));
    job.shutdown().await;
}
