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
    // Long enough for every kill to find it at work: the process is killed in its first 150 ms.
    job.plan.count = 100_000;
    job.plan.pause_us = 500;
    let mut kill_count = 0;
    while kill_count < KILL_COUNT {
        job.config["parallelism"] = json!(1 + random.below(4));
        let mut process = job.start();
        thread::sleep(Duration::from_millis(10 + random.below(140)));
        if !process.is_running() {
            // The whole job is done; it begins anew in another folder.
            job.assert_exact();
            job = anew(&job);
            continue;
        }
        process.kill();
        kill_count += 1;
    }
    job.plan.pause_us = 0;
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    job.assert_exact();
}

fn anew(job: &TestJob) -> TestJob {
    let mut new = TestJob::new();
    new.plan.count = job.plan.count;
    new.plan.pause_us = job.plan.pause_us;
    new
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
