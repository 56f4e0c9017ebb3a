//! Single decisions: what is known, and what must come of it.

mod conditions;
mod deletion;
mod edits;
mod ends;
mod leftovers;
mod lost;
mod refusals;
mod rollbacks;
mod storage;
mod upgrades;
mod versions;

use std::sync::Arc;

use serde_json::json;
use tidegate_api::status::{ConditionType, Reason};

use super::fixtures::{
    NOON_MS, carry_out, job, observed, pod, revision_of, saying, settings, view,
};
use super::plan;
use crate::job_api::{JobCommand, Phase, SettingsView, StopMode};
use crate::observed::{ApiFacts, Observed};
use crate::plan::{Child, ChildName, Decision, EventReason, LookAgain, Plan};

fn reason(plan: &Plan, type_: ConditionType) -> Reason {
    plan.status.condition(type_).unwrap().reason
}

fn message(plan: &Plan, type_: ConditionType) -> &str {
    &plan.status.condition(type_).unwrap().message
}

fn words(plan: &Plan) -> Vec<&'static str> {
    let word = |child: &Child| match child {
        Child::ConfigMap(_) => "ConfigMap",
        Child::Certificate { .. } => "Certificate",
        Child::Deployment(_) => "Deployment",
        Child::Scale { .. } => "Scale",
        Child::Template { .. } => "Template",
        Child::NetworkPolicy(_) => "NetworkPolicy",
        Child::PodDisruptionBudget(_) => "PodDisruptionBudget",
        Child::CleanupPod(_) => "CleanupPod",
    };
    plan.apply.iter().map(word).collect()
}

/// A job whose one revision runs.
fn running(image: &str) -> Observed {
    running_with(image, |_| ())
}

fn running_with(image: &str, edit_spec: impl FnOnce(&mut tidegate_api::StreamJobSpec)) -> Observed {
    let mut observed = observed(job(image));
    edit(&mut observed, edit_spec);
    let first = plan(&observed, &settings());
    carry_out(&mut observed, &first);
    let revision = revision_of(&observed.job);
    let mut view = view(Phase::Running);
    view.attempt = Some(1);
    observed.pods = vec![saying(&revision, view)];
    let second = plan(&observed, &settings());
    carry_out(&mut observed, &second);
    observed
}

fn edit(observed: &mut Observed, edit: impl FnOnce(&mut tidegate_api::StreamJobSpec)) {
    let job = Arc::make_mut(&mut observed.job);
    edit(&mut job.spec);
    job.metadata.generation = job.metadata.generation.map(|generation| generation + 1);
}

fn set_view(
    observed: &mut Observed,
    index: usize,
    change: impl FnOnce(&mut crate::job_api::JobView),
) {
    let ApiFacts::Answers { job, .. } = &mut observed.pods[index].api else {
        panic!("the pod does not answer");
    };
    change(job);
}

#[test]
fn a_new_job_gets_its_children_in_the_order_in_which_they_need_each_other() {
    let observed = observed(job("good:1"));
    let plan = plan(&observed, &settings());
    assert_eq!(plan.decision, Decision::Deploy);
    let order = [
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ConfigMap",
        "Certificate",
        "Deployment",
    ];
    assert_eq!(words(&plan), order);
    assert!(plan.finalizer);
    assert_eq!(plan.status.revision, None, "it derives from what exists");
    assert_eq!(reason(&plan, ConditionType::Ready), Reason::Starting);
    assert!(
        plan.events
            .iter()
            .any(|event| event.reason == EventReason::RevisionCreated)
    );
}

#[test]
fn a_running_job_is_ready_and_left_alone() {
    let observed = running("good:1");
    let plan = plan(&observed, &settings());
    assert_eq!(plan.decision, Decision::Steady);
    assert_eq!(reason(&plan, ConditionType::Ready), Reason::Running);
    assert_eq!(reason(&plan, ConditionType::UpToDate), Reason::Stable);
    assert_eq!(plan.status.revision, Some(revision_of(&observed.job)));
    assert_eq!(plan.status.parallelism, Some(2));
    assert!(plan.apply.is_empty() && plan.ask.is_empty() && plan.delete.is_empty());
    assert_eq!(Some(&plan.status), observed.job.status.as_ref());
    assert!(plan.events.is_empty());
    assert_eq!(plan.look_again, LookAgain::Later);
}

#[test]
fn a_lost_status_is_derived_anew_from_the_deployments() {
    let mut observed = running("good:1");
    let before = Arc::make_mut(&mut observed.job).status.take();
    let plan = plan(&observed, &settings());
    assert_eq!(plan.status.revision, before.unwrap().revision);
    assert!(plan.apply.is_empty());
}

#[test]
fn a_spec_that_cannot_be_run_touches_nothing_that_runs() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| {
        spec.parallelism = 0;
        spec.checkpoint.timeout_seconds = 0;
    });
    let plan = plan(&observed, &settings());
    assert_eq!(plan.decision, Decision::RefuseSpec);
    assert!(plan.apply.is_empty() && plan.ask.is_empty() && plan.delete.is_empty());
    assert_eq!(reason(&plan, ConditionType::Valid), Reason::SpecInvalid);
    let message = message(&plan, ConditionType::Valid);
    assert!(message.contains("spec.parallelism"), "{message}");
    assert!(
        message.contains("spec.checkpoint.timeoutSeconds"),
        "{message}"
    );
    assert_eq!(reason(&plan, ConditionType::Ready), Reason::Running);
}

#[test]
fn what_a_cluster_cannot_run_is_refused_with_its_field() {
    let mut sql = job("good:1");
    sql.spec.program = None;
    sql.spec.sql = Some("SELECT 1".to_owned());
    let mut homeless = job("good:1");
    homeless.spec.checkpoint.storage = None;
    let mut settings = settings();
    settings.default_storage = None;
    for (job, field) in [(sql, "spec.sql"), (homeless, "spec.checkpoint.storage")] {
        let plan = plan(&observed(job), &settings);
        assert_eq!(plan.decision, Decision::RefuseSpec);
        assert!(message(&plan, ConditionType::Valid).contains(field));
        assert_eq!(reason(&plan, ConditionType::Ready), Reason::SpecInvalid);
        assert_eq!(plan.look_again, LookAgain::OnChange);
    }
}

#[test]
fn a_live_change_reaches_the_running_job_and_the_next_process() {
    let mut observed = running("good:1");
    let old = SettingsView {
        checkpoint_interval_ms: Some(1000),
        retained_checkpoints: 3,
        log_level: tidegate_api::spec::LogLevel::Info,
    };
    set_view(&mut observed, 0, |view| view.settings = Some(old));
    let steady = plan(&observed, &settings());
    assert!(steady.ask.is_empty() && steady.apply.is_empty());

    edit(&mut observed, |spec| spec.checkpoint.interval_seconds = 5);
    let changed = plan(&observed, &settings());
    assert_eq!(changed.decision, Decision::ChangeLive);
    assert!(words(&changed).contains(&"ConfigMap"));
    let [ask] = &changed.ask[..] else {
        panic!("{:?}", changed.ask);
    };
    assert!(matches!(
        ask.command,
        JobCommand::Settings {
            checkpoint_interval_ms: Some(5000),
            ..
        }
    ));
    let told: Vec<_> = changed.events.iter().map(|event| event.reason).collect();
    assert_eq!(told, [EventReason::Changed]);
    assert_eq!(
        template_of(&changed),
        template_of(&plan(
            &super::fixtures::observed(job("good:1")),
            &settings()
        ))
    );
}

fn template_of(plan: &Plan) -> Option<k8s_openapi::api::core::v1::PodTemplateSpec> {
    plan.apply.iter().find_map(|child| match child {
        Child::Deployment(deployment) => deployment.spec.as_ref().map(|spec| spec.template.clone()),
        _ => None,
    })
}

#[test]
fn a_changed_parallelism_rescales_the_running_job() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| spec.parallelism = 4);
    let plan = plan(&observed, &settings());
    assert_eq!(plan.ask[0].command, JobCommand::Rescale { parallelism: 4 });
    set_view(&mut observed, 0, |view| view.phase = Phase::Restoring);
    assert!(
        super::plan(&observed, &settings()).ask.is_empty(),
        "one rescale at a time"
    );
}

#[test]
fn a_jobs_labels_reach_its_children_but_not_its_pods() {
    let mut observed = running("good:1");
    let job = Arc::make_mut(&mut observed.job);
    job.metadata.labels = Some([("team".to_owned(), "checkout".to_owned())].into());
    let plan = plan(&observed, &settings());
    let Some(Child::Deployment(deployment)) = plan.apply.last() else {
        panic!("{:?}", words(&plan));
    };
    let labels = deployment.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["team"], "checkout");
    let template = deployment
        .spec
        .as_ref()
        .unwrap()
        .template
        .metadata
        .as_ref()
        .unwrap();
    assert!(!template.labels.as_ref().unwrap().contains_key("team"));
}

#[test]
fn a_job_whose_checkpoints_fail_stands_still_without_a_savepoint() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| spec.suspend = true);
    set_view(&mut observed, 0, |view| view.failing_checkpoint_count = 1);
    let plan = plan(&observed, &settings());
    assert!(plan.ask.is_empty());
    assert!(message(&plan, ConditionType::Ready).contains("newest checkpoint failed"));
    carry_out(&mut observed, &plan);
    assert_eq!(observed.revisions[0].replicas, 0);
}

#[test]
fn suspend_takes_a_savepoint_before_the_pod_goes() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| spec.suspend = true);
    let asked = plan(&observed, &settings());
    assert_eq!(asked.decision, Decision::Suspend);
    assert_eq!(asked.ask[0].command, JobCommand::Stop(StopMode::Savepoint));
    assert!(asked.apply.is_empty());

    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    let stopped = plan(&observed, &settings());
    assert!(words(&stopped).contains(&"Deployment"));
    carry_out(&mut observed, &stopped);
    assert_eq!(observed.revisions[0].replicas, 0);

    observed.pods.clear();
    let still = plan(&observed, &settings());
    assert_eq!(still.decision, Decision::StaySuspended);
    assert_eq!(reason(&still, ConditionType::Ready), Reason::Suspended);
    assert_eq!(still.status.parallelism, Some(0));
    carry_out(&mut observed, &still);

    edit(&mut observed, |spec| spec.suspend = false);
    let resumed = plan(&observed, &settings());
    carry_out(&mut observed, &resumed);
    assert_eq!(observed.revisions[0].replicas, 1);
}

/// One phase follows the other, and none of them lasts.
#[test]
fn a_job_that_never_runs_is_waited_for_only_so_long_when_it_is_to_stand_still() {
    let mut observed = running("good:1");
    set_view(&mut observed, 0, |view| view.phase = Phase::BackingOff);
    let restarting = plan(&observed, &settings());
    carry_out(&mut observed, &restarting);
    edit(&mut observed, |spec| spec.suspend = true);
    for phase in [Phase::Starting, Phase::Restoring, Phase::BackingOff] {
        observed.now_ms += 9_000;
        let now_ms = observed.now_ms;
        set_view(&mut observed, 0, |view| {
            view.phase = phase;
            view.phase_since_ms = Some(now_ms);
        });
        let waiting = plan(&observed, &settings());
        assert!(waiting.apply.is_empty(), "{phase:?}");
        carry_out(&mut observed, &waiting);
    }
    observed.now_ms += 9_000;
    let over = plan(&observed, &settings());
    carry_out(&mut observed, &over);
    assert_eq!(observed.revisions[0].replicas, 0);
}

#[test]
fn a_finished_job_stays_so_until_its_spec_changes() {
    let mut observed = running("good:1");
    set_view(&mut observed, 0, |view| view.phase = Phase::Finished);
    let finished = plan(&observed, &settings());
    assert_eq!(finished.decision, Decision::StayFinished);
    carry_out(&mut observed, &finished);
    observed.pods.clear();
    let still = plan(&observed, &settings());
    assert_eq!(still.decision, Decision::StayFinished);
    assert!(still.apply.is_empty());
    carry_out(&mut observed, &still);

    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:2".to_owned()
    });
    let again = plan(&observed, &settings());
    carry_out(&mut observed, &again);
    let revision = revision_of(&observed.job);
    let made = observed
        .revisions
        .iter()
        .find(|made| made.revision == revision)
        .unwrap();
    assert_eq!(made.replicas, 1);
    assert!(
        !made.config.as_ref().unwrap().hold,
        "nobody is there to wait for"
    );
}

#[test]
fn a_fenced_process_is_replaced_once_nobody_else_runs() {
    let mut observed = running("good:1");
    let revision = revision_of(&observed.job);
    set_view(&mut observed, 0, |view| view.phase = Phase::Fenced);
    let mut twin = saying(&revision, view(Phase::Running));
    twin.name = "twin".to_owned();
    observed.pods.push(twin);
    assert!(
        plan(&observed, &settings()).delete.is_empty(),
        "the other one does the work"
    );

    observed.pods.pop();
    observed.now_ms += 31_000;
    let generation = observed.revisions[0].start_generation;
    let alone = plan(&observed, &settings());
    assert_eq!(alone.decision, Decision::ReplaceFenced);
    assert!(matches!(&alone.delete[..], [ChildName::Pod { .. }]));
    carry_out(&mut observed, &alone);
    assert!(observed.revisions[0].start_generation > generation);

    // Somebody who is not seen here does the same: they leave each other some time.
    observed.pods = vec![saying(&revision, view(Phase::Fenced))];
    observed.now_ms += 1000;
    assert!(plan(&observed, &settings()).delete.is_empty());
    observed.now_ms += 30_000;
    let again = plan(&observed, &settings());
    assert_eq!(again.decision, Decision::ReplaceFenced);
}

#[test]
fn a_missing_start_checkpoint_deploys_nothing_and_heals() {
    let mut job = job("good:1");
    job.spec.start_from = "before-upgrade".to_owned();
    let mut observed = observed(job);
    let waiting = plan(&observed, &settings());
    assert!(waiting.apply.is_empty());
    assert_eq!(
        reason(&waiting, ConditionType::Ready),
        Reason::CheckpointMissing
    );
    assert!(message(&waiting, ConditionType::Ready).contains("before-upgrade"));

    let checkpoint = serde_json::from_value(serde_json::json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Checkpoint",
        "metadata": {"name": "before-upgrade"}, "spec": {"jobName": "other"},
        "status": {"state": "Completed", "id": 7, "location": "s3://bucket/jobs/shop/other#7"},
    }));
    observed.start_checkpoint = Some(Arc::new(checkpoint.unwrap()));
    let healed = plan(&observed, &settings());
    carry_out(&mut observed, &healed);
    let config = observed.revisions[0].config.as_ref().unwrap();
    let expected = tidegate_api::job_config::StartPoint::Checkpoint {
        folder: "s3://bucket/jobs/shop/other".to_owned(),
        checkpoint_id: Some(7),
    };
    assert_eq!(config.start_from, expected);
}

#[test]
fn a_job_is_guarded_whatever_its_spec() {
    let mut observed = running("good:1");
    assert!(plan(&observed, &settings()).finalizer);
    edit(&mut observed, |spec| spec.parallelism = 0);
    assert!(plan(&observed, &settings()).finalizer);
}

#[test]
fn a_new_checkpoint_alone_is_a_write_that_can_wait() {
    let mut observed = running("good:1");
    let checkpoint = crate::job_api::CheckpointView {
        id: 42,
        kind: tidegate_api::checkpoint::CheckpointKind::Checkpoint,
        name: None,
        completed_ms: observed.now_ms,
        duration_ms: 24,
        size_bytes: 1000,
        parallelism: 2,
    };
    set_view(&mut observed, 0, |view| {
        view.last_checkpoint = Some(checkpoint.clone())
    });
    let first = plan(&observed, &settings());
    assert!(!first.status_is_mirror_only, "the condition changes too");
    carry_out(&mut observed, &first);
    set_view(&mut observed, 0, |view| {
        view.last_checkpoint = Some(crate::job_api::CheckpointView {
            id: 43,
            ..checkpoint
        });
    });
    let second = plan(&observed, &settings());
    assert!(second.status_is_mirror_only);
    let latest = second.status.latest_checkpoint.unwrap();
    assert_eq!(latest.location, "s3://bucket/jobs/shop/orders#43");
}

#[test]
fn what_is_lost_from_under_a_pod_is_made_again() {
    let mut observed = running("good:1");
    let revision = revision_of(&observed.job);
    let mut broken = pod(&revision, ApiFacts::NotRunning);
    broken.trouble = Some(crate::observed::PodTrouble::new(
        Reason::PodNotStarting,
        "a volume is not there",
    ));
    observed.pods = vec![broken];
    assert_eq!(words(&plan(&observed, &settings())), ["Certificate"]);
    observed.revisions[0].writers = None;
    let all = [
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ConfigMap",
        "Deployment",
    ];
    assert_eq!(words(&plan(&observed, &settings())), all);
}
