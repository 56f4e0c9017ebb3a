//! `kill -9` at random moments.

use std::thread;
use std::time::Duration;

use serde_json::json;
use tidegate_testkit::Random;

use crate::support::{TestJob, end};

/// Kills in all; the processes are started with another parallelism each time.
const KILL_COUNT: usize = 100;

#[test]
fn a_job_that_is_never_killed_counts_exactly() {
    let job = TestJob::new();
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    assert_eq!(end(&events)["phase"], "Finished");
    assert_eq!(
        end(&events)["results"][0]["location"],
        json!(job.plan.output)
    );
    job.assert_exact();
}

#[test]
fn a_hundred_kills_at_changing_parallelism_change_nothing() {
    let mut random = Random::seeded(0x5eed);
    let mut job = TestJob::new();
    job.plan.count = 300_000;
    job.plan.pause_us = 2000;
    job.hold_end();
    let mut is_any_complete = false;
    for kill_index in 0..KILL_COUNT {
        job.config["parallelism"] = json!(1 + random.below(4));
        let mut process = job.start();
        // In turns while it starts, while it works, and behind a checkpoint.
        if kill_index % 2 == 1 {
            let running = process.wait_for("phaseChanged", |event| event["phase"] == "Running");
            let is_restored = running["restoredCheckpoint"].is_u64();
            assert!(is_restored || !is_any_complete, "it began anew: {running}");
        }
        if kill_index % 4 == 3 {
            process.wait_for_checkpoint();
            is_any_complete = true;
        }
        thread::sleep(Duration::from_millis(10 + random.below(140)));
        assert!(process.is_running(), "it ended by itself");
        process.kill();
    }
    job.plan.pause_us = 0;
    job.may_end();
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    job.assert_exact();
}

#[test]
fn a_finished_job_says_so_and_commits_nothing_again() {
    let job = TestJob::new();
    assert_eq!(job.run().0, 0);
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    let notices = crate::support::named(&events, "notice");
    let message = notices[0]["message"].as_str().unwrap();
    assert!(message.contains("has finished before"), "{message}");
    assert!(message.contains("--start-from Empty"), "{message}");
    assert_eq!(end(&events)["progress"]["recordsRead"], 0);
    job.assert_exact();
}
