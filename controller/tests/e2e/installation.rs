//! The chart beside a job that runs: tested, upgraded, removed and installed again.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_testkit::cluster::Cluster;

use crate::support::{Job, SOON, Space, operator};

/// The annotation with the template that a Deployment was made with.
const MADE: &str = "tidegate.dev/pod-template";
const RELEASE: [&str; 3] = ["tidegate", "--namespace", operator::NAMESPACE];

fn helm(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.helm(&[arguments, &["--timeout", "3m"]].concat());
    output.unwrap_or_else(|error| panic!("helm {arguments:?}: {error}"))
}

fn upgrade(cluster: &Cluster, values: &[&str]) {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/tidegate");
    let chart = chart.to_str().expect("UTF-8");
    let install = ["upgrade", "--install", RELEASE[0], chart, "--wait"];
    helm(cluster, &[&install[..], &RELEASE[1..], values].concat());
}

/// The release as it was, whatever becomes of the test.
struct Restored<'a> {
    cluster: &'a Cluster,
    values: PathBuf,
}

impl<'a> Restored<'a> {
    fn new(space: &'a Space) -> Self {
        let get = ["get", "values", "--output", "json"];
        let output = space.cluster.helm(&[&get[..], &RELEASE].concat());
        let folder = space.cluster.folder().expect("the cluster's folder");
        let values = folder.join(format!("values-{}.json", space.namespace));
        fs::write(&values, output.expect("the release's values")).expect("a file");
        let cluster = space.cluster;
        Self { cluster, values }
    }

    fn install(&self) {
        let values = self.values.to_str().expect("UTF-8");
        upgrade(self.cluster, &["--values", values]);
    }
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        self.install();
    }
}

/// Gives a job's Deployment another template, as if another version of the controller had made it.
fn another_versions_template(job: &Job<'_>) -> String {
    let own = format!("tidegate.dev/job={}", job.name);
    let deployment = job.space.list("deployments", &own).remove(0);
    let name = deployment["metadata"]["name"].as_str().expect("a name");
    // What that version would have made, so that it is nobody's edit.
    let annotations = &deployment["metadata"]["annotations"];
    let made = annotations[MADE].as_str().expect("the template as made");
    let mut made: Value = serde_json::from_str(made).expect("JSON");
    made["spec"]["terminationGracePeriodSeconds"] = json!(7);
    let patch = json!({
        "metadata": {"annotations": {MADE: made.to_string()}},
        "spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}},
    });
    let before = job.pod();
    job.space
        .kubectl(&["patch", "deployment", name, "--patch", &patch.to_string()]);
    job.wait_other_pod(&before);
    job.wait_ready();
    name.to_owned()
}

#[test]
fn a_job_outlives_the_chart_and_is_looked_after_again() {
    let space = Space::alone("chart");
    let job = Job::new(&space, "counts").start();
    job.wait_checkpoint_after(0);
    let cluster = space.cluster;
    let restored = Restored::new(&space);
    helm(cluster, &[&["test"], &RELEASE[..]].concat());

    let deployment = another_versions_template(&job);
    let pod = job.pod();
    let annotation = "tidegate.dev/applied";
    let forgotten = format!("{annotation}=by-another-version");
    space.kubectl(&[
        "annotate",
        "deployment",
        &deployment,
        "--overwrite",
        &forgotten,
    ]);
    upgrade(
        cluster,
        &["--reuse-values", "--set", "controller.logLevel=debug"],
    );
    let applied = |deployment: &Value| {
        let applied = deployment["metadata"]["annotations"][annotation].as_str();
        applied.is_some_and(|hash| hash != "by-another-version")
    };
    let told = "the new controller has looked at it";
    let standing = space.wait(("deployment", &deployment), SOON, told, applied);
    let template = &standing["spec"]["template"]["spec"];
    assert_eq!(template["terminationGracePeriodSeconds"], 7);
    job.survives(|| {});
    assert_eq!(job.pod(), pod, "the controller's upgrade restarts no job");

    helm(cluster, &[&["uninstall", "--wait"], &RELEASE[..]].concat());
    let committed = job.wait_results_beyond(0);
    job.wait_results_beyond(committed + 500);
    assert!(space.find("streamjob", &job.name).is_some());
    // As if its namespace had been deleted, the new installation has another authority.
    let system = ["--namespace", operator::NAMESPACE];
    let forget = cluster.kubectl(&[&["delete", "secret", "tidegate-ca"], &system[..]].concat());
    forget.expect("the authority is gone");
    restored.install();
    // With a certificate that counts.
    job.wait_other_pod(&pod);
    job.wait_ready();
    job.survives(|| {});
}
