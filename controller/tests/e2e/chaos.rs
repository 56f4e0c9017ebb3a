//! The leading controller is killed in the midst of each step of a job's life: it is never missed
//! for long, and nothing is done twice.

use serde_json::json;

use crate::support::{Job, SOON, Space, condition, operator};

/// Create, lose the pod, upgrade, suspend, resume, scale, save, delete, apply again.
#[test]
fn each_step_of_a_jobs_life_goes_through_though_the_controller_is_killed_in_its_midst() {
    let space = Space::alone("chaos");
    // A dead leader's lease runs out first.
    let patience = SOON * 2;
    let mut job = Job::new(&space, "counts");
    job.apply();
    operator::kill_leader();
    job.wait("it runs", patience, |job| {
        condition(job, "Ready")["status"] == "True"
    });
    let mut committed = job.wait_results_beyond(500);
    let pod = job.pod();
    space.kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"]);
    operator::kill_leader();
    committed = job.wait_results_beyond(committed + 500);
    job = job.with_args(&["--label", "v2"]);
    job.apply();
    operator::kill_leader();
    job.wait("the upgrade is complete", patience, |job| {
        job["status"]["upgrade"]["phase"] == "Complete"
    });
    committed = job.wait_results_beyond(committed + 500);
    for (is_suspended, reason) in [(true, "Suspended"), (false, "Running")] {
        job.change("suspend", json!(is_suspended));
        job.apply();
        operator::kill_leader();
        job.wait(reason, patience, |job| {
            condition(job, "Ready")["reason"] == reason
        });
    }
    committed = job.wait_results_beyond(committed + 500);
    space.kubectl(&["scale", "streamjob/counts", "--replicas=3"]);
    operator::kill_leader();
    job.wait("it runs at 3", patience, |job| {
        job["status"]["parallelism"] == 3
    });
    space.apply(&json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Checkpoint",
        "metadata": {"name": "kept"}, "spec": {"jobName": "counts"},
    }));
    operator::kill_leader();
    space.wait(
        ("checkpoint", "kept"),
        patience,
        "it is complete",
        |checkpoint| checkpoint["status"]["state"] == "Completed",
    );
    let checkpoints = space.list("checkpoints", "").into_iter();
    let savepoints = checkpoints.filter(|one| one["status"]["kind"] == "Savepoint");
    // One by request, one of the suspension: no kill led to a second of either.
    assert_eq!(savepoints.count(), 2);
    space.kubectl(&["delete", "streamjob", "counts", "--wait=false"]);
    operator::kill_leader();
    space.wait_gone("streamjob", "counts");
    job.wait_without_pods(patience);
    job.apply();
    job.wait_results_beyond(committed + 500);
}
