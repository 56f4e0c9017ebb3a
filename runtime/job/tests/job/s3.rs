//! Jobs whose log and state lie in real S3 servers, over a network that fails.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::{FaultPlan, FaultProxy, Random, S3Flavour, S3Server};

use crate::client::Client;
use crate::support::{Process, TestJob, end, named};

const BUCKET: &str = "tidegate-test";
/// Kills with each make of server.
const KILL_COUNT: usize = 10;
/// Starts in a row that a failing network may end.
const START_COUNT: usize = 8;
/// Times that a store goes away, until one of them fails a checkpoint.
const OUTAGE_COUNT: usize = 10;
/// Of a thousand requests, so many meet each kind of fault.
const FAULTS_PER_MILLE: u64 = 20;

fn job_at(server: &S3Server, endpoint: &str) -> TestJob {
    let mut job = TestJob::new();
    job.config["storage"] = json!({
        "url": format!("s3://{BUCKET}/jobs"), "endpoint": endpoint, "region": server.region(),
    });
    let credentials = [
        ("AWS_ACCESS_KEY_ID", server.access_key()),
        ("AWS_SECRET_ACCESS_KEY", server.secret_key()),
    ];
    let credentials = credentials.map(|(name, value)| (name.to_owned(), value.to_owned()));
    job.environment.extend(credentials);
    job
}

/// Asserts that a process gave up since its store failed it too often in a row.
fn assert_store_failed(code: i32, events: &[Value], stderr: &str) {
    let is_at_start = stderr.contains("checkpoints cannot be kept in")
        && !stderr.contains("cannot hold a checkpoint log");
    let ended = named(events, "ended");
    let is_later = ended
        .iter()
        .any(|it| it["category"] == "StorageUnavailable");
    assert!(
        code == 1 && (is_at_start || is_later),
        "{code}; {events:#?}\n{stderr}"
    );
}

/// The job at work, and what it goes on from. It is started again as by whoever runs it.
fn running(job: &TestJob) -> (Process, Value) {
    for _ in 0..START_COUNT {
        let mut process = job.start();
        let is_running = |event: &Value| event["phase"] == "Running";
        if let Ok(event) = process.find(&["phaseChanged"], is_running) {
            return (process, event["restoredCheckpoint"].clone());
        }
        let (code, events, stderr) = process.wait_with_stderr();
        assert_store_failed(code, &events, &stderr);
    }
    panic!("it does not start");
}

/// Runs the job to its end.
fn finish(job: &TestJob) {
    for _ in 0..START_COUNT {
        let (code, events, stderr) = job.start().wait_with_stderr();
        if code == 0 {
            return;
        }
        assert_store_failed(code, &events, &stderr);
    }
    panic!("it does not end");
}

fn kills_on(flavour: S3Flavour) {
    let server = S3Server::start(flavour).unwrap();
    server.create_bucket(BUCKET).unwrap();
    let plan = FaultPlan::hostile(7, FAULTS_PER_MILLE);
    let proxy = FaultProxy::start(server.address(), plan).unwrap();
    let mut random = Random::seeded(0x53);
    let mut job = job_at(&server, &proxy.endpoint());
    job.plan.count = 300_000;
    job.plan.pause_us = 2000;
    job.hold_end();
    let mut is_any_complete = false;
    for kill_index in 0..KILL_COUNT {
        job.config["parallelism"] = json!(1 + random.below(4));
        let (mut process, restored) = running(&job);
        assert!(restored.is_u64() || !is_any_complete, "it began anew");
        if kill_index % 2 == 1 {
            is_any_complete |= process.find(&["checkpointCompleted"], |_| true).is_ok();
        }
        thread::sleep(Duration::from_millis(random.below(800)));
        if process.is_running() {
            process.kill();
        } else {
            let (code, events, stderr) = process.wait_with_stderr();
            assert_store_failed(code, &events, &stderr);
        }
    }
    assert!(
        is_any_complete,
        "every run ended before its first checkpoint"
    );
    job.plan.pause_us = 0;
    job.may_end();
    finish(&job);
    job.assert_exact();
    assert!(proxy.counts().injected() > 0, "the network never failed");
}

#[test]
fn kills_and_a_failing_network_change_nothing_with_minio() {
    kills_on(S3Flavour::Minio);
}

#[test]
fn kills_and_a_failing_network_change_nothing_with_versitygw() {
    kills_on(S3Flavour::Versitygw);
}

#[test]
fn a_store_that_is_away_for_a_while_fails_checkpoints_and_not_the_job() {
    let server = S3Server::versitygw().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let proxy = FaultProxy::start(server.address(), FaultPlan::seeded(1)).unwrap();
    let mut job = job_at(&server, &proxy.endpoint());
    job.plan.count = 60_000;
    job.plan.pause_us = 3000;
    job.config["checkpoint"]["timeoutMs"] = json!(500);
    job.hold_end();
    let mut process = job.start();
    // One that is being appended to the log is not given up: it completes when the store is back.
    let is_failed = (0..OUTAGE_COUNT).any(|_| {
        process.wait_for_checkpoint();
        proxy.set_down(true);
        let told = process.wait_for_any(&["checkpointFailed", "storeUnavailable"], |_| true);
        assert!(told["reason"].is_string());
        proxy.set_down(false);
        told["event"] == "checkpointFailed"
    });
    assert!(is_failed, "each one was being appended");
    process.wait_for_checkpoint();
    job.may_end();
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
    assert!(named(&events, "attemptFailed").is_empty(), "{events:#?}");
    job.assert_exact();
}

/// The exit code and what is said of a start that is refused.
fn refusal(job: &TestJob) -> String {
    let (code, _, stderr) = job.start().wait_with_stderr();
    assert_eq!(code, 1, "{stderr}");
    stderr
}

#[test]
fn a_server_that_ignores_the_condition_is_refused() {
    let server = S3Server::s3rver().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let said = refusal(&job_at(&server, &server.endpoint()));
    assert!(said.contains("cannot hold a checkpoint log"), "{said}");
}

#[test]
fn a_server_that_lets_racers_win_together_is_refused() {
    let server = S3Server::s3s_fs().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let said = refusal(&job_at(&server, &server.endpoint()));
    assert!(said.contains("cannot hold a checkpoint log"), "{said}");
}

#[test]
fn a_missing_bucket_and_wrong_credentials_are_told_with_what_to_check() {
    let server = S3Server::minio().unwrap();
    let said = refusal(&job_at(&server, &server.endpoint()));
    assert!(said.contains(BUCKET), "{said}");
    server.create_bucket(BUCKET).unwrap();
    let mut job = job_at(&server, &server.endpoint());
    job.environment[1].1 = "wrong".to_owned();
    let said = refusal(&job);
    assert!(
        said.contains("check the access key, the secret key"),
        "{said}"
    );
}

#[test]
fn another_store_s_savepoint_starts_a_job_with_the_state_in_s3() {
    let server = S3Server::versitygw().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let mut job = job_at(&server, &server.endpoint());
    job.plan.count = 30_000;
    job.plan.pause_us = 1000;
    job.hold_end();
    let mut process = job.start();
    process.wait_for_checkpoint();
    process.signal("INT");
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
    let savepoint: &Value = &end(&events)["checkpoint"];

    let folder = format!("s3://{BUCKET}/jobs/default/numbers");
    job.config["startFrom"] =
        json!({"kind": "Checkpoint", "folder": folder, "checkpointId": savepoint});
    job.config["name"] = json!("other");
    job.plan.pause_us = 0;
    job.may_end();
    let (code, events) = job.run();
    assert_eq!(code, 0, "{events:#?}");
    job.assert_exact();
}

/// As on a cluster, where the process stays and tells what blocks it.
fn cluster_job_at(server: &S3Server, endpoint: &str) -> TestJob {
    let mut job = TestJob::on_a_cluster(1);
    let at = job_at(server, endpoint);
    job.config["storage"] = at.config["storage"].clone();
    job.environment = at.environment.clone();
    job
}

/// Starts a job that is blocked for this reason within the time that a user would wait.
fn blocked(job: &TestJob, category: &str) -> (Process, Client) {
    let mut process = job.start();
    let client = Client::of(&mut process);
    let view = client.wait_until_blocked(category);
    assert!(
        view["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("s3://")),
        "{view}"
    );
    (process, client)
}

fn end_well(process: Process) {
    process.signal("TERM");
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
}

#[test]
fn a_missing_bucket_blocks_the_job_until_it_is_there() {
    let server = S3Server::minio().unwrap();
    let job = cluster_job_at(&server, &server.endpoint());
    let (process, client) = blocked(&job, "BucketMissing");
    server.create_bucket(BUCKET).unwrap();
    client.wait_for_phase("Running");
    end_well(process);
}

#[test]
fn wrong_credentials_block_the_job_until_they_are_right() {
    let server = S3Server::minio().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let mut job = cluster_job_at(&server, &server.endpoint());
    let folder = job.path("credentials");
    fs::create_dir(&folder).unwrap();
    let write = |secret: &str| {
        fs::write(folder.join("AWS_ACCESS_KEY_ID"), server.access_key()).unwrap();
        fs::write(folder.join("AWS_SECRET_ACCESS_KEY"), secret).unwrap();
    };
    write("wrong");
    job.environment = vec![(
        "TIDEGATE_STORAGE_CREDENTIALS_FOLDER".to_owned(),
        folder.to_str().unwrap().to_owned(),
    )];
    let (process, client) = blocked(&job, "CredentialsWrong");
    write(server.secret_key());
    client.wait_for_phase("Running");
    end_well(process);
}

#[test]
fn a_store_that_nobody_reaches_blocks_the_job_until_it_is_back() {
    let server = S3Server::versitygw().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let proxy = FaultProxy::start(server.address(), FaultPlan::seeded(1)).unwrap();
    proxy.set_down(true);
    let job = cluster_job_at(&server, &proxy.endpoint());
    let (process, client) = blocked(&job, "StoreUnreachable");
    proxy.set_down(false);
    client.wait_for_phase("Running");
    end_well(process);
}

#[test]
fn a_store_that_cannot_hold_a_log_blocks_the_job() {
    let server = S3Server::s3rver().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let job = cluster_job_at(&server, &server.endpoint());
    let (process, _) = blocked(&job, "UnsuitableStore");
    end_well(process);
}
