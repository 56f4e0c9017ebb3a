//! A process that supervises itself, as in a pod.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::support::{LIMIT, TestJob, end, named};

fn kill(id: u32) {
    let status = Command::new("kill").args(["-9", &id.to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_killed_process_is_back_in_place_and_the_result_is_exact() {
    let mut job = TestJob::new();
    job.plan.count = 60_000;
    job.plan.pause_us = 500;
    job.config["listenAddress"] = json!("127.0.0.1:0");
    job.supervise();
    let mut process = job.start();
    for kill_count in 1..=5 {
        process.wait_for_checkpoint();
        let id = process.child_id();
        let killed = Instant::now();
        kill(id);
        let client = Client::of(&mut process);
        process.wait_for("phaseChanged", |event| event["phase"] == "Running");
        println!("running again {:?} after the kill", killed.elapsed());
        let view = client.json("/v1/job");
        assert_eq!(view["processRestartCount"], kill_count, "{view}");
        assert_eq!(view["lastExit"]["signal"], 9, "{view}");
        assert_eq!(view["lastExit"]["description"], "was killed by signal 9");
        assert!(view["restoredCheckpoint"].is_u64(), "{view}");
    }
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
    job.assert_exact();
}

#[test]
fn a_process_that_keeps_dying_ends_with_its_last_lines() {
    let mut job = TestJob::new();
    job.plan.dies = true;
    job.supervise();
    let (code, _, stderr) = job.start().wait_with_stderr();
    assert_eq!(code, 101, "{stderr}");
    let message = fs::read_to_string(job.path("termination-log")).unwrap();
    assert!(
        message.contains("ended with exit code 101; it crashed 5 times"),
        "{message}"
    );
    assert!(message.contains("this program is told to die"), "{message}");
    assert_eq!(stderr.matches("it is started again").count(), 4, "{stderr}");
}

#[test]
fn settings_that_are_wrong_are_not_tried_again() {
    let mut job = TestJob::new();
    let folder = job.path("state").join("default/numbers");
    job.config["startFrom"] = json!({"kind": "Checkpoint", "folder": folder, "checkpointId": 9});
    job.supervise();
    let (code, _, stderr) = job.start().wait_with_stderr();
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(stderr.matches("checkpoint 9").count(), 1, "{stderr}");
    let message = fs::read_to_string(job.path("termination-log")).unwrap();
    assert!(message.contains("checkpoint 9"), "{message}");
}

#[test]
fn a_process_that_is_told_to_end_leaves_a_checkpoint_and_the_code_0() {
    let mut job = TestJob::on_a_cluster(1);
    job.supervise();
    let mut process = job.start();
    process.wait_for_checkpoint();
    process.signal("TERM");
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
    assert_eq!(end(&events)["phase"], "Stopped");
    let checkpoints = named(&events, "checkpointCompleted");
    let last = &checkpoints.last().unwrap()["checkpoint"];
    assert_eq!(last["kind"], "Checkpoint");
    assert_eq!(end(&events)["checkpoint"], last["id"]);
    assert!(!job.path("termination-log").exists());

    job.environment.clear();
    let mut process = job.start();
    let restoring = process.wait_for("phaseChanged", |event| event["phase"] == "Restoring");
    assert_eq!(restoring["restoredCheckpoint"], last["id"]);
}

#[test]
fn a_job_process_dies_with_its_supervisor() {
    let mut job = TestJob::on_a_cluster(1);
    job.supervise();
    let mut process = job.start();
    process.wait_for_checkpoint();
    let id = process.child_id();
    process.kill();
    let deadline = Instant::now() + LIMIT;
    let path = format!("/proc/{id}/stat");
    // A zombie that nobody reaps is dead, too.
    let lives = || fs::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z "));
    while lives() && Path::new(&path).exists() {
        assert!(Instant::now() < deadline, "it outlives its supervisor");
        thread::sleep(Duration::from_millis(1));
    }
}
