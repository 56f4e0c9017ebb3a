//! What somebody changes in the objects of a job.

use k8s_openapi::api::core::v1::{Container, EnvVar, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use tidegate_api::labels::{ANNOTATION_POD_TEMPLATE, FIELD_MANAGER};
use tidegate_api::spec::UpgradeMode;
use tidegate_api::status::UpgradePhase;

use super::upgrades::{phase, step, upgrading};
use super::*;
use crate::build::applied_hash;
use crate::observed::{PodTrouble, Writers};
use crate::stream_job::fixtures::facts_of;

fn template(observed: &Observed) -> &PodTemplateSpec {
    let deployment = &observed.revisions[0].deployment;
    &deployment.spec.as_ref().unwrap().template
}

fn by_hand(observed: &mut Observed, edit: impl FnOnce(&mut Container)) {
    let mut deployment = observed.revisions[0].deployment.as_ref().clone();
    let pod = deployment.spec.as_mut().unwrap().template.spec.as_mut();
    edit(&mut pod.unwrap().containers[0]);
    observed.revisions[0] = facts_of(&deployment);
}

fn trace(container: &mut Container) {
    container.env.get_or_insert_default().push(EnvVar {
        name: "RUST_LOG".to_owned(),
        value: Some("trace".to_owned()),
        value_from: None,
    });
}

#[test]
fn an_edited_deployment_is_put_back_and_that_is_told() {
    let mut observed = running("good:1");
    let made = template(&observed).clone();
    by_hand(&mut observed, |job| job.image = Some("other:1".to_owned()));
    by_hand(&mut observed, trace);
    let back = step(&mut observed);
    assert_eq!(words(&back), ["Template"]);
    let [event] = &back.events[..] else {
        panic!("{:?}", back.events);
    };
    assert!(event.is_warning && event.message.contains("differs from what was made"));
    assert_eq!(template(&observed), &made);
    let noted = step(&mut observed);
    assert_eq!(words(&noted).last(), Some(&"Deployment"));
    assert!(noted.events.is_empty(), "{:?}", noted.events);
    assert!(step(&mut observed).apply.is_empty());
}

#[test]
fn an_edit_is_not_taken_over_with_the_next_change() {
    let mut observed = running("good:1");
    let made = template(&observed).clone();
    by_hand(&mut observed, trace);
    edit(&mut observed, |spec| spec.parallelism = 4);
    let changed = plan(&observed, &settings());
    assert_eq!(template_of(&changed), Some(made));
}

/// A webhook changes what is applied, each time.
#[test]
fn what_changes_a_template_at_every_write_is_left_its_way() {
    let mut observed = running("good:1");
    let mut stamp = 0;
    let mut mirror = |job: &mut Container| {
        stamp += 1;
        job.image = Some(format!("mirror.example/{stamp}/good:1"));
    };
    by_hand(&mut observed, &mut mirror);
    step(&mut observed);
    for _ in 0..3 {
        by_hand(&mut observed, &mut mirror);
        let left = step(&mut observed);
        assert!(left.apply.is_empty() && left.events.is_empty());
        assert_eq!(left.look_again, LookAgain::Later);
    }
}

#[test]
fn a_template_that_another_version_made_is_what_an_edit_is_put_back_to() {
    let mut observed = running("good:1");
    let mut deployment = observed.revisions[0].deployment.as_ref().clone();
    let template_of_old = &mut deployment.spec.as_mut().unwrap().template;
    let pod = template_of_old.spec.as_mut().unwrap();
    pod.termination_grace_period_seconds = Some(7);
    let text = serde_json::to_string(template_of_old).unwrap();
    let annotations = deployment.metadata.annotations.as_mut().unwrap();
    annotations.insert(ANNOTATION_POD_TEMPLATE.to_owned(), text);
    observed.revisions[0] = facts_of(&deployment);
    let made = template(&observed).clone();
    assert!(step(&mut observed).apply.is_empty(), "it is no edit");
    by_hand(&mut observed, trace);
    assert_eq!(words(&step(&mut observed)), ["Template"]);
    assert_eq!(template(&observed), &made);
}

/// As the API server has it on record after `kubectl edit`.
fn edited(content: &str, ours: &[&str], theirs: &[&str]) -> Vec<ManagedFieldsEntry> {
    let entry = |manager: &str, operation: &str, names: &[&str]| {
        let fields = names.iter().map(|name| (format!("f:{name}"), json!({})));
        let fields: serde_json::Value = fields.collect();
        serde_json::from_value(json!({
            "manager": manager, "operation": operation,
            "fieldsV1": {format!("f:{content}"): fields},
        }))
        .unwrap()
    };
    vec![
        entry(FIELD_MANAGER, "Apply", ours),
        entry("kubectl-edit", "Update", theirs),
    ]
}

fn assert_told(plan: &Plan, expected: &str) {
    let [event] = &plan.events[..] else {
        panic!("{:?}", plan.events);
    };
    assert!(event.is_warning, "{event:?}");
    assert!(event.message.starts_with(expected), "{event:?}");
}

#[test]
fn what_others_write_around_the_deployment_is_put_back() {
    let mut observed = running("good:1");
    let writers = observed.revisions[0].writers.as_mut().unwrap();
    writers.config_map = edited("data", &["config.json"], &["notes.txt"]);
    assert!(plan(&observed, &settings()).apply.is_empty(), "it is added");
    let writers = observed.revisions[0].writers.as_mut().unwrap();
    writers.config_map = edited("data", &[], &["config.json"]);
    let back = plan(&observed, &settings());
    assert_eq!(words(&back), ["ConfigMap"]);
    assert_told(&back, "data.config.json of ConfigMap ");
    observed.revisions[0].writers = Some(Writers::default());
    assert!(plan(&observed, &settings()).apply.is_empty());
}

#[test]
fn a_suspended_jobs_network_policy_is_put_back_too() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| spec.suspend = true);
    observed.revisions[0].replicas = 0;
    observed.pods.clear();
    step(&mut observed);
    assert!(step(&mut observed).apply.is_empty(), "it is suspended");
    let writers = observed.revisions[0].writers.as_mut().unwrap();
    writers.policy = edited("spec", &["podSelector", "policyTypes"], &["ingress"]);
    let back = plan(&observed, &settings());
    assert_eq!(words(&back), ["NetworkPolicy"]);
    assert_told(&back, "spec.ingress of NetworkPolicy ");
}

/// Revision 2 was refused, and revision 1 runs on.
fn refused_beside() -> Observed {
    let (mut observed, ..) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Blocked);
    observed.now_ms += 3_600_000;
    assert_eq!(phase(&step(&mut observed)), UpgradePhase::Refused);
    observed.pods.truncate(1);
    let settled = step(&mut observed);
    assert!(settled.apply.is_empty(), "{:?}", settled.apply);
    observed
}

#[test]
fn around_a_revision_whose_spec_is_not_at_hand_everything_is_put_back_too() {
    let mut observed = refused_beside();
    observed.revisions[0].writers = None;
    let all = [
        "ConfigMap",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Certificate",
    ];
    assert_eq!(words(&plan(&observed, &settings())), all);
    let writers = observed.revisions[0].writers.insert(Writers::default());
    writers.config_map = edited("data", &[], &["config.json"]);
    let back = plan(&observed, &settings());
    assert_eq!(words(&back), ["ConfigMap"]);
    assert_told(&back, "data.config.json of ConfigMap ");
    observed.revisions[0].writers = Some(Writers::default());
    let revision = observed.revisions[0].revision.clone();
    let mut broken = pod(&revision, ApiFacts::NotRunning);
    broken.trouble = Some(PodTrouble::new(Reason::PodNotStarting, "no volume"));
    observed.pods = vec![broken];
    assert_eq!(words(&plan(&observed, &settings())), ["Certificate"]);
}

#[test]
fn a_live_change_beside_a_refused_revision_is_taken_back_with_it() {
    let mut observed = refused_beside();
    let before = observed.revisions[0].config.clone();
    edit(&mut observed, |spec| spec.parallelism = 4);
    step(&mut observed);
    let changed = observed.revisions[0].config.as_ref().unwrap();
    assert_eq!(changed.parallelism, 4);
    edit(&mut observed, |spec| {
        spec.parallelism = 2;
        spec.program.as_mut().unwrap().image = "good:1".to_owned();
    });
    let back = step(&mut observed);
    assert!(words(&back).contains(&"ConfigMap"), "{:?}", words(&back));
    assert_eq!(observed.revisions[0].config, before);
    assert!(step(&mut observed).apply.is_empty());
}

/// A change was taken back after it had come as far as the ConfigMap.
#[test]
fn a_config_map_that_another_plan_has_written_is_written_again() {
    let mut observed = running("good:1");
    let hash = |plan: &Plan| {
        let mut maps = plan.apply.iter().filter_map(|child| match child {
            Child::ConfigMap(map) => Some(applied_hash(&[map.as_ref()])),
            _ => None,
        });
        maps.next_back().unwrap()
    };
    let written = |observed: &mut Observed, hash: String| {
        let writers = observed.revisions[0].writers.as_mut().unwrap();
        writers.applied_config = Some(hash);
    };
    let mut changed = observed.clone();
    edit(&mut changed, |spec| spec.parallelism = 4);
    written(&mut observed, hash(&plan(&changed, &settings())));
    let again = plan(&observed, &settings());
    assert_eq!(words(&again), ["ConfigMap"]);
    assert!(
        again.events.is_empty(),
        "nobody else's change: {:?}",
        again.events
    );
    written(&mut observed, hash(&again));
    assert!(plan(&observed, &settings()).apply.is_empty());
}
