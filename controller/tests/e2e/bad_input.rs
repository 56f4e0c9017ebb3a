//! What a person gets wrong reaches a condition that says what to do, and heals once it is mended.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Job, SOON, Space, bucket, condition, until};

/// By when a mistake stands in a condition, not counting what scheduler and node need to find it.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// Where a mistake first shows: from then on it is the operator's to tell.
#[derive(Clone, Copy)]
enum Shows {
    InSpec,
    /// No node takes the pod.
    InScheduling,
    /// Its container waits for what is not there.
    BeforeContainer,
    /// Its container has started, or could not.
    InContainer,
}

impl Shows {
    fn in_pods(self, pods: &[Value]) -> bool {
        pods.iter().any(|pod| self.in_pod(pod)) || matches!(self, Shows::InSpec)
    }

    fn in_pod(self, pod: &Value) -> bool {
        let state = &pod["status"]["containerStatuses"][0]["state"];
        let is_waiting = state["waiting"]["reason"] == "ContainerCreating";
        match self {
            Shows::InSpec => true,
            Shows::InScheduling => {
                let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
                conditions.any(|it| it["type"] == "PodScheduled" && it["status"] == "False")
            }
            Shows::BeforeContainer => is_waiting,
            Shows::InContainer => state.is_object() && !is_waiting,
        }
    }
}

/// Waits until Ready is False for `reason`, with all of `words` in its message, of a job that was
/// applied just now. The operator has to be in time.
///
/// A machine that stands still makes anybody late once; an operator that is slow is late again.
fn told(job: &Job<'_>, shows: Shows, reason: &str, words: &[&str]) {
    let first = needed_to_tell(job, shows, reason, words);
    if first <= TOLD_WITHIN {
        return;
    }
    let space = job.space;
    space.kubectl(&["delete", "streamjob", &job.name, "--timeout=200s"]);
    job.wait_without_pods(SOON);
    job.apply();
    let second = needed_to_tell(job, shows, reason, words);
    assert!(
        second <= TOLD_WITHIN,
        "{reason} is told after {first:.1?}, and then after {second:.1?}, not within 15 s"
    );
}

/// What the operator needs to tell it: from the spec to a pod, and from where the mistake shows to
/// the condition.
fn needed_to_tell(job: &Job<'_>, shows: Shows, reason: &str, words: &[&str]) -> Duration {
    let what = format!("Ready is False for {reason} and tells {words:?}");
    let start = Instant::now();
    let (mut made, mut shown) = (None, None);
    until(&what, SOON, || {
        let object = job.space.find("streamjob", &job.name).unwrap_or_default();
        let (pods, now) = (job.pods(), start.elapsed());
        if !pods.is_empty() {
            made.get_or_insert(now);
        }
        if shows.in_pods(&pods) {
            shown.get_or_insert(now);
        }
        let ready = condition(&object, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        let is_told = ready["status"] == "False"
            && ready["reason"] == reason
            && words.iter().all(|word| message.contains(word));
        match shown.filter(|_| is_told) {
            Some(shown) => Ok(made.unwrap_or_default() + (now - shown)),
            None => Err(format!("{ready}, and the mistake since {shown:?}")),
        }
    })
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
    told(
        &job,
        Shows::InContainer,
        "ImagePullFailed",
        &["registry.invalid/no/such:1"],
    );
    heals(job, "program.image", good);
}

#[test]
fn an_unknown_bucket_heals_when_the_bucket_is_made() {
    let space = Space::new("badbucket");
    let bucket = format!("missing-{}", space.namespace);
    let url = format!("s3://{bucket}/checkpoints");
    let job = Job::new(&space, "counts").set("checkpoint.storage.url", json!(url));
    job.apply();
    told(&job, Shows::InContainer, "BucketMissing", &[&bucket]);
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
    told(&job, Shows::InContainer, "StorageDenied", &[&space.bucket]);
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
    told(
        &job,
        Shows::InContainer,
        "StorageUnavailable",
        &["127.0.0.1:9"],
    );
    heals(job, path, good);
}

#[test]
fn a_secret_that_is_missing() {
    let space = Space::new("absent");
    let job = Job::new(&space, "counts").set("checkpoint.storage.secretRef.name", json!("absent"));
    job.apply();
    told(&job, Shows::BeforeContainer, "PodNotStarting", &["absent"]);
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
    told(&job, Shows::InContainer, "CrashLoop", &["3"]);
    heals(job, "program.args", good);
}

#[test]
fn a_program_that_panics_at_its_start_tells_the_last_lines() {
    let space = Space::new("panics");
    let job = Job::new(&space, "counts");
    let good = job.manifest["spec"]["program"]["args"].clone();
    let job = job.with_args(&["--fail", "panic-at-start"]);
    job.apply();
    told(&job, Shows::InContainer, "CrashLoop", &["panicked"]);
    heals(job, "program.args", good);
}

#[test]
fn a_pod_that_no_node_can_take() {
    let space = Space::new("toobig");
    let job = Job::new(&space, "counts").set("resources", json!({"requests": {"cpu": "1000"}}));
    job.apply();
    told(&job, Shows::InScheduling, "Unschedulable", &["cpu"]);
    heals(job, "resources", json!({"requests": {"cpu": "10m"}}));
}

#[test]
fn a_checkpoint_that_start_from_names_and_nobody_has() {
    let space = Space::new("nockpt");
    let job = Job::new(&space, "counts").set("startFrom", json!("other-77"));
    job.apply();
    told(&job, Shows::InSpec, "CheckpointMissing", &["other-77"]);
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
    told(
        &job,
        Shows::InContainer,
        "CheckpointUnreadable",
        &["state/"],
    );
    whole.restore();
    job.wait("it is ready", SOON, |job| {
        condition(job, "Ready")["status"] == "True"
    });
    let committed = job.wait_results_beyond(0);
    job.wait_results_beyond(committed + 500);
}
