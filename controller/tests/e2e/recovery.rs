//! A job comes back from its latest checkpoint, whatever was killed, with every record counted
//! exactly once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_testkit::cluster::Cluster;

use crate::support::{Job, SOON, Space, operator, until};

/// How long the API server stays away.
const OUTAGE: Duration = Duration::from_secs(60);

/// Where the program of the job stands in its pod's tree of processes.
enum Process {
    /// The first one.
    Supervisor,
    /// Its child.
    Job,
}

impl Job<'_> {
    fn kill(&self, process: Process) {
        let pod = self.pod();
        let index = match process {
            Process::Supervisor => 0,
            Process::Job => 1,
        };
        let cluster = self.space.cluster;
        let pid = until(&format!("process {index} of {pod}"), SOON, || {
            let pids = cluster.pids_of_container(&self.space.namespace, &pod, "job");
            let pids = pids.map_err(|error| error.to_string())?;
            pids.get(index).copied().ok_or_else(|| format!("{pids:?}"))
        });
        cluster.kill_process(pid).expect("SIGKILL");
    }
}

/// How often the job was restarted, as its object tells.
fn restarts(job: &Value) -> i64 {
    job["status"]["restarts"].as_i64().unwrap_or(0)
}

#[test]
fn a_job_that_is_applied_becomes_ready_and_its_results_are_complete_files() {
    let space = Space::new("apply");
    let job = Job::new(&space, "counts").start();
    let seen = job.wait_checkpoint_after(0);
    let status = &seen["status"];
    assert_eq!(status["parallelism"], 2);
    let location = format!(
        "s3://{}/checkpoints/{}/counts#",
        space.bucket, space.namespace
    );
    let told = status["latestCheckpoint"]["location"]
        .as_str()
        .unwrap_or_default();
    assert!(told.starts_with(&location), "{status}");
    job.wait_results_beyond(1000);
    let table = space.kubectl(&["get", "sj", "counts"]);
    let words: Vec<&str> = table
        .lines()
        .nth(1)
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(&words[..4], ["counts", "True", "Running", "2"], "{table}");
    let wait = [
        "wait",
        "--for=condition=Ready",
        "streamjob/counts",
        "--timeout=180s",
    ];
    space.kubectl(&wait);
    until(
        "a checkpoint stands in kubectl get checkpoints",
        SOON,
        || {
            let table = space.kubectl(&["get", "ckpt"]);
            let is_there = table.contains("counts-") && table.contains("Completed");
            if is_there { Ok(()) } else { Err(table) }
        },
    );
}

#[test]
fn a_pod_deleted_at_once_is_replaced_and_goes_on_from_the_latest_checkpoint() {
    let space = Space::new("pod");
    let job = Job::new(&space, "counts").start();
    job.survives(|| {
        let pod = job.pod();
        space.kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"]);
        job.wait_other_pod(&pod);
    });
}

#[test]
fn a_killed_job_process_is_back_in_the_same_container() {
    let space = Space::new("kill");
    let job = Job::new(&space, "counts").start();
    let pod = job.pod();
    let before = restarts(&job.wait_ready());
    job.survives(|| {
        job.kill(Process::Job);
        job.wait("its restart is told", SOON, |job| restarts(job) > before);
    });
    assert_eq!(job.pod(), pod, "the pod stays");
    let pod = space.find("pod", &pod).expect("the pod");
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(
        container["restartCount"], 0,
        "the supervisor restarts it, not kubelet"
    );
}

#[test]
fn a_killed_supervisor_is_back_by_kubelet() {
    let space = Space::new("super");
    let job = Job::new(&space, "counts").start();
    let pod = job.pod();
    let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64();
    job.survives(|| {
        job.kill(Process::Supervisor);
        space.wait(("pod", &pod), SOON, "its container is restarted", |pod| {
            restarts(pod) > Some(0)
        });
    });
    let pod = space.find("pod", &pod).expect("the pod stays");
    assert_eq!(restarts(&pod), Some(1));
}

#[test]
fn an_out_of_memory_kill_is_told_with_its_figures_and_survived() {
    let space = Space::new("oom");
    let job = Job::new(&space, "counts")
        .with_args(&["--eat-memory", "400", "--once", "/tmp/eaten"])
        .set("resources", json!({"limits": {"memory": "128Mi"}}));
    job.apply();
    job.wait("a failure that tells the memory limit", SOON, |job| {
        let failure = &job["status"]["lastFailure"];
        failure["reason"] == "OutOfMemory"
            && failure["message"]
                .as_str()
                .is_some_and(|message| message.contains("128Mi"))
    });
    let described = space.kubectl(&["describe", "streamjob", "counts"]);
    assert!(described.contains("memory limit of 128Mi"), "{described}");
    job.wait_results_beyond(500);
    job.wait_ready();
}

#[test]
fn of_two_pods_at_once_the_older_is_fenced() {
    let space = Space::new("fence");
    let job = Job::new(&space, "counts").start();
    let first = job.pod();
    job.survives(|| {
        let selector = "tidegate.dev/job=counts";
        let deployment = &space.list("deployments", selector)[0];
        let name = deployment["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        // Another pod of the same role, beside the one that runs.
        let mut pod = space.find("pod", &first).expect("the pod");
        pod["metadata"] = json!({
            "name": "second", "labels": pod["metadata"]["labels"],
            "annotations": pod["metadata"]["annotations"],
        });
        let labels = pod["metadata"]["labels"].as_object_mut().expect("labels");
        // Not the ReplicaSet's, which would delete it.
        labels.remove("pod-template-hash");
        let spec = pod["spec"].as_object_mut().expect("a spec");
        spec.remove("nodeName");
        pod["status"] = Value::Null;
        space.apply(&pod);
        until(&format!("a pod of {name} is fenced"), SOON, || {
            let logs = space.try_kubectl(&["logs", &first, "--tail", "50"], None);
            let text = String::from_utf8_lossy(&logs.stdout).into_owned();
            let error = String::from_utf8_lossy(&logs.stderr).into_owned();
            let is_fenced = text.contains("Fenced") || error.contains("not found");
            if is_fenced {
                Ok(())
            } else {
                Err(format!("{text}{error}"))
            }
        });
    });
    space.kubectl(&[
        "delete",
        "pod",
        "second",
        "--ignore-not-found",
        "--wait=false",
    ]);
    job.survives(|| {});
}

#[test]
fn without_an_api_server_a_killed_job_recovers_and_goes_on_checkpointing() {
    let space = Space::alone("outage");
    let job = Job::new(&space, "counts").start();
    let committed = job.wait_results_beyond(0);
    let pod = job.pod();
    let cluster = space.cluster;
    let pids = cluster.pids_of_container(&space.namespace, &pod, "job");
    let pids = pids.expect("its processes");
    let restarts = operator::restart_count();
    cluster.stop_api_server().expect("the API server stops");
    let stopped = Instant::now();
    let back = Restart(cluster);
    cluster.kill_process(pids[1]).expect("SIGKILL");
    let mut committed = job.wait_results_beyond(committed + 500);
    while stopped.elapsed() < OUTAGE {
        committed = job.wait_results_beyond(committed);
    }
    drop(back);
    job.wait_ready();
    job.survives(|| {});
    // The one that led has ended, since it could not keep its Lease. Nobody ends because it cannot
    // begin: Kubernetes would wait longer and longer before it starts a controller again.
    let restarts = operator::restart_count() - restarts;
    assert!(restarts <= 1, "controllers were restarted {restarts} times");
}

/// Starts the API server again, though the test has failed.
struct Restart<'a>(&'a Cluster);

impl Drop for Restart<'_> {
    fn drop(&mut self) {
        self.0.start_api_server().expect("the API server starts");
    }
}
