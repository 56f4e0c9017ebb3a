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
    job.hold_end();
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
    job.may_end();
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
fn what_a_supervised_program_starts_from_is_honoured_once_however_often_it_dies() {
    for kind in ["Empty", "Checkpoint"] {
        let mut job = TestJob::new();
        job.plan.count = 200_000;
        job.plan.pause_us = 1000;
        job.hold_end();
        // So late a start that the machine's clock is behind.
        job.config["startGeneration"] = json!(9_000_000_000_000_u64);
        let mut process = job.start();
        process.wait_for_checkpoint();
        process.signal("INT");
        let (_, events) = process.wait();
        let savepoint = end(&events)["checkpoint"].clone();

        job.config["startGeneration"] = json!(null);
        job.config["startFrom"] = json!({"kind": kind});
        let mut first = json!(null);
        if kind == "Checkpoint" {
            let folder = job.path("state").join("default/numbers");
            job.config["startFrom"]["folder"] = json!(folder);
            job.config["startFrom"]["checkpointId"] = savepoint.clone();
            first = savepoint;
        }
        job.plan.dies_once = Some(job.path("has-died"));
        job.supervise();
        let mut process = job.start();
        let mut expected = first;
        for _ in 0..3 {
            let restoring = process.wait_for("phaseChanged", |event| event["phase"] == "Restoring");
            let restored = &restoring["restoredCheckpoint"];
            assert!(
                *restored == expected || restored.as_u64() > expected.as_u64() && expected.is_u64(),
                "{kind}: it goes on from {restored}, not {expected}"
            );
            expected = json!(process.wait_for_checkpoint());
            kill(process.child_id());
        }
        drop(process);

        job.environment.clear();
        job.config["startFrom"] = json!({"kind": "Latest"});
        job.plan.pause_us = 0;
        job.may_end();
        let (code, events) = job.run();
        assert_eq!(code, 0, "{events:#?}");
        job.assert_exact();
    }
}

/// A supervised job on a terminal, whose last checkpoint is held up.
fn slow_to_stop() -> TestJob {
    let mut job = TestJob::new();
    job.hold_up();
    job.leads_group = true;
    job.supervise();
    job
}

/// The process group that a process is in.
fn group_of(id: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(2).unwrap().parse().unwrap()
}

#[test]
fn an_interrupt_from_the_terminal_reaches_the_job_once_and_it_takes_its_savepoint() {
    let job = slow_to_stop();
    let mut process = job.start();
    job.wait_until_held_up();
    let id = process.child_id();
    assert_eq!(group_of(id), id, "the terminal's signals reach it, too");
    process.signal_group("INT");
    process.wait_for("phaseChanged", |event| event["phase"] == "Stopping");
    job.go_on();
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
    assert_eq!(end(&events)["phase"], "Stopped");
    let checkpoints = named(&events, "checkpointCompleted");
    let last = &checkpoints.last().unwrap()["checkpoint"];
    assert_eq!(last["kind"], "Savepoint");
    assert_eq!(end(&events)["checkpoint"], last["id"]);
}

#[test]
fn a_second_interrupt_from_the_terminal_ends_a_supervised_job_at_once() {
    let job = slow_to_stop();
    let mut process = job.start();
    job.wait_until_held_up();
    process.signal_group("INT");
    process.wait_for("phaseChanged", |event| event["phase"] == "Stopping");
    process.signal_group("INT");
    let (code, events) = process.wait();
    assert_eq!(code, 130, "{events:#?}");
    assert!(named(&events, "checkpointCompleted").is_empty());
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
