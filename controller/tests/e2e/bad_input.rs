//! What a person gets wrong reaches a condition that says what to do, and heals once it is mended.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Job, SOON, Space, bucket, condition};

/// By when a mistake stands in a condition, not counting what the node takes to start a container.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// Waits until Ready is False for `reason`, with all of `words` in its message.
fn told(job: &Job<'_>, reason: &str, words: &[&str]) {
    let what = format!("Ready is False for {reason} and tells {words:?}");
    let start = Instant::now();
    job.wait(&what, SOON, |object| {
        let ready = condition(object, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        ready["status"] == "False"
            && ready["reason"] == reason
            && words.iter().all(|word| message.contains(word))
    });
    let (needed, node) = (start.elapsed(), node_needed(job));
    assert!(
        needed <= TOLD_WITHIN + node,
        "not within 15 s: {what}; it took {needed:.1?}, of which the node took {node:?}"
    );
}

/// How long the node took from a pod's creation to the first start of its container, in whole
/// seconds; nothing when none has started, or when that one is no longer told.
fn node_needed(job: &Job<'_>) -> Duration {
    let pods = job.pods();
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    let needed = pods.iter().filter_map(|pod| {
        let state = &pod["status"]["containerStatuses"][0];
        if state["restartCount"].as_i64()? > 1 {
            return None;
        }
        let started = [
            &state["lastState"]["terminated"]["startedAt"],
            &state["state"]["terminated"]["startedAt"],
            &state["state"]["running"]["startedAt"],
        ];
        let started = started.into_iter().find_map(time)?;
        let created = time(&pod["metadata"]["creationTimestamp"])?;
        Duration::try_from(started - created).ok()
    });
    needed.max().unwrap_or_default()
}

fn heals(mut job: Job<'_>, path: &str, value: Value) {
    job.change(path, value);
    job.apply();
    job.wait_ready();
    job.wait_results_beyond(200);
}

#[test]
fn a_bad_image() {
    let space = Space::new("badimage");
    let job = Job::new(&space, "counts");
    let good = job.manifest["spec"]["program"]["image"].clone();
    let job = job.set("program.image", json!("registry.invalid/no/such:1"));
    job.apply();
    told(&job, "ImagePullFailed", &["registry.invalid/no/such:1"]);
    heals(job, "program.image", good);
}

#[test]
fn an_unknown_bucket_heals_when_the_bucket_is_made() {
    let space = Space::new("badbucket");
    let bucket = format!("missing-{}", space.namespace);
    let url = format!("s3://{bucket}/checkpoints");
    let job = Job::new(&space, "counts").set("checkpoint.storage.url", json!(url));
    job.apply();
    told(&job, "BucketMissing", &[&bucket]);
    space.cluster.create_bucket(&bucket).expect("a bucket");
    job.wait_ready();
    job.wait_results_beyond(200);
}

#[test]
fn wrong_credentials_heal_when_the_secret_is_right() {
    let space = Space::new("badkeys");
    let s3 = space.cluster.s3().expect("an S3 server");
    let secret = |key: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own"},
            "stringData": {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": key},
        })
    };
    space.apply(&secret("not-the-secret-key"));
    let job = Job::new(&space, "counts").set("checkpoint.storage.secretRef.name", json!("own"));
    job.apply();
    told(&job, "StorageDenied", &[&space.bucket]);
    space.apply(&secret(&s3.secret_key));
    // Kubelet takes its time to renew a mounted Secret.
    job.wait("it is ready", SOON * 3, |job| {
        condition(job, "Ready")["status"] == "True"
    });
    job.wait_results_beyond(200);
}

#[test]
fn an_endpoint_that_nobody_serves() {
    let space = Space::new("badhost");
    let job = Job::new(&space, "counts");
    let good = job.manifest["spec"]["checkpoint"]["storage"]["endpoint"].clone();
    let path = "checkpoint.storage.endpoint";
    let job = job.set(path, json!("http://127.0.0.1:9"));
    job.apply();
    told(&job, "StorageUnavailable", &["127.0.0.1:9"]);
    heals(job, path, good);
}

#[test]
fn a_secret_that_is_missing() {
    let space = Space::new("nosecret");
    let job = Job::new(&space, "counts").set("checkpoint.storage.secretRef.name", json!("absent"));
    job.apply();
    told(&job, "PodNotStarting", &["absent"]);
    let s3 = space.cluster.s3().expect("an S3 server");
    space.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "absent"},
        "stringData": {
            "AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        },
    }));
    job.wait("it is ready", SOON * 3, |job| {
        condition(job, "Ready")["status"] == "True"
    });
}

#[test]
fn a_program_that_exits_at_its_start() {
    let space = Space::new("exits");
    let job = Job::new(&space, "counts");
    let good = job.manifest["spec"]["program"]["args"].clone();
    let job = job.with_args(&["--fail", "exit-at-start"]);
    job.apply();
    told(&job, "CrashLoop", &["3"]);
    heals(job, "program.args", good);
}

#[test]
fn a_program_that_panics_at_its_start_tells_the_last_lines() {
    let space = Space::new("panics");
    let job = Job::new(&space, "counts");
    let good = job.manifest["spec"]["program"]["args"].clone();
    let job = job.with_args(&["--fail", "panic-at-start"]);
    job.apply();
    told(&job, "CrashLoop", &["panicked"]);
    heals(job, "program.args", good);
}

#[test]
fn a_pod_that_no_node_can_take() {
    let space = Space::new("toobig");
    let job = Job::new(&space, "counts").set("resources", json!({"requests": {"cpu": "1000"}}));
    job.apply();
    told(&job, "Unschedulable", &["cpu"]);
    heals(job, "resources", json!({"requests": {"cpu": "10m"}}));
}

#[test]
fn a_checkpoint_that_start_from_names_and_nobody_has() {
    let space = Space::new("nockpt");
    let job = Job::new(&space, "counts").set("startFrom", json!("other-77"));
    job.apply();
    told(&job, "CheckpointMissing", &["other-77"]);
    heals(job, "startFrom", json!("Latest"));
}

#[test]
fn a_checkpoint_that_is_damaged_is_never_half_restored_and_heals_when_it_is_whole_again() {
    let space = Space::new("damaged");
    let mut job = Job::new(&space, "counts").start();
    job.wait_results_beyond(500);
    job.change("suspend", json!(true));
    job.apply();
    job.wait_condition("Ready", "False", "Suspended");
    let folder = format!("checkpoints/{}/counts/state/", space.namespace);
    let whole = bucket::damage(&space, &folder);
    job.change("suspend", json!(false));
    job.apply();
    told(&job, "CheckpointUnreadable", &["state/"]);
    whole.restore();
    job.wait("it is ready", SOON, |job| {
        condition(job, "Ready")["status"] == "True"
    });
    let committed = job.wait_results_beyond(0);
    job.wait_results_beyond(committed + 500);
}
