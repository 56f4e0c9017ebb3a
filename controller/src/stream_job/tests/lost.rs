//! Jobs whose Deployment somebody has deleted.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tidegate_api::job_config::{JobConfig, StartPoint};

use super::*;

/// The job as its status tells of it, whose Deployment and pods are gone.
fn lost(mut observed: Observed) -> Observed {
    let revision = revision_of(&observed.job);
    let created = Timestamp::from_millisecond(NOON_MS - 1000).unwrap();
    let job = Arc::make_mut(&mut observed.job);
    job.metadata.creation_timestamp = Some(Time(created));
    job.status.as_mut().unwrap().revision = Some(revision);
    observed.revisions.clear();
    observed.pods.clear();
    observed
}

fn made_again(observed: &mut Observed) -> (Plan, JobConfig) {
    let again = plan(observed, &settings());
    carry_out(observed, &again);
    let config = observed.revisions[0].config.as_deref().cloned();
    (again, config.unwrap())
}

fn doubts(plan: &Plan) -> usize {
    let told = plan.events.iter().filter(|event| event.is_warning);
    told.filter(|event| event.message.contains("change that once more"))
        .count()
}

#[test]
fn another_start_that_is_asked_for_is_honoured() {
    let mut observed = lost(running("good:1"));
    edit(&mut observed, |spec| spec.start_from = "Empty".to_owned());
    let (again, config) = made_again(&mut observed);
    assert_eq!(config.start_from, StartPoint::Empty);
    assert_eq!(config.start_from_generation, None, "it is asked for now");
    assert_eq!(doubts(&again), 0);
}

#[test]
fn a_start_that_stays_in_the_spec_does_not_throw_a_job_back_whose_image_is_changed() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| spec.start_from = "Empty".to_owned());
    let mut observed = lost(observed);
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:2".to_owned();
    });
    let (again, config) = made_again(&mut observed);
    let asked = config.start_from_generation;
    assert_eq!(asked.map(i64::try_from), Some(Ok(NOON_MS - 1000)));
    assert_eq!(doubts(&again), 1);
}

#[test]
fn a_revision_that_was_seen_to_begin_goes_on_whatever_the_clocks_say() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| spec.start_from = "Empty".to_owned());
    let mut observed = lost(observed);
    let status = observed.job.status.as_ref().unwrap();
    assert_eq!(status.attempt, Some(1));
    let (again, config) = made_again(&mut observed);
    assert_eq!(config.start_from, StartPoint::Latest);
    assert_eq!(config.start_from_generation, None);
    assert_eq!(doubts(&again), 0);
}

#[test]
fn a_deployment_that_was_deleted_starts_from_its_start_point_unless_the_log_knows_the_job() {
    let mut observed = running("good:1");
    let created_ms = NOON_MS - 1000;
    let job = Arc::make_mut(&mut observed.job);
    job.spec.start_from = "Empty".to_owned();
    let created = Timestamp::from_millisecond(created_ms).unwrap();
    job.metadata.creation_timestamp = Some(Time(created));
    let revision = revision_of(&observed.job);
    let status = Arc::make_mut(&mut observed.job).status.as_mut().unwrap();
    (status.revision, status.attempt) = (Some(revision), None);
    observed.revisions.clear();
    observed.pods.clear();
    let again = plan(&observed, &settings());
    carry_out(&mut observed, &again);
    let config = observed.revisions[0].config.as_ref().unwrap();
    assert_eq!(config.start_from, StartPoint::Empty);
    let asked = config.start_from_generation.unwrap();
    assert_eq!(i64::try_from(asked), Ok(created_ms));
    assert!(config.start_generation > Some(asked));
}

#[test]
fn a_start_point_that_is_gone_does_not_hold_up_a_job_that_went_on_from_it_long_ago() {
    let mut observed = running("good:1");
    let job = Arc::make_mut(&mut observed.job);
    job.spec.start_from = "before-upgrade".to_owned();
    let revision = revision_of(&observed.job);
    let has_state = |observed: &mut Observed, has_state: bool| {
        let status = Arc::make_mut(&mut observed.job).status.as_mut().unwrap();
        (status.revision, status.attempt) = (Some(revision.clone()), None);
        status.latest_checkpoint = has_state.then(|| {
            serde_json::from_value(json!({
                "id": 7, "kind": "Checkpoint", "completedTime": "2026-01-01T00:00:00Z",
                "location": "s3://bucket/jobs/shop/orders#7",
            }))
            .unwrap()
        });
    };
    observed.revisions.clear();
    observed.pods.clear();
    has_state(&mut observed, false);
    let waiting = plan(&observed, &settings());
    assert_eq!(
        reason(&waiting, ConditionType::Ready),
        Reason::CheckpointMissing
    );
    has_state(&mut observed, true);
    let again = plan(&observed, &settings());
    carry_out(&mut observed, &again);
    let config = observed.revisions[0].config.as_ref().unwrap();
    assert_eq!(config.start_from, StartPoint::Latest);
}
