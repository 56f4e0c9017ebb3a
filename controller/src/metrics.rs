//! The controller's own metrics, in the Prometheus text format.
//!
//! Labels come from closed sets, a job's namespace and name aside.

mod exposition;
mod histogram;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_api::StreamJob;
use tidegate_api::status::{Condition, ConditionStatus, ConditionType, Reason};

use exposition::{Exposition, Kind};
use histogram::Histogram;

/// How something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// A new object.
    Create,
    /// Server-side apply.
    Apply,
    /// A patch of a status.
    Status,
    /// A patch of single fields.
    Patch,
    /// A deletion.
    Delete,
}

impl Verb {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Apply => "apply",
            Self::Status => "status",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// What a pass was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A stream job.
    Job,
    /// The Checkpoint objects of a job.
    Checkpoints,
}

impl Subject {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "StreamJob",
            Self::Checkpoints => "Checkpoint",
        }
    }
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// By subject and whether it went through.
    reconciles: BTreeMap<(Subject, bool), u64>,
    durations: BTreeMap<Subject, Histogram>,
    /// By kind, verb and result.
    writes: BTreeMap<(String, Verb, &'static str), u64>,
    /// By whether it was answered.
    job_api_requests: BTreeMap<bool, u64>,
}

/// What is looked up when the metrics are asked for.
#[derive(Debug)]
pub struct Gauges<'a> {
    /// Whether this controller leads.
    pub is_leading: bool,
    /// Keys that wait for their turn, or for this controller to lead.
    pub queue_depth: usize,
    /// Jobs that wait for a mirroring write.
    pub mirror_backlog: usize,
    /// The jobs that there are.
    pub jobs: &'a [std::sync::Arc<StreamJob>],
    /// Whether every watch has listed.
    pub is_synced: bool,
}

impl Metrics {
    /// A write to the API server, with its result in a word.
    pub fn count_write(&self, kind: &str, verb: Verb, result: &'static str) {
        let mut counts = self.lock();
        *counts
            .writes
            .entry((kind.to_owned(), verb, result))
            .or_default() += 1;
    }

    /// A pass that ended.
    pub fn count_reconcile(&self, subject: Subject, is_ok: bool, duration: Duration) {
        let mut counts = self.lock();
        *counts.reconciles.entry((subject, is_ok)).or_default() += 1;
        counts
            .durations
            .entry(subject)
            .or_default()
            .add(duration.as_secs_f64());
    }

    /// A request to a job's process.
    pub fn count_job_request(&self, is_ok: bool) {
        *self.lock().job_api_requests.entry(is_ok).or_default() += 1;
    }

    /// All of it as text.
    pub fn render(&self, gauges: &Gauges<'_>) -> String {
        let mut text = Exposition::default();
        render_gauges(&mut text, gauges);
        let counts = self.lock();
        text.family(
            "tidegate_controller_reconciles_total",
            Kind::Counter,
            "Passes over a job or its checkpoints that ended.",
        );
        for ((subject, is_ok), count) in &counts.reconciles {
            let labels = [("kind", subject.as_str()), ("result", word(*is_ok))];
            text.sample(&labels, float(*count));
        }
        text.family(
            "tidegate_controller_reconcile_duration_seconds",
            Kind::Histogram,
            "How long passes took.",
        );
        for (subject, histogram) in &counts.durations {
            histogram.render(&mut text, ("kind", subject.as_str()));
        }
        text.family(
            "tidegate_controller_api_writes_total",
            Kind::Counter,
            "Writes to the API server that were answered or given up.",
        );
        for ((kind, verb, result), count) in &counts.writes {
            let labels = [
                ("kind", kind.as_str()),
                ("verb", verb.as_str()),
                ("result", result),
            ];
            text.sample(&labels, float(*count));
        }
        text.family(
            "tidegate_controller_job_api_requests_total",
            Kind::Counter,
            "Requests to processes of jobs.",
        );
        for (is_ok, count) in &counts.job_api_requests {
            text.sample(&[("result", word(*is_ok))], float(*count));
        }
        text.finish()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn render_gauges(text: &mut Exposition, gauges: &Gauges<'_>) {
    text.family(
        "tidegate_controller_build_info",
        Kind::Gauge,
        "The controller's version; always 1.",
    );
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let mut gauge = |name: &str, help: &str, value: f64| {
        text.family(name, Kind::Gauge, help);
        text.sample(&[], value);
    };
    gauge(
        "tidegate_controller_leader",
        "Whether this controller is the one that works.",
        f64::from(u8::from(gauges.is_leading)),
    );
    gauge(
        "tidegate_controller_synced",
        "Whether every watch has listed what there is.",
        f64::from(u8::from(gauges.is_synced)),
    );
    // What whoever stands by has noted is the other's work.
    let queue_depth = if gauges.is_leading {
        gauges.queue_depth
    } else {
        0
    };
    gauge(
        "tidegate_controller_queue_depth",
        "Passes that wait for their turn; 0 on a replica that stands by.",
        float(queue_depth as u64),
    );
    gauge(
        "tidegate_controller_mirror_backlog",
        "Jobs whose newest checkpoints wait to be mirrored.",
        float(gauges.mirror_backlog as u64),
    );
    // Whoever does not work may know less than the one that does.
    if gauges.is_leading {
        render_ready(text, gauges.jobs);
        render_up_to_date(text, gauges.jobs);
    }
}

fn render_ready(text: &mut Exposition, jobs: &[std::sync::Arc<StreamJob>]) {
    let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
    text.family(
        "tidegate_controller_job_ready",
        Kind::Gauge,
        "Whether a job is ready, and why or why not.",
    );
    for job in jobs {
        let (is_ready, reason) = told(condition(job, ConditionType::Ready));
        *by_reason.entry(reason).or_default() += 1;
        text.sample(&labels(job, reason), f64::from(u8::from(is_ready)));
    }
    text.family(
        "tidegate_controller_jobs",
        Kind::Gauge,
        "Jobs by the reason of their condition Ready.",
    );
    for (reason, count) in by_reason {
        text.sample(&[("reason", reason)], float(count));
    }
}

fn render_up_to_date(text: &mut Exposition, jobs: &[std::sync::Arc<StreamJob>]) {
    text.family(
        "tidegate_controller_job_up_to_date",
        Kind::Gauge,
        "Whether what runs is what a job's spec asks for, and why or why not.",
    );
    for job in jobs {
        let valid = condition(job, ConditionType::Valid);
        // The condition is about the last spec that could be run.
        let is_refused = valid.is_some_and(|valid| valid.status == ConditionStatus::False);
        let (is_up_to_date, reason) = match is_refused {
            true => (false, Reason::SpecInvalid.as_str()),
            false => told(condition(job, ConditionType::UpToDate)),
        };
        text.sample(&labels(job, reason), f64::from(u8::from(is_up_to_date)));
    }
}

fn condition(job: &StreamJob, type_: ConditionType) -> Option<&Condition> {
    job.status.as_ref()?.condition(type_)
}

/// Whether a condition holds, and the reason; one that was not reported yet does not hold.
fn told(condition: Option<&Condition>) -> (bool, &'static str) {
    let reason = condition.map_or(Reason::Starting, |condition| condition.reason);
    let is_true = condition.is_some_and(|condition| condition.status == ConditionStatus::True);
    (is_true, reason.as_str())
}

fn labels<'a>(job: &'a StreamJob, reason: &'a str) -> [(&'static str, &'a str); 3] {
    let metadata = &job.metadata;
    [
        (
            "job_namespace",
            metadata.namespace.as_deref().unwrap_or_default(),
        ),
        ("job_name", metadata.name.as_deref().unwrap_or_default()),
        ("reason", reason),
    ]
}

const fn word(is_ok: bool) -> &'static str {
    if is_ok { "ok" } else { "error" }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus counts in floating point"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    /// A job with these conditions: type, status, reason.
    fn job(name: &str, conditions: &[[&str; 3]]) -> Arc<StreamJob> {
        let condition = |[type_, status, reason]: &[&str; 3]| {
            json!({
                "type": type_, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-11-24T12:00:00Z",
            })
        };
        let conditions: Vec<_> = conditions.iter().map(condition).collect();
        let job = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob",
            "metadata": {"namespace": "shop", "name": name},
            "spec": {"sql": "SELECT 1"}, "status": {"conditions": conditions},
        });
        Arc::new(serde_json::from_value(job).unwrap())
    }

    fn jobs() -> [Arc<StreamJob>; 4] {
        [
            job("orders", &[["Ready", "False", "ImagePullFailed"]]),
            job(
                "well",
                &[
                    ["Valid", "True", "SpecValid"],
                    ["UpToDate", "True", "Stable"],
                ],
            ),
            job(
                "back",
                &[
                    ["Valid", "True", "SpecValid"],
                    ["UpToDate", "False", "RolledBack"],
                ],
            ),
            job(
                "wrong",
                &[
                    ["Valid", "False", "SpecInvalid"],
                    ["UpToDate", "True", "Stable"],
                ],
            ),
        ]
    }

    fn render(is_leading: bool) -> String {
        let metrics = Metrics::default();
        metrics.count_write("Deployment", Verb::Apply, "Success");
        metrics.count_reconcile(Subject::Job, true, Duration::from_millis(30));
        metrics.count_job_request(false);
        metrics.render(&Gauges {
            is_leading,
            queue_depth: 2,
            mirror_backlog: 1,
            jobs: &jobs(),
            is_synced: true,
        })
    }

    #[test]
    fn what_happened_is_told_with_closed_labels() {
        let text = render(true);
        for expected in [
            "tidegate_controller_leader 1\n",
            "tidegate_controller_queue_depth 2\n",
            "tidegate_controller_jobs{reason=\"ImagePullFailed\"} 1\n",
            "tidegate_controller_job_ready{job_namespace=\"shop\",job_name=\"orders\",\
             reason=\"ImagePullFailed\"} 0\n",
            "tidegate_controller_reconciles_total{kind=\"StreamJob\",result=\"ok\"} 1\n",
            "tidegate_controller_api_writes_total{kind=\"Deployment\",verb=\"apply\",\
             result=\"Success\"} 1\n",
            "tidegate_controller_reconcile_duration_seconds_bucket{kind=\"StreamJob\",\
             le=\"0.05\"} 1\n",
            "tidegate_controller_reconcile_duration_seconds_bucket{kind=\"StreamJob\",\
             le=\"0.025\"} 0\n",
            "tidegate_controller_reconcile_duration_seconds_count{kind=\"StreamJob\"} 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn jobs_that_do_not_run_what_their_spec_asks_for_are_told_with_the_reason() {
        let text = render(true);
        for (job, reason, value) in [
            ("orders", "Starting", 0),
            ("well", "Stable", 1),
            ("back", "RolledBack", 0),
            ("wrong", "SpecInvalid", 0),
        ] {
            let expected = format!(
                "tidegate_controller_job_up_to_date{{job_namespace=\"shop\",job_name=\"{job}\",\
                 reason=\"{reason}\"}} {value}\n"
            );
            assert!(text.contains(&expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn only_the_one_that_works_tells_of_jobs() {
        for family in [
            "tidegate_controller_job_ready",
            "tidegate_controller_job_up_to_date",
        ] {
            assert!(!render(false).contains(family), "{family}");
        }
    }

    #[test]
    fn only_the_one_that_works_has_work_that_waits() {
        let text = render(false);
        assert!(
            text.contains("tidegate_controller_queue_depth 0\n"),
            "{text}"
        );
    }
}
