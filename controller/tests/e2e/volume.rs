//! A job that keeps its checkpoints and its results on a volume, and no bucket at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_testkit::Counts;

use crate::support::{Job, SOON, Space};

/// A volume of the node that the space's pods can claim as `jobs`, and its folder.
fn volume(space: &Space) -> PathBuf {
    let cluster = space.cluster;
    let folder = cluster.folder().expect("the cluster's folder");
    let folder = folder.join("volumes").join(&space.namespace);
    fs::create_dir_all(&folder).expect("a folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("for everybody");
    let claim = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "",
        "resources": {"requests": {"storage": "1Gi"}}, "volumeName": space.namespace,
    });
    let volume = json!({
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": folder, "type": "Directory"},
    });
    space.apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": space.namespace}, "spec": volume,
    }));
    space.apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "jobs"}, "spec": claim,
    }));
    // A scheduler that finds it unbound may look again only minutes later.
    let bound = "--for=jsonpath={.status.phase}=Bound";
    space.kubectl(&[
        "wait",
        bound,
        "persistentvolumeclaim/jobs",
        "--timeout=200s",
    ]);
    folder
}

/// The text of all committed files of a sink.
fn committed(folder: &Path) -> String {
    let files = fs::read_dir(folder).expect("the results");
    let paths = files.map(|file| file.expect("an entry").path());
    let visible = paths.filter(|path| path.is_file());
    visible
        .map(|path| fs::read_to_string(path).expect("text"))
        .collect()
}

#[test]
fn a_job_on_a_volume_counts_exactly_and_its_files_go_when_they_should() {
    let space = Space::new("volume");
    let folder = volume(&space);
    let container = json!({
        "name": "job", "volumeMounts": [{"name": "jobs", "mountPath": "/data"}],
    });
    let claim = json!({"name": "jobs", "persistentVolumeClaim": {"claimName": "jobs"}});
    let args = json!(["--output", "/data/results", "--keys", "50", "--rate", "500"]);
    let mut job = Job::new(&space, "counts")
        .set("deletionPolicy", json!("Delete"))
        .set("program.args", args)
        .set("checkpoint.storage", json!({"url": "file:///data/jobs"}))
        .set(
            "podTemplate",
            json!({"spec": {"containers": [container], "volumes": [claim]}}),
        )
        .start();
    let before = job.wait_checkpoint_after(1)["status"]["latestCheckpoint"]["id"].clone();
    space.kubectl(&["delete", "pod", &job.pod(), "--grace-period=0", "--force"]);
    job.wait_checkpoint_after(before.as_i64().expect("a number") + 1);
    job.change("suspend", json!(true));
    job.apply();
    job.wait_condition("Ready", "False", "Suspended");
    job.wait_without_pods(SOON);
    let mut counts = Counts::new(50, 0);
    counts
        .add(&committed(&folder.join("results")))
        .expect("lines of the job");
    assert!(counts.check().expect("each record is counted once") > 500);

    // Nobody but a pod of the clean-up's own can remove anything now.
    let own = folder.join("jobs").join(&space.namespace).join("counts");
    assert!(own.is_dir(), "{} is not there", own.display());
    let mirrored = space.list("checkpoints", "tidegate.dev/job=counts");
    let name = mirrored[0]["metadata"]["name"].as_str().expect("a name");
    space.kubectl(&["delete", "checkpoint", name, "--timeout=200s"]);
    space.kubectl(&["delete", "streamjob", &job.name, "--timeout=200s"]);
    let events = space.kubectl(&["get", "events", "--output", "json"]);
    assert!(!events.contains("FilesLeft"), "{events}");
    assert!(!own.exists(), "{} is still there", own.display());
    space.kubectl(&[
        "delete",
        "persistentvolume",
        &space.namespace,
        "--wait=false",
    ]);
}
