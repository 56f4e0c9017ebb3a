//! What another version of the controller, or another authority, does to a job that runs.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use tidegate_api::pod::certificate_secret_name;

use super::*;
use crate::build::mounted_certificate;

/// Makes the Deployment look as if an earlier controller had applied it.
fn made_by_an_earlier_version(observed: &mut Observed) -> PodTemplateSpec {
    let facts = &mut observed.revisions[0];
    facts.applied = Some("a hash of another version".to_owned());
    let deployment = Arc::make_mut(&mut facts.deployment);
    let annotations = deployment.metadata.annotations.as_mut().unwrap();
    annotations.remove(tidegate_api::labels::ANNOTATION_POD_TEMPLATE);
    let template = &mut deployment.spec.as_mut().unwrap().template;
    let pod = template.spec.as_mut().unwrap();
    pod.termination_grace_period_seconds = Some(7);
    template.clone()
}

#[test]
fn a_new_version_of_the_controller_restarts_no_job() {
    let mut observed = running("good:1");
    let standing = made_by_an_earlier_version(&mut observed);
    let plan = plan(&observed, &settings());
    assert_eq!(template_of(&plan), Some(standing));
    assert!(!words(&plan).contains(&"Certificate"), "{:?}", words(&plan));
}

#[test]
fn the_next_revision_has_the_new_versions_pods() {
    let mut observed = running("good:1");
    let standing = made_by_an_earlier_version(&mut observed);
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:2".to_owned();
    });
    let plan = plan(&observed, &settings());
    let pod = template_of(&plan).unwrap().spec.unwrap();
    let seconds = standing.spec.unwrap().termination_grace_period_seconds;
    assert_ne!(pod.termination_grace_period_seconds, seconds);
}

#[test]
fn under_another_authority_the_jobs_pods_get_a_new_certificate() {
    let mut observed = running("good:1");
    observed.authority = "0badcafe".to_owned();
    let renewed = plan(&observed, &settings());
    let certificate = renewed.apply.iter().find_map(|child| match child {
        Child::Certificate { name, .. } => Some(name.clone()),
        _ => None,
    });
    let revision = revision_of(&observed.job);
    let expected = certificate_secret_name("orders", &revision, "0badcafe");
    assert_eq!(certificate.as_ref(), Some(&expected));
    let template = template_of(&renewed).unwrap();
    assert_eq!(mounted_certificate(&template), Some(&*expected));
    carry_out(&mut observed, &renewed);
    let steady = plan(&observed, &settings());
    assert!(steady.apply.is_empty(), "{:?}", words(&steady));
}
