//! Checkpoint objects: savepoints on request, restore into another job, deletion, a job that is
//! deleted and applied again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Job, SOON, Space, bucket, until};

/// A job that is deleted is waited for so long, from a time in whole seconds.
const LAST_WORD_DEADLINE: Duration = Duration::from_secs(14);

fn savepoint(space: &Space, job: &str, name: &str) -> Value {
    space.apply(&json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Checkpoint",
        "metadata": {"name": name}, "spec": {"jobName": job},
    }));
    space.wait(("checkpoint", name), SOON, "it is complete", |checkpoint| {
        checkpoint["status"]["state"] == "Completed"
    })
}

/// Also one that could not begin at first: what it was to start from is not forgotten.
#[test]
fn a_savepoint_by_hand_starts_a_second_job() {
    let space = Space::new("second");
    let first = Job::new(&space, "first").start();
    let committed = first.wait_results_beyond(500);
    let taken = savepoint(&space, "first", "before-split");
    assert_eq!(taken["status"]["kind"], "Savepoint");
    let second = Job::new(&space, "second").set("startFrom", json!("before-split"));
    let image = second.manifest["spec"]["program"]["image"].clone();
    let second = second.set("program.image", json!("registry.invalid/no/such:1"));
    second.apply();
    second.wait_condition("Ready", "False", "ImagePullFailed");
    let second = second.set("program.image", image).start();
    let least = until(
        "the second job commits more than a line a key",
        SOON,
        || {
            let lines = second.lines()?;
            let least = lines.iter().map(|line| line.index).min();
            if lines.len() > 2000 {
                Ok(least)
            } else {
                Err(format!("{} lines", lines.len()))
            }
        },
    );
    assert!(least > Some(0), "it began afresh, at index {least:?}");
    let what = "the second goes on exactly where the savepoint stood";
    until(what, SOON, || second.history_after(&first)?.check());
    first.wait_results_beyond(committed + 500);
}

fn suspended(job: &mut Job<'_>, is_suspended: bool) {
    job.change("suspend", json!(is_suspended));
    job.apply();
    if is_suspended {
        job.wait_condition("Ready", "False", "Suspended");
    } else {
        job.wait_ready();
    }
}

#[test]
fn a_savepoint_is_deleted_whether_or_not_the_job_runs_and_nothing_else_with_it() {
    let space = Space::new("release");
    let mut job = Job::new(&space, "counts").start();
    job.wait_results_beyond(500);
    for is_suspended in [false, true] {
        savepoint(&space, "counts", "keep");
        if is_suspended {
            suspended(&mut job, true);
        }
        space.kubectl(&["delete", "checkpoint", "keep", "--timeout=200s"]);
        space.wait_gone("checkpoint", "keep");
    }
    suspended(&mut job, false);
    let committed = job.wait_results_beyond(0);
    job.wait_results_beyond(committed + 500);
}

#[test]
fn with_its_last_checkpoint_a_suspended_jobs_last_file_goes() {
    let space = Space::new("files");
    let mut job = Job::new(&space, "counts").start();
    job.wait_results_beyond(500);
    suspended(&mut job, true);
    let folder = format!("checkpoints/{}/counts/state/", space.namespace);
    assert!(!bucket::list(&space, &folder).is_empty());
    space.kubectl(&["delete", "checkpoints", "--all", "--timeout=200s"]);
    let left = bucket::list(&space, &folder);
    assert_eq!(left, Vec::<String>::new(), "{}", files_left(&space));
}

/// What the operator says of files that it could not remove in time.
fn files_left(space: &Space) -> String {
    let events = space.list("events", "").into_iter();
    let left = events.filter(|event| event["reason"] == "FilesLeft");
    let notes = left.map(|event| event["message"].to_string());
    notes.collect::<Vec<_>>().join(", ")
}

/// The numbers that the job's objects tell.
fn mirrored(space: &Space) -> BTreeSet<i64> {
    let mut objects = space.list("checkpoints", "tidegate.dev/job=counts");
    objects.retain(|object| object["metadata"]["deletionTimestamp"].is_null());
    let ids = objects
        .iter()
        .filter_map(|object| object["status"]["id"].as_i64());
    ids.collect()
}

/// The numbers of the checkpoints that the log retains, as its highest entry says in the bucket.
fn retained(space: &Space) -> BTreeSet<i64> {
    let folder = format!("checkpoints/{}/counts/log/", space.namespace);
    // What is not retained may go between a listing and a read, and with a later entry what was.
    until("the log tells what it retains", SOON, || {
        let names = bucket::try_list(space, &folder)?;
        let entry = |name: &str| -> Result<Value, String> {
            let text = bucket::read(space, name)?;
            serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))
        };
        let highest = entry(names.iter().max().ok_or("the log has no entry")?)?;
        let numbers = highest["retained"].as_array().into_iter().flatten();
        let numbers = numbers.filter_map(Value::as_u64);
        let kept = numbers.map(|number| entry(&format!("{folder}{number:020}.json")));
        let ids = kept.map(|kept| Ok(kept?["checkpoint"]["checkpoint"].as_i64()));
        let ids: Result<BTreeSet<Option<i64>>, String> = ids.collect();
        let ids: BTreeSet<i64> = ids?.into_iter().flatten().collect();
        match ids.is_empty() {
            true => Err(highest.to_string()),
            false => Ok(ids),
        }
    })
}

#[test]
fn a_job_deleted_and_applied_again_goes_on_from_its_newest_checkpoint() {
    let space = Space::new("again");
    let job = Job::new(&space, "counts").start();
    job.wait_results_beyond(500);
    until("a checkpoint is mirrored", SOON, || {
        match space.list("checkpoints", "tidegate.dev/job=counts").len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    });
    let deletion = Instant::now();
    space.kubectl(&["delete", "streamjob", "counts", "--timeout=200s"]);
    // Past its deadline the job goes without a last word.
    let has_last_word = deletion.elapsed() < LAST_WORD_DEADLINE;
    job.wait_without_pods(SOON);
    let (mirrored, retained) = (mirrored(&space), retained(&space));
    assert!(
        !has_last_word || mirrored == retained,
        "they stay as the log has them: {mirrored:?}, not {retained:?}"
    );
    let committed = job.checked_results().check().expect("checked");
    job.apply();
    job.wait_ready();
    job.wait_results_beyond(committed + 500);
}

#[test]
fn the_policy_delete_removes_every_file_of_the_job_and_no_other() {
    let space = Space::new("purge");
    let kept = Job::new(&space, "counts-2").start();
    let gone = Job::new(&space, "counts")
        .set("deletionPolicy", json!("Delete"))
        .start();
    gone.wait_checkpoint_after(1);
    kept.wait_checkpoint_after(1);
    savepoint(&space, "counts", "manual");
    space.kubectl(&["delete", "streamjob", "counts", "--timeout=200s"]);
    let folder = format!("checkpoints/{}/counts/", space.namespace);
    let left = bucket::list(&space, &folder);
    assert_eq!(left, Vec::<String>::new(), "{}", files_left(&space));
    let others = format!("checkpoints/{}/counts-2/", space.namespace);
    assert!(!bucket::list(&space, &others).is_empty());
    assert!(
        space
            .list("checkpoints", "tidegate.dev/job=counts")
            .is_empty()
    );
    let committed = kept.wait_results_beyond(0);
    kept.wait_results_beyond(committed + 500);
}

/// The old log cannot fence the new one's writers, nor the other way round: what comes after the
/// newest checkpoint must neither be lost nor given twice.
#[test]
fn a_job_that_moves_to_another_storage_takes_its_state_along() {
    let space = Space::new("move");
    let mut job = Job::new(&space, "counts").start();
    job.wait_results_beyond(500);
    let kept = savepoint(&space, "counts", "before-move");
    let number = kept["status"]["id"].as_i64().expect("a number");
    let url = format!("s3://{}/moved", space.bucket);
    job.change("checkpoint.storage.url", json!(url));
    let manifest = job.manifest.to_string();
    let refused = space.try_kubectl(&["apply", "-f", "-"], Some(&manifest));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("set startFrom in the same change"), "{why}");

    let from = format!(
        "s3://{}/checkpoints/{}/counts",
        space.bucket, space.namespace
    );
    job.change("startFrom", json!(from));
    job.apply();
    job.wait("the upgrade is complete", SOON, |job| {
        job["status"]["upgrade"]["phase"] == "Complete"
    });
    let committed = job.checked_results().check().expect("checked");
    job.wait_results_beyond(committed + 500);
    let status = job.wait_ready()["status"]["latestCheckpoint"].clone();
    let location = status["location"].as_str().expect("a location");
    assert!(location.starts_with(&url), "{location}");

    // Its object is still there, and is what gives it up, in the old log.
    assert!(retained(&space).contains(&number));
    space.kubectl(&["delete", "checkpoint", "before-move", "--timeout=200s"]);
    assert!(!retained(&space).contains(&number));
    job.wait_results_beyond(committed + 1000);
}
