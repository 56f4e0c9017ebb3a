//! A process as the controller starts it: it waits to be let go, stays when it is over, and heals.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::Client;
use crate::support::{Process, TestJob};

fn start(job: &TestJob) -> (Process, Client) {
    let mut process = job.start();
    let client = Client::of(&mut process);
    (process, client)
}

fn end(process: Process) {
    process.signal("TERM");
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
}

#[test]
fn a_held_job_runs_once_it_is_let_go_and_stays_when_it_is_over() {
    let mut job = TestJob::on_a_cluster(7);
    job.plan.count = 20_000;
    job.plan.pause_us = 0;
    job.may_end();
    job.config["hold"] = json!(true);
    let (process, client) = start(&job);
    let view = client.wait_for_phase("Holding");
    assert_eq!(view["startGeneration"], 7);
    assert_eq!(view["restoredCheckpoint"], Value::Null);
    assert_eq!(client.get("/readyz").0, 503);
    assert_eq!(client.get("/livez").0, 200);
    let (status, problem) = client.post("/v1/savepoints", &json!({}));
    assert_eq!((status, &problem["category"]), (409, &json!("NotRunning")));
    assert!(
        !job.path("state/default/numbers/log").exists(),
        "nothing is written yet"
    );

    assert_eq!(client.post("/v1/start", &json!({})).0, 200);
    let view = client.wait_for_phase("Finished");
    assert_eq!(client.get("/readyz").0, 503);
    let stopped = client.post("/v1/stop", &json!({}));
    assert_eq!(stopped.1["checkpoint"], view["lastCheckpoint"]["id"]);
    assert_eq!(client.post("/v1/start", &json!({})).0, 503);
    job.assert_exact();
    end(process);
}

#[test]
fn a_job_that_was_let_go_before_does_not_wait_again() {
    let mut job = TestJob::on_a_cluster(7);
    job.config["hold"] = json!(true);
    // It is honoured once, however often the process is started again.
    job.config["startFrom"] = json!({"kind": "Empty"});
    let (mut process, client) = start(&job);
    client.wait_for_phase("Holding");
    assert_eq!(client.post("/v1/start", &json!({})).0, 200);
    let checkpoint = process.wait_for_checkpoint();
    process.kill();
    let (process, client) = start(&job);
    let view = client.wait_for_phase("Running");
    assert!(
        view["restoredCheckpoint"].as_u64() >= Some(checkpoint),
        "{view}"
    );
    assert_eq!(
        client.post("/v1/start", &json!({})).0,
        200,
        "asked again, it is let go still"
    );
    end(process);
}

#[test]
fn what_a_start_asked_for_may_be_gone_when_its_process_is_started_again() {
    let mut job = TestJob::on_a_cluster(1);
    let (mut process, client) = start(&job);
    process.wait_for_checkpoint();
    let (_, savepoint) = client.post("/v1/savepoints", &json!({}));
    end(process);
    let other = TestJob::on_a_cluster(2);
    let folder = job.path("state/default/numbers");
    job.config = other.config.clone();
    job.config["startFrom"] = json!({
        "kind": "Checkpoint", "folder": folder, "checkpointId": savepoint["checkpoint"],
    });
    let (mut process, client) = start(&job);
    process.wait_for_checkpoint();
    end(process);
    fs::remove_dir_all(&folder).unwrap();
    let (process, client_again) = start(&job);
    client_again.wait_for_phase("Running");
    drop(client);
    end(process);
}

#[test]
fn the_older_of_two_processes_of_a_start_is_fenced_and_stays() {
    let job = TestJob::on_a_cluster(7);
    let (mut old, old_client) = start(&job);
    old.wait_for_checkpoint();
    let (new, new_client) = start(&job);
    new_client.wait_for_phase("Running");
    let view = old_client.wait_for_phase("Fenced");
    assert!(
        view["reason"]
            .as_str()
            .unwrap()
            .contains("taken this job over"),
        "{view}"
    );
    assert_eq!(old_client.get("/readyz").0, 503);
    assert_eq!(new_client.json("/v1/job")["phase"], "Running");
    end(old);
    end(new);
}

#[test]
fn an_older_start_is_refused_before_it_writes_anything() {
    let mut job = TestJob::on_a_cluster(7);
    let (mut process, _) = start(&job);
    process.wait_for_checkpoint();
    end(process);
    let before = job.files();
    job.config["startGeneration"] = json!(6);
    job.config["hold"] = json!(true);
    let (process, client) = start(&job);
    client.wait_for_phase("Fenced");
    end(process);
    // What the self-test of the store leaves behind is nobody's.
    assert!(job.files() == before, "the job's folder has changed");
}

#[test]
fn a_store_that_cannot_be_used_blocks_the_job_until_it_can() {
    let mut job = TestJob::on_a_cluster(1);
    let file = job.path("file");
    fs::write(&file, "").unwrap();
    job.config["storage"]["url"] = json!(file.join("state"));
    let (process, client) = start(&job);
    let view = client.wait_until_blocked("NotAFolder");
    assert!(
        view["reason"].as_str().unwrap().contains("file/state"),
        "{view}"
    );
    let (status, problem) = client.post("/v1/start", &json!({}));
    assert_eq!((status, &problem["category"]), (409, &json!("NotHolding")));
    assert!(client.get("/readyz").1.contains("Blocked"));
    fs::remove_file(&file).unwrap();
    let view = client.wait_for_phase("Running");
    assert_eq!(view["category"], Value::Null);
    end(process);
}

#[test]
fn a_blocked_job_that_is_stopped_stays_stopped() {
    let mut job = TestJob::on_a_cluster(1);
    let folder = job.path("nowhere/default/numbers");
    job.config["startFrom"] = json!({"kind": "Checkpoint", "folder": folder});
    let (process, client) = start(&job);
    client.wait_until_blocked("CheckpointMissing");
    let (status, answer) = client.post("/v1/stop", &json!({"savepoint": false}));
    assert_eq!((status, &answer["checkpoint"]), (200, &Value::Null));
    client.wait_for_phase("Stopped");
    assert_eq!(client.post("/v1/stop", &json!({})).0, 200);
    end(process);
}

#[test]
fn state_that_does_not_fit_blocks_a_held_job_with_the_operators() {
    let mut job = TestJob::on_a_cluster(1);
    let (mut process, _) = start(&job);
    process.wait_for_state();
    end(process);
    job.config["startGeneration"] = json!(2);
    job.config["hold"] = json!(true);
    job.plan.keeps_text = true;
    let before = job.files();
    let (process, client) = start(&job);
    let view = client.wait_until_blocked("StateIncompatible");
    assert!(
        view["reason"].as_str().unwrap().contains("`count`"),
        "{view}"
    );
    end(process);
    assert!(job.files() == before, "the job's folder has changed");
}

#[test]
fn a_damaged_checkpoint_blocks_the_job_until_it_is_repaired() {
    let mut job = TestJob::on_a_cluster(1);
    let (mut process, _) = start(&job);
    process.wait_for_state();
    end(process);
    let is_state = |path: &PathBuf| path.extension().is_some_and(|it| it == "arrow");
    let files: Vec<_> = job
        .files()
        .into_iter()
        .filter(|(path, _)| is_state(path))
        .collect();
    assert!(!files.is_empty());
    for (path, _) in &files {
        fs::write(path, "damaged").unwrap();
    }
    job.plan.pause_us = 200;
    let (process, client) = start(&job);
    let view = client.wait_until_blocked("CheckpointUnreadable");
    assert!(
        view["reason"].as_str().unwrap().contains(".arrow"),
        "{view}"
    );
    for (path, content) in &files {
        fs::write(path, content).unwrap();
    }
    client.wait_for_phase("Running");
    end(process);
}

#[test]
fn a_rescaled_job_that_is_blocked_and_heals_goes_on_at_its_new_parallelism() {
    let mut job = TestJob::on_a_cluster(1);
    job.config["checkpoint"]["intervalMs"] = json!(null);
    let trigger = job.path("fail");
    job.plan.fails_with = Some(trigger.clone());
    let (process, client) = start(&job);
    client.wait_for_phase("Running");
    client.wait_until("state", |client| {
        client.json("/v1/job")["progress"]["recordsRead"].as_u64() > Some(0)
    });
    let (status, answer) = client.post("/v1/rescale", &json!({"parallelism": 3}));
    assert_eq!(status, 200, "{answer}");
    let is_state = |path: &PathBuf| path.extension().is_some_and(|it| it == "arrow");
    let files = job.files().into_iter().filter(|(path, _)| is_state(path));
    let files: Vec<_> = files.collect();
    assert!(!files.is_empty());
    for (path, _) in &files {
        fs::write(path, "damaged").unwrap();
    }
    fs::write(&trigger, "").unwrap();
    client.wait_until_blocked("CheckpointUnreadable");
    for (path, content) in &files {
        fs::write(path, content).unwrap();
    }
    let view = client.wait_for_phase("Running");
    assert_eq!(view["parallelism"], 3, "{view}");
    end(process);
}

/// The log entry of a checkpoint: its number and its file.
fn entry_of(job: &TestJob, id: u64) -> (u64, PathBuf) {
    let wanted = format!("\"checkpoint\":{id},");
    let is_it = |(path, content): &(PathBuf, Vec<u8>)| {
        path.parent().is_some_and(|folder| folder.ends_with("log"))
            && String::from_utf8_lossy(content).contains(&wanted)
    };
    let (path, _) = job.files().into_iter().find(is_it).unwrap();
    let number = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    (number, path)
}

#[test]
fn a_savepoint_whose_entry_is_damaged_is_not_gone_for_those_who_ask() {
    let mut job = TestJob::on_a_cluster(1);
    let (mut process, client) = start(&job);
    process.wait_for_checkpoint();
    let (status, answer) = client.post("/v1/savepoints", &Value::Null);
    assert_eq!(status, 201, "{answer}");
    let id = answer["checkpoint"].as_u64().unwrap();
    end(process);
    let (number, path) = entry_of(&job, id);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();

    job.config["checkpoint"]["intervalMs"] = json!(null);
    let (process, client) = start(&job);
    let view = client.wait_for_phase("Running");
    assert_eq!(view["damagedEntries"], json!([number]), "{view}");
    let (status, problem) = client.delete_refused(&format!("/v1/checkpoints/{id}"));
    assert_eq!(
        (status, &problem["category"]),
        (409, &json!("CheckpointUnreadable"))
    );
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.contains("not retained"), "{detail}");
    assert!(
        detail.contains(&format!("default/numbers entry-{number}`")),
        "{detail}"
    );
    // What is newer than a checkpoint that can be read is in no older entry.
    assert!(view["damagedBelow"].as_u64() > Some(id), "{view}");
    assert_eq!(
        client.delete(&format!("/v1/checkpoints/{}", id + 1000)),
        404
    );
    end(process);
    fs::write(&path, &whole).unwrap();
    let (process, client) = start(&job);
    assert_eq!(
        client.wait_for_phase("Running")["damagedEntries"],
        json!([])
    );
    assert_eq!(client.delete(&format!("/v1/checkpoints/{id}")), 204);
    end(process);
}

#[test]
fn settings_change_while_the_job_runs() {
    let mut job = TestJob::on_a_cluster(1);
    job.config["checkpoint"]["intervalMs"] = json!(null);
    let (mut process, client) = start(&job);
    client.wait_for_phase("Running");
    let change = json!({"checkpointIntervalMs": 10, "retainedCheckpoints": 1, "logLevel": "Debug"});
    let (status, settings) = client.patch("/v1/settings", &change);
    assert_eq!((status, &settings), (200, &change));
    process.wait_for_checkpoint();
    process.wait_for_checkpoint();
    assert_eq!(client.json("/v1/checkpoints").as_array().unwrap().len(), 1);
    let (status, settings) = client.patch("/v1/settings", &json!({"checkpointIntervalMs": null}));
    assert_eq!((status, &settings["retainedCheckpoints"]), (200, &json!(1)));
    assert_eq!(client.json("/v1/job")["settings"], settings);
    let (status, problem) = client.patch("/v1/settings", &json!({"retainedCheckpoints": 0}));
    assert_eq!(status, 400, "{problem}");
    end(process);
}

#[test]
fn a_savepoint_of_a_name_is_taken_once_also_over_a_restart() {
    let job = TestJob::on_a_cluster(1);
    let (process, client) = start(&job);
    client.wait_for_phase("Running");
    let request = json!({"name": "before-upgrade"});
    let (status, first) = client.post("/v1/savepoints", &request);
    assert_eq!(status, 201, "{first}");
    assert_eq!(client.post("/v1/savepoints", &request).1, first);
    end(process);
    let (process, client) = start(&job);
    client.wait_for_phase("Running");
    assert_eq!(client.post("/v1/savepoints", &request).1, first);
    let checkpoints = client.json("/v1/checkpoints");
    let mut names = checkpoints.as_array().unwrap().iter().map(|it| &it["name"]);
    assert!(names.any(|name| name == "before-upgrade"), "{checkpoints}");
    let (status, problem) = client.post("/v1/savepoints", &json!({"name": "No/Name"}));
    assert_eq!(status, 400, "{problem}");
    end(process);
}
