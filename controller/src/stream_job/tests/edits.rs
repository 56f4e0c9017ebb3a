//! What somebody changes in the objects of a job.

use k8s_openapi::api::core::v1::{Container, EnvVar, PodTemplateSpec};
use tidegate_api::labels::ANNOTATION_POD_TEMPLATE;

use super::upgrades::step;
use super::*;
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

#[test]
fn the_settings_of_a_pod_that_ends_again_and_again_are_written_once_more_per_end() {
    let mut observed = running("good:1");
    let mut broken = pod(&revision_of(&observed.job), ApiFacts::NotRunning);
    broken.trouble = Some(crate::observed::PodTrouble::new(
        Reason::CrashLoop,
        "the configuration is no JSON",
    ));
    broken.restart_count = 1;
    observed.pods = vec![broken];
    let first = plan(&observed, &settings());
    assert_eq!(words(&first), ["ConfigMap"]);
    assert_eq!(plan(&observed, &settings()).apply, first.apply);
    observed.pods[0].restart_count = 2;
    assert_ne!(plan(&observed, &settings()).apply, first.apply);
}
