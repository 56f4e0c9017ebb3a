//! Deletion never hangs, whatever is gone already.

use std::fs;
use std::io::ErrorKind;

use serde_json::json;

use crate::support::{Job, SOON, Space, operator, until};

fn purged(space: &Space) -> Job<'_> {
    let job = Job::new(space, "counts")
        .set("deletionPolicy", json!("Delete"))
        .start();
    job.wait_checkpoint_after(0);
    job
}

#[test]
fn with_the_bucket_gone() {
    let space = Space::new("nobucket");
    let job = purged(&space);
    let folder = space
        .cluster
        .s3_data_folder()
        .expect("the S3 server's folder");
    let bucket = folder.join(&space.bucket);
    // The job may be writing into it.
    until("the bucket goes", SOON, || {
        match fs::remove_dir_all(&bucket) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    });
    space.kubectl(&["delete", "streamjob", &job.name, "--timeout=200s"]);
    space.wait_gone("streamjob", &job.name);
}

#[test]
fn with_the_secret_gone() {
    let space = Space::new("nosecret");
    let job = purged(&space);
    space.kubectl(&["delete", "secret", "storage"]);
    space.kubectl(&["delete", "streamjob", &job.name, "--timeout=200s"]);
    let events = space.list("events", "");
    let mut events = events.iter().filter(|event| event["reason"] == "FilesLeft");
    let left = events.next().expect("an event that files are left");
    let note = left["message"].as_str().expect("a message");
    assert!(note.contains("Secret storage"), "{note}");
    assert!(note.contains(&space.bucket), "{note}");
}

#[test]
fn with_the_pod_gone_and_the_controller_restarted_in_between() {
    let space = Space::new("nopod");
    let job = purged(&space);
    let pod = job.pod();
    space.kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"]);
    space.kubectl(&["delete", "streamjob", &job.name, "--wait=false"]);
    operator::kill_leader();
    until("the job is gone", SOON * 3, || {
        space
            .find("streamjob", &job.name)
            .map_or(Ok(()), |job| Err(job["status"].to_string()))
    });
}

#[test]
fn with_the_job_gone_before_its_checkpoints() {
    let space = Space::new("nojob");
    let job = Job::new(&space, "counts").start();
    job.wait_checkpoint_after(0);
    until("a checkpoint is mirrored", SOON, || {
        let count = space.list("checkpoints", "tidegate.dev/job=counts").len();
        if count > 0 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    });
    space.kubectl(&["delete", "streamjob", &job.name, "--timeout=200s"]);
    space.kubectl(&["delete", "checkpoints", "--all", "--timeout=200s"]);
}

#[test]
fn with_the_whole_namespace() {
    let space = Space::new("nospace");
    purged(&space);
    space.kubectl(&["delete", "namespace", &space.namespace, "--timeout=600s"]);
}
