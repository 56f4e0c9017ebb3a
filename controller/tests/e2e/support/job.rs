//! A job under test: its manifest, its pods, its condition, its output.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::Counts;

use super::operator::JOB_IMAGE;
use super::wait::{SOON, until};
use super::{Space, results};

/// Keys that the generator spreads its records over.
pub(super) const KEYS: u64 = 50;

/// A job that counts, under test in a space.
pub(crate) struct Job<'a> {
    pub(crate) space: &'a Space,
    pub(crate) name: String,
    pub(crate) manifest: Value,
    /// Where its results go, below the bucket.
    pub(super) output: String,
}

impl<'a> Job<'a> {
    /// A job that counts for ever, with a checkpoint each second.
    pub(crate) fn new(space: &'a Space, name: &str) -> Self {
        let output = format!("results/{name}");
        let s3 = space.cluster.s3().expect("an S3 server");
        let url = format!("s3://{}/checkpoints", space.bucket);
        let manifest = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob",
            "metadata": {"name": name},
            "spec": {
                "program": {
                    "image": JOB_IMAGE,
                    "args": [
                        "--output", format!("s3://{}/{output}", space.bucket),
                        "--keys", KEYS.to_string(), "--rate", "500",
                    ],
                },
                "parallelism": 2,
                "checkpoint": {
                    "intervalSeconds": 1,
                    "storage": {
                        "url": url, "endpoint": s3.endpoint, "region": "us-east-1",
                        "secretRef": {"name": "storage"},
                    },
                },
            },
        });
        Self {
            space,
            name: name.to_owned(),
            manifest,
            output,
        }
    }

    /// Sets a member of the manifest, by its JSON pointer below `/spec`.
    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Self {
        self.change(pointer, value);
        self
    }

    /// Sets a member of the manifest, by its path below `spec`, as in `checkpoint.intervalSeconds`.
    pub(crate) fn change(&mut self, path: &str, value: Value) {
        let mut at = &mut self.manifest["spec"];
        for name in path.split('.') {
            at = &mut at[name];
        }
        *at = value;
    }

    /// Adds arguments of the program.
    pub(crate) fn with_args(mut self, more: &[&str]) -> Self {
        let args = self.manifest["spec"]["program"]["args"]
            .as_array_mut()
            .expect("a list");
        args.extend(more.iter().map(|argument| json!(argument)));
        self
    }

    /// Applies the manifest.
    pub(crate) fn apply(&self) {
        self.space.apply(&self.manifest);
    }

    /// Applies the manifest and waits until the job runs.
    pub(crate) fn start(self) -> Self {
        self.apply();
        self.wait_ready();
        self
    }

    /// Waits until the job is ready for the spec that was applied last.
    pub(crate) fn wait_ready(&self) -> Value {
        self.wait_condition("Ready", "True", "Running")
    }

    /// Waits until a condition has a status and a reason, for the newest generation.
    pub(crate) fn wait_condition(&self, type_: &str, status: &str, reason: &str) -> Value {
        self.wait(&format!("{type_} is {status}, {reason}"), SOON, |job| {
            let condition = condition(job, type_);
            condition["status"] == status
                && condition["reason"] == reason
                && job["status"]["observedGeneration"] == job["metadata"]["generation"]
        })
    }

    /// Waits until the job's object satisfies `holds`.
    pub(crate) fn wait(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        self.space
            .wait(("streamjob", &self.name), limit, what, holds)
    }

    /// The number of the newest checkpoint that the status tells; 0 without one.
    pub(crate) fn latest_checkpoint(&self) -> i64 {
        let job = self.space.find("streamjob", &self.name).unwrap_or_default();
        job["status"]["latestCheckpoint"]["id"]
            .as_i64()
            .unwrap_or(0)
    }

    /// Waits until the status tells a checkpoint that is newer than any now.
    pub(crate) fn wait_checkpoint_after(&self, id: i64) -> Value {
        self.wait(&format!("a checkpoint after {id}"), SOON, |job| {
            job["status"]["latestCheckpoint"]["id"]
                .as_i64()
                .is_some_and(|newest| newest > id)
        })
    }

    /// Its pods that are not being deleted.
    pub(crate) fn pods(&self) -> Vec<Value> {
        let mut pods = self
            .space
            .list("pods", &format!("tidegate.dev/job={}", self.name));
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        pods
    }

    /// Waits until its pods are gone, those that are being deleted too: they may still write.
    pub(crate) fn wait_without_pods(&self, limit: Duration) {
        let selector = format!("tidegate.dev/job={}", self.name);
        until(&format!("{} has no pod", self.name), limit, || {
            match self.space.list("pods", &selector).len() {
                0 => Ok(()),
                count => Err(format!("{count} pods")),
            }
        });
    }

    /// The name of its only pod.
    pub(crate) fn pod(&self) -> String {
        until(
            &format!("{} has one pod", self.name),
            SOON,
            || match &self.pods()[..] {
                [pod] => Ok(pod["metadata"]["name"].as_str().expect("a name").to_owned()),
                pods => Err(format!("{} pods", pods.len())),
            },
        )
    }

    /// Waits until its only pod is another one; gives its name.
    pub(crate) fn wait_other_pod(&self, before: &str) -> String {
        let what = format!("{} has another pod than {before}", self.name);
        until(&what, SOON, || match self.pod() {
            same if same == before => Err(same),
            other => Ok(other),
        })
    }

    /// The committed output, checked: each key's counts are 1, 2, 3 … without a gap or a double.
    ///
    /// A listing is no snapshot: while files are added, it may have a later one and lack an earlier
    /// one. So a fault counts only if it stays.
    pub(crate) fn checked_results(&self) -> Counts {
        until("each record is counted exactly once", SOON, || {
            let mut counts = Counts::new(KEYS, 0);
            counts.add(&results::read(self.space, &self.output)?)?;
            counts.check().map(|_| counts)
        })
    }

    /// Waits until more than `count` records are committed, checking all of them.
    pub(crate) fn wait_results_beyond(&self, count: u64) -> u64 {
        until(
            &format!("{} commits more than {count} records", self.name),
            SOON,
            || {
                let now = self.checked_results().check().expect("checked before");
                if now > count {
                    Ok(now)
                } else {
                    Err(format!("{now} records"))
                }
            },
        )
    }

    /// The job goes on after `harm`, which ends once the harm shows: later checkpoints complete,
    /// further output is committed, and all of it counts each record once.
    pub(crate) fn survives(&self, harm: impl FnOnce()) {
        self.wait_results_beyond(0);
        harm();
        let committed = self.checked_results().check().expect("checked before");
        let checkpoint = self.latest_checkpoint();
        self.wait_checkpoint_after(checkpoint + 1);
        self.wait_results_beyond(committed + 500);
        self.wait_ready();
    }
}

/// A condition of a job's object; null without one.
pub(crate) fn condition(job: &Value, type_: &str) -> Value {
    let conditions = job["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == type_);
    found.cloned().unwrap_or_default()
}
