//! User code that panics or fails.

use std::fs;

use serde_json::{Value, json};

use crate::support::{TestJob, end, named};

#[test]
fn a_panic_restarts_the_job_in_the_same_process_and_the_result_is_exact() {
    let mut job = TestJob::new();
    job.plan.pause_us = 200;
    let trigger = job.path("panic");
    job.plan.panics_with = Some(trigger.clone());
    job.hold_end();
    let mut process = job.start();
    process.wait_for_state();
    // There is a number left that comes after this.
    fs::write(trigger, "").unwrap();
    job.may_end();
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
    let failures = named(&events, "attemptFailed");
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0]["failure"]["operator"], "count");
    let message = failures[0]["failure"]["message"].as_str().unwrap();
    assert!(message.contains("told to panic"), "{message}");
    let restored = named(&events, "phaseChanged");
    let is_restored = |event: &&&Value| event["phase"] == "Restoring";
    let restored: Vec<_> = restored.iter().filter(is_restored).collect();
    assert_eq!(restored.len(), 2, "{events:#?}");
    assert!(
        restored[1]["restoredCheckpoint"].is_u64(),
        "it went on from a checkpoint"
    );
    job.assert_exact();
}

#[test]
fn a_job_that_cannot_live_ends_with_the_operator_and_its_message() {
    let mut job = TestJob::new();
    job.plan.fail_at = Some(100);
    let (code, events) = job.run();
    assert_eq!(code, 1, "{events:#?}");
    assert_eq!(
        named(&events, "attemptFailed").len(),
        4,
        "the first try and three more"
    );
    let reason = end(&events)["reason"].as_str().unwrap();
    assert!(reason.contains("count"), "{reason}");
    assert!(reason.contains("number 100 is not wanted"), "{reason}");
}

#[test]
fn state_that_does_not_fit_is_refused_with_the_operator_and_stays() {
    let mut job = TestJob::new();
    job.plan.pause_us = 500;
    job.hold_end();
    let mut process = job.start();
    process.wait_for_state();
    process.kill();

    job.plan.keeps_text = true;
    let (code, events) = job.run();
    assert_eq!(code, 1, "{events:#?}");
    let reason = end(&events)["reason"].as_str().unwrap();
    assert!(reason.contains("count"), "{reason}");

    job.plan.keeps_text = false;
    job.may_end();
    assert_eq!(job.run().0, 0);
    job.assert_exact();
}

#[test]
fn a_checkpoint_that_is_not_there_is_told_with_those_that_are() {
    let mut job = TestJob::new();
    assert_eq!(job.run().0, 0);
    let folder = job.path("state").join("default/numbers");
    job.config["startFrom"] = json!({"kind": "Checkpoint", "folder": folder, "checkpointId": 999});
    let (code, _, stderr) = job.start().wait_with_stderr();
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("checkpoint 999"), "{stderr}");
    assert!(stderr.contains("retained are"), "{stderr}");
}

#[test]
fn a_store_that_cannot_be_written_is_told_with_its_path() {
    let mut job = TestJob::new();
    let file = job.path("file");
    fs::write(&file, "").unwrap();
    job.config["storage"]["url"] = json!(file.join("state"));
    let (code, _, stderr) = job.start().wait_with_stderr();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("file/state"), "{stderr}");
}

#[test]
fn a_job_that_failed_at_its_start_from_empty_names_no_older_checkpoint_to_go_on_from() {
    let mut job = TestJob::new();
    assert_eq!(job.run().0, 0);
    // All of it is there still, but nothing goes on from it by itself.
    job.plan.output = job.path("afresh");
    job.config["startFrom"] = json!({"kind": "Empty"});
    job.config["checkpoint"]["intervalMs"] = json!(null);
    job.plan.fail_at = Some(0);
    let (code, events) = job.run();
    assert_eq!(code, 1, "{events:#?}");
    assert_eq!(end(&events)["checkpoint"], Value::Null);

    job.config["startFrom"] = json!({"kind": "Latest"});
    let (_, events) = job.run();
    let phases = named(&events, "phaseChanged");
    let restoring = phases.iter().find(|event| event["phase"] == "Restoring");
    assert_eq!(restoring.unwrap()["restoredCheckpoint"], Value::Null);

    job.plan.fail_at = None;
    let (_, events) = job.run();
    let completed = named(&events, "checkpointCompleted");
    let last = &completed.last().unwrap()["checkpoint"]["id"];
    assert_eq!(&end(&events)["checkpoint"], last);
    job.assert_exact();
}

#[test]
fn a_job_whose_events_cannot_be_written_ends_with_a_failure_and_its_results() {
    let mut job = TestJob::new();
    job.plan.is_output_full = true;
    let (code, _, stderr) = job.start().wait_with_stderr();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("standard output"), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    job.assert_exact();
}
