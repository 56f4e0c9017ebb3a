//! What becomes of a deletion that the job refuses, or that comes to nothing.

use super::*;

/// Checkpoint 7, or a savepoint of that number, is being deleted; the job has refused.
fn refused(is_gone: bool, ms_ago: i64, name: Option<&str>) -> CheckpointsObserved {
    let mut observed = observed();
    observed.telling = Some(telling(vec![view(7, name)]));
    let made = plan(&observed, &settings());
    let Some(Change::Create(object)) = made.answers.into_iter().chain(made.mirror).next() else {
        panic!("nothing is made");
    };
    let mut object = *object;
    let uid = format!("uid-{}", identity(&object).0);
    object.metadata.uid = Some(uid.clone());
    observed.objects = vec![deleted(object, ms_ago)];
    observed.refused = vec![RefusedAsk {
        checkpoint: uid,
        message: "checkpoint 7 is the one that the job goes on from".to_owned(),
        is_gone,
    }];
    observed
}

fn left(observed: &CheckpointsObserved) -> String {
    let plan = plan(observed, &settings());
    assert!(
        matches!(&plan.answers[..], [Change::Free { .. }]),
        "{plan:?}"
    );
    let [told] = &plan.told[..] else {
        panic!("{:?}", plan.told);
    };
    assert_eq!(told.note.reason, EventReason::FilesLeft);
    told.note.message.clone()
}

#[test]
fn a_checkpoint_that_the_job_does_not_retain_is_released_already() {
    let plan = plan(&refused(true, 1000, None), &settings());
    assert_eq!(names(&plan.answers), ["free orders-7"]);
    assert_eq!((plan.told, plan.asks), (Vec::new(), Vec::new()));
}

#[test]
fn a_refusal_is_told_at_once_and_asked_again() {
    let plan = plan(&refused(false, 1000, None), &settings());
    let [Change::Record { status, .. }] = &plan.answers[..] else {
        panic!("{plan:?}");
    };
    let expected = "deletion waits: checkpoint 7 is the one that the job goes on from";
    assert_eq!(status.message.as_deref(), Some(expected));
    assert_eq!(plan.asks[0].1.command, JobCommand::Release { id: 7 });
}

#[test]
fn beside_a_job_that_runs_no_command_is_advised() {
    let message = left(&refused(false, 120_000, None));
    assert!(!message.contains('`'), "{message}");
    assert!(
        message.contains("the one that the job goes on from"),
        "{message}"
    );
    assert!(
        message.contains("newer checkpoints have pushed it out"),
        "{message}"
    );
    let savepoint = left(&refused(false, 120_000, Some("before")));
    assert!(
        !savepoint.contains("pushed it out"),
        "retention keeps savepoints: {savepoint}"
    );
    assert!(
        savepoint.contains("delete that one when the job can"),
        "{savepoint}"
    );
}

#[test]
fn what_may_be_in_an_entry_that_cannot_be_read_is_neither_dropped_nor_counted_as_released() {
    let mut observed = refused(false, 1000, Some("before"));
    observed.refused.clear();
    let mut telling = telling(vec![view(9, None)]);
    telling.view.damaged_entries = vec![8];
    observed.telling = Some(telling);
    let asked = plan(&observed, &settings());
    assert_eq!(asked.asks[0].1.command, JobCommand::Release { id: 7 });
    // One that nobody deletes stays.
    Arc::make_mut(&mut observed.objects[0])
        .metadata
        .deletion_timestamp = None;
    let kept = plan(&observed, &settings());
    let changes = names(&[kept.answers, kept.mirror].concat());
    assert!(
        !changes.iter().any(|it| it.starts_with("drop")),
        "{changes:?}"
    );
    // What was taken after the damage is not in it.
    observed.telling.as_mut().unwrap().view.damaged_below = Some(7);
    let gone = plan(&observed, &settings());
    let changes = names(&[gone.answers, gone.mirror].concat());
    assert!(changes.contains(&"drop before".to_owned()), "{changes:?}");
}

#[test]
fn the_advice_for_an_entry_that_cannot_be_read_gives_up_that_entry() {
    let mut observed = refused(false, 120_000, None);
    let mut telling = telling(vec![view(9, None)]);
    telling.view.damaged_entries = vec![8];
    observed.telling = Some(telling);
    let message = left(&observed);
    let command = "suspend orders and remove them with `tidegate checkpoints release \
                   s3://bucket/x/shop/orders entry-8`";
    assert!(message.ends_with(command), "{message}");
}

#[test]
fn where_no_job_runs_the_whole_command_is_told() {
    let mut observed = refused(false, 120_000, None);
    (observed.telling, observed.has_pods) = (None, false);
    observed.refused.clear();
    let command = "remove them with `tidegate checkpoints release s3://bucket/x/shop/orders 7`";
    let message = left(&observed);
    assert!(message.ends_with(command), "{message}");
    observed.has_pods = true;
    let message = left(&observed);
    assert!(message.ends_with("7` while no job runs there"), "{message}");
}

#[test]
fn without_any_storage_the_folder_has_to_be_looked_for() {
    let mut observed = refused(false, 0, None);
    (observed.telling, observed.job, observed.has_pods) = (None, None, false);
    let status = Arc::make_mut(&mut observed.objects[0])
        .status
        .as_mut()
        .unwrap();
    (status.access, status.location) = (None, None);
    let message = left(&observed);
    assert!(message.contains("look for shop/orders"), "{message}");
}
