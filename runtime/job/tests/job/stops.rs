//! Stopping, and going on.

use serde_json::json;

use crate::support::{TestJob, end, named};

/// A job that goes on until it may end.
fn slow_job() -> TestJob {
    let mut job = TestJob::new();
    job.plan.count = 30_000;
    job.plan.pause_us = 1000;
    job.hold_end();
    job
}

#[test]
fn an_interrupt_stops_with_a_savepoint_and_the_next_run_goes_on_from_it() {
    for signal in ["INT", "TERM"] {
        let mut job = slow_job();
        let mut process = job.start();
        process.wait_for_checkpoint();
        process.signal(signal);
        let (code, events) = process.wait();
        assert_eq!(code, 0, "{events:#?}");
        assert_eq!(end(&events)["phase"], "Stopped");
        let savepoint = end(&events)["checkpoint"].as_u64().unwrap();
        let kinds = named(&events, "checkpointCompleted");
        assert_eq!(kinds.last().unwrap()["checkpoint"]["kind"], "Savepoint");

        job.plan.pause_us = 0;
        job.may_end();
        job.config["parallelism"] = json!(3);
        let mut process = job.start();
        let restoring = process.wait_for("phaseChanged", |event| event["phase"] == "Restoring");
        assert_eq!(restoring["restoredCheckpoint"], savepoint);
        let (code, events) = process.wait();
        assert_eq!(code, 0, "{events:#?}");
        job.assert_exact();
    }
}

#[test]
fn a_second_interrupt_ends_it_at_once_and_nothing_is_lost() {
    let mut job = slow_job();
    job.hold_up();
    let mut process = job.start();
    job.wait_until_held_up();
    process.signal("INT");
    process.wait_for("phaseChanged", |event| event["phase"] == "Stopping");
    process.signal("INT");
    let (code, events, stderr) = process.wait_with_stderr();
    assert_eq!(code, 130, "{events:#?}\n{stderr}");
    job.go_on();
    job.plan.pause_us = 0;
    job.may_end();
    assert_eq!(job.run().0, 0);
    job.assert_exact();
}

#[test]
fn a_standard_error_that_nobody_reads_holds_up_neither_interrupt() {
    let mut job = slow_job();
    job.is_unread = true;
    let mut process = job.start();
    process.wait_for_checkpoint();
    process.signal("INT");
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
    assert_eq!(end(&events)["phase"], "Stopped");

    // Some input is left for certain, and its first number is held up.
    job.may_end();
    job.hold_up();
    let mut process = job.start();
    job.wait_until_held_up();
    process.signal("INT");
    process.wait_for("phaseChanged", |event| event["phase"] == "Stopping");
    process.signal("INT");
    let (code, events) = process.wait();
    assert_eq!(code, 130, "{events:#?}");
}

#[test]
fn another_jobs_savepoint_starts_a_new_job_and_stays_as_it_is() {
    let mut job = slow_job();
    let mut process = job.start();
    process.wait_for_checkpoint();
    process.signal("INT");
    let (_, events) = process.wait();
    let savepoint = end(&events)["checkpoint"].clone();

    let folder = job.path("state").join("default/numbers");
    job.config["name"] = json!("other");
    job.config["startFrom"] =
        json!({"kind": "Checkpoint", "folder": folder, "checkpointId": savepoint});
    job.plan.pause_us = 0;
    job.may_end();
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    job.assert_exact();

    job.config["name"] = json!("third");
    job.plan.output = job.path("third-output");
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    job.assert_exact();
}

#[test]
fn a_job_does_not_outlive_the_process_that_started_it() {
    let mut job = slow_job();
    job.config["parentProcessId"] = json!(std::process::id());
    let mut process = job.start();
    process.wait_for_checkpoint();
    process.kill();

    // Whoever that is, it is not the parent any more.
    job.config["parentProcessId"] = json!(u32::MAX);
    let (code, events) = job.run();
    assert_eq!(code, 130, "{events:#?}");
}
