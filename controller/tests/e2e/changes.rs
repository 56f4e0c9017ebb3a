//! What a person changes of a running job: arguments, image, parallelism, live settings, suspend.

use serde_json::{Value, json};

use crate::support::{Job, SOON, Space, condition, operator, until};

fn upgrade(job: &Job<'_>, phase: &str) -> Value {
    let done = job.wait(&format!("the upgrade is {phase}"), SOON, |job| {
        job["status"]["upgrade"]["phase"] == phase
    });
    done["status"]["upgrade"].clone()
}

#[test]
fn changed_arguments_take_over_from_the_latest_checkpoint() {
    let space = Space::new("args");
    let mut job = Job::new(&space, "counts")
        .with_args(&["--label", "v1"])
        .start();
    job.wait_checkpoint_after(0);
    let committed = job.wait_results_beyond(500);
    let args = job.manifest["spec"]["program"]["args"]
        .as_array_mut()
        .expect("a list");
    *args.last_mut().expect("a label") = json!("v2");
    job.apply();
    let told = upgrade(&job, "Complete");
    assert_eq!(told["requestedMode"], "LatestCheckpoint", "{told}");
    assert_eq!(told["usedMode"], "LatestCheckpoint", "{told}");
    assert!(
        told["fromCheckpoint"].as_i64().is_some_and(|id| id > 0),
        "{told}"
    );
    assert!(
        told["message"].as_str().is_some_and(|why| !why.is_empty()),
        "{told}"
    );
    job.wait_results_beyond(committed + 500);
    until("the new revision commits, too", SOON, || {
        let results = job.checked_results();
        let labels: Vec<&String> = results.labels().iter().collect();
        match labels == ["v1", "v2"] {
            true => Ok(()),
            false => Err(format!("{labels:?}")),
        }
    });
    job.wait_condition("UpToDate", "True", "Stable");
    until("only the new revision is left", SOON, || {
        let kinds = ["deployments", "configmaps", "secrets"];
        let counts = kinds.map(|kind| space.list(kind, "tidegate.dev/job=counts").len());
        (counts == [1; 3])
            .then_some(())
            .ok_or_else(|| format!("{counts:?} of {kinds:?}"))
    });
}

#[test]
fn an_upgrade_in_savepoint_mode_goes_on_from_a_savepoint() {
    let space = Space::new("save");
    let mut job = Job::new(&space, "counts")
        .set("upgrade", json!({"mode": "Savepoint"}))
        .start();
    job.wait_results_beyond(500);
    job.change("program.env", json!([{"name": "COLOUR", "value": "blue"}]));
    job.apply();
    let told = upgrade(&job, "Complete");
    assert_eq!(told["usedMode"], "Savepoint", "{told}");
    let from = told["fromCheckpoint"].as_i64().expect("a checkpoint");
    let name = format!("counts-{from}");
    space.wait(
        ("checkpoint", &name),
        SOON,
        "it is a savepoint",
        |checkpoint| checkpoint["status"]["kind"] == "Savepoint",
    );
    job.checked_results();
}

#[test]
fn an_upgrade_long_before_the_next_checkpoint_computes_nothing_again() {
    let space = Space::new("between");
    let mut job = Job::new(&space, "counts")
        .set("checkpoint.intervalSeconds", json!(3600))
        .start();
    job.change("program.env", json!([{"name": "COLOUR", "value": "blue"}]));
    job.apply();
    let what = "the new revision goes on from the old one's last checkpoint";
    job.wait(what, SOON, |job| {
        job["status"]["upgrade"]["fromCheckpoint"]
            .as_i64()
            .is_some()
    });
    job.wait_ready();
    job.checked_results();
}

#[test]
fn a_changed_image_takes_over_from_the_latest_checkpoint() {
    let space = Space::new("newimage");
    let mut job = Job::new(&space, "counts").start();
    job.wait_checkpoint_after(0);
    let committed = job.wait_results_beyond(500);
    job.change("program.image", json!(operator::NEXT_JOB_IMAGE));
    job.apply();
    let told = upgrade(&job, "Complete");
    assert!(
        told["fromCheckpoint"].as_i64().is_some_and(|id| id > 0),
        "{told}"
    );
    let pod = space.find("pod", &job.pod()).expect("the new pod");
    assert_eq!(
        pod["spec"]["containers"][0]["image"],
        operator::NEXT_JOB_IMAGE
    );
    job.wait_results_beyond(committed + 500);
}

#[test]
fn an_image_that_does_not_exist_never_stops_the_running_job() {
    let space = Space::new("image");
    let mut job = Job::new(&space, "counts").start();
    let (pod, good) = (job.pod(), job.manifest["spec"]["program"]["image"].clone());
    job.change("program.image", json!("registry.invalid/no/such:1"));
    job.apply();
    job.wait("it says that the image cannot be pulled", SOON, |job| {
        job["status"]["conditions"]
            .to_string()
            .contains("registry.invalid/no/such:1")
    });
    let committed = job.wait_results_beyond(0);
    job.wait_results_beyond(committed + 500);
    assert!(space.find("pod", &pod).is_some(), "the old pod runs on");
    job.change("program.image", good);
    job.apply();
    job.wait_ready();
    assert_eq!(job.pod(), pod, "nothing restarted");
    job.checked_results();
}

#[test]
fn state_that_does_not_fit_is_refused_while_the_old_revision_runs_on() {
    let space = Space::new("misfit");
    let mut job = Job::new(&space, "counts").start();
    job.wait_checkpoint_after(0);
    let good = job.manifest.clone();
    job = job.with_args(&["--state", "text"]);
    job.apply();
    job.wait("it names the operator that does not fit", SOON, |job| {
        let told = condition(job, "UpToDate");
        let message = told["message"].as_str().unwrap_or_default();
        told["reason"] == "UpgradeRefused" && message.contains("operator `count`")
    });
    let committed = job.wait_results_beyond(0);
    job.wait_results_beyond(committed + 500);
    job.manifest = good;
    job.apply();
    job.wait_condition("UpToDate", "True", "Stable");
    job.checked_results();
}

#[test]
fn a_version_that_fails_is_rolled_back_to_the_last_stable_one() {
    rolls_back(&Space::new("back"), "LatestCheckpoint");
}

/// The log has gone on from nothing by then.
#[test]
fn a_version_that_starts_without_state_and_fails_takes_none_along() {
    let told = rolls_back(&Space::new("afresh"), "Stateless");
    assert!(
        told["rollbackCheckpoint"].as_i64().is_some_and(|id| id > 0),
        "{told}"
    );
}

fn rolls_back(space: &Space, mode: &str) -> Value {
    let mut job = Job::new(space, "counts")
        .set("upgrade", json!({"mode": mode}))
        .set(
            "restart",
            json!({"attempts": 2, "initialDelayMilliseconds": 100}),
        )
        .start();
    job.wait_checkpoint_after(1);
    job = job.with_args(&["--fail", "error-after=1"]);
    job.apply();
    let told = upgrade(&job, "RolledBack");
    assert!(
        told["message"].as_str().is_some_and(|why| !why.is_empty()),
        "{told}"
    );
    let checkpoint = job.latest_checkpoint();
    job.wait_checkpoint_after(checkpoint + 2);
    job.wait_condition("UpToDate", "False", "RolledBack");
    job.checked_results();
    told
}

/// As a person would see it where a platform team limits what a namespace may hold.
#[test]
fn an_upgrade_that_a_quota_forbids_is_told_and_goes_on_when_the_quota_is_gone() {
    let space = Space::new("quota");
    let mut job = Job::new(&space, "counts").start();
    let committed = job.wait_results_beyond(200);
    space.apply(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"},
        "spec": {"hard": {"count/deployments.apps": "1"}},
    }));
    until("the quota counts what there is", SOON, || {
        let quota = space.list("resourcequotas", "").swap_remove(0);
        match quota["status"]["used"]["count/deployments.apps"] == "1" {
            true => Ok(()),
            false => Err(quota["status"].to_string()),
        }
    });
    let pod = job.pod();
    job.change("program.env", json!([{"name": "COLOUR", "value": "blue"}]));
    job.apply();
    job.wait("the quota is told", SOON, |job| {
        let up_to_date = condition(job, "UpToDate");
        let message = up_to_date["message"].as_str().unwrap_or_default();
        up_to_date["reason"] == "UpgradeRefused" && message.contains("exceeded quota: one")
    });
    job.wait_condition("Ready", "True", "Running");
    job.wait_results_beyond(committed + 500);
    assert_eq!(job.pod(), pod, "the old revision runs on");
    let made = |note: &str| note.starts_with("revision") && note.ends_with("is made");
    let events = space.list("events", "");
    let notes = events.iter().filter_map(|event| event["message"].as_str());
    assert_eq!(
        notes.filter(|note| made(note)).count(),
        1,
        "the first one's"
    );
    space.kubectl(&["delete", "resourcequota", "one"]);
    upgrade(&job, "Complete");
    job.wait_results_beyond(committed + 1000);
    job.checked_results();
}

#[test]
fn what_somebody_edits_by_hand_is_put_back() {
    let space = Space::new("edited");
    let job = Job::new(&space, "counts").start();
    let committed = job.wait_results_beyond(500);
    let pod = job.pod();
    let config = "/data/config.json";
    let garbage = json!({"op": "replace", "path": config, "value": "garbage"});
    let nothing = json!({"op": "remove", "path": config});
    let everybody = json!({"op": "replace", "path": "/spec/ingress", "value": [{}]});
    edited(&job, ("configmaps", &garbage), "changed by kubectl-patch");
    edited(&job, ("configmaps", &nothing), "changed by somebody");
    edited(
        &job,
        ("networkpolicies", &everybody),
        "changed by kubectl-patch",
    );
    assert_eq!(job.pod(), pod, "its pod runs on");
    let environment = json!([{"name": "COLOUR", "value": "blue"}]);
    let path = "/spec/template/spec/containers/0/env";
    let blue = json!({"op": "replace", "path": path, "value": environment});
    edited(&job, ("deployments", &blue), "differs from what was made");
    until("no pod is blue", SOON, || {
        let blue = |pod: &&Value| pod.to_string().contains("COLOUR");
        match job.pods().iter().find(blue) {
            None => Ok(()),
            Some(pod) => Err(pod["metadata"]["name"].to_string()),
        }
    });
    job.wait_ready();
    job.wait_results_beyond(committed + 500);
    job.checked_results();
}

/// Patches a job's object as a person would, and waits until it is as it was and an event with
/// these words tells so.
fn edited(job: &Job<'_>, (kind, patch): (&str, &Value), words: &str) {
    let content = |object: &Value| match kind {
        "configmaps" => object["data"].clone(),
        "deployments" => object["spec"]["template"].clone(),
        _ => object["spec"].clone(),
    };
    let label = format!("tidegate.dev/job={}", job.name);
    let before = job.space.list(kind, &label).swap_remove(0);
    let name = before["metadata"]["name"].as_str().expect("a name");
    let patch = json!([patch]).to_string();
    job.space
        .kubectl(&["patch", kind, name, "--type=json", "--patch", &patch]);
    job.space
        .wait((kind, name), SOON, "it is as it was", |now| {
            content(now) == content(&before)
        });
    until(&format!("an event tells of {name}"), SOON, || {
        let events = job.space.list("events", "");
        let mut notes = events.iter().filter_map(|event| event["message"].as_str());
        let tells = |note: &str| {
            [name, words, "is put back"]
                .iter()
                .all(|it| note.contains(it))
        };
        notes
            .any(tells)
            .then_some(())
            .ok_or_else(|| format!("{} events", events.len()))
    });
}

#[test]
fn a_suspended_job_has_no_pods_and_goes_on_where_it_stood() {
    let space = Space::new("suspend");
    let mut job = Job::new(&space, "counts").start();
    let committed = job.wait_results_beyond(500);
    job.change("suspend", json!(true));
    job.apply();
    job.wait_condition("Ready", "False", "Suspended");
    job.wait_without_pods(SOON);
    let standing = job.checked_results().check().expect("checked");
    job.change("suspend", json!(false));
    job.apply();
    job.wait_ready();
    assert!(job.wait_results_beyond(standing.max(committed) + 500) > standing);
}

#[test]
fn a_job_that_cannot_reach_its_bucket_is_suspended_from_its_latest_checkpoint() {
    let space = Space::new("away");
    let mut job = Job::new(&space, "counts").start();
    let committed = job.wait_results_beyond(500);
    let folder = space.cluster.s3_data_folder();
    let bucket = folder.expect("the S3 server's folder").join(&space.bucket);
    let away = bucket.with_extension("away");
    std::fs::rename(&bucket, &away).expect("the bucket goes");
    // In the very moment of a commit it is the attempt that fails, and those that follow it.
    job.wait("its checkpoints fail, or a commit", SOON, |job| {
        let conditions = job["status"]["conditions"].to_string();
        conditions.contains("CheckpointFailing") || conditions.contains("NoSuchBucket")
    });
    job.change("suspend", json!(true));
    job.apply();
    job.wait_condition("Ready", "False", "Suspended");
    job.wait_without_pods(SOON);
    std::fs::rename(&away, &bucket).expect("the bucket comes back");
    job.change("suspend", json!(false));
    job.apply();
    job.wait_ready();
    job.wait_results_beyond(committed + 500);
}

#[test]
fn kubectl_scale_rescales_up_and_down_without_a_new_pod() {
    let space = Space::new("scale");
    let job = Job::new(&space, "counts").start();
    let pod = job.pod();
    for parallelism in [4, 1] {
        let committed = job.wait_results_beyond(0);
        space.kubectl(&[
            "scale",
            "streamjob/counts",
            &format!("--replicas={parallelism}"),
        ]);
        job.wait(&format!("it runs at {parallelism}"), SOON, |job| {
            job["status"]["parallelism"] == parallelism
        });
        job.wait_results_beyond(committed + 500);
    }
    assert_eq!(job.pod(), pod, "the pod stays");
}

#[test]
fn live_settings_change_without_a_restart() {
    let space = Space::new("live");
    let mut job = Job::new(&space, "counts")
        .set("checkpoint.intervalSeconds", json!(3600))
        .start();
    let (pod, restarts) = (job.pod(), job.wait_ready()["status"]["restarts"].clone());
    job.change("checkpoint.intervalSeconds", json!(1));
    job.change("logLevel", json!("Debug"));
    job.manifest["metadata"]["labels"] = json!({"team": "tide"});
    job.apply();
    let seen = job.wait_checkpoint_after(1);
    assert_eq!(job.pod(), pod, "the pod stays");
    assert_eq!(seen["status"]["restarts"], restarts, "nothing restarted");
    job.checked_results();
}
