//! Objects whose checkpoints lie in another folder than the job's, and where that is.

use tidegate_api::spec::Storage;

use super::*;
use crate::observed::{ApiFacts, Observed};
use crate::stream_job::fixtures;

const OLD: &str = "s3://old/x/shop/orders";

/// The objects of checkpoints 6 and 7, with the storage that they were made in.
fn made_in(url: &str) -> Vec<Checkpoint> {
    let mut observed = observed();
    observed.telling.as_mut().unwrap().storage = Some(storage(url));
    mirrored(&observed)
}

fn storage(url: &str) -> Storage {
    serde_json::from_value(json!({"url": url, "endpoint": "http://minio:9000"})).unwrap()
}

/// A job that was moved: its log has checkpoints 7 and 8, and its objects are those of the old one.
fn moved() -> CheckpointsObserved {
    let mut observed = observed();
    observed.objects = made_in("s3://old/x").into_iter().map(Arc::new).collect();
    observed.telling = Some(telling(vec![view(7, None), view(8, None)]));
    observed
}

fn location(change: &Change) -> &str {
    let Change::Create(object) = change else {
        panic!("{change:?}");
    };
    object.status.as_ref().unwrap().location.as_deref().unwrap()
}

#[test]
fn what_lies_in_another_folder_is_left_alone_and_mirrors_nothing() {
    let observed = moved();
    let plan = plan(&observed, &settings());
    let [eight, seven] = &plan.mirror[..] else {
        panic!("{:?}", names(&plan.mirror));
    };
    assert_eq!(location(eight), "s3://bucket/x/shop/orders#8");
    assert_eq!(location(seven), "s3://bucket/x/shop/orders#7");
    let names = names(&plan.mirror);
    assert_eq!(names[0], "create orders-8");
    let name = names[1].strip_prefix("create orders-7-").unwrap();
    let is_hash = name.len() == 6 && name.chars().all(|c| c.is_ascii_hexdigit());
    assert!(
        is_hash,
        "the usual name is taken by the old folder's: {name}"
    );
    assert_eq!(plan.answers, []);
}

#[test]
fn with_objects_of_two_folders_the_mirror_comes_to_rest() {
    let mut observed = moved();
    for object in mirrored(&observed) {
        observed.objects.push(Arc::new(object));
    }
    assert_eq!(plan(&observed, &settings()), CheckpointsPlan::default());
    observed.telling = Some(telling(vec![view(8, None)]));
    let names = names(&plan(&observed, &settings()).mirror);
    let [drop] = &names[..] else {
        panic!("{names:?}");
    };
    assert!(
        drop.starts_with("drop orders-7-"),
        "not the old folder's: {drop}"
    );
}

#[test]
fn a_folder_that_is_written_in_another_way_is_the_same() {
    let mut observed = observed();
    let objects = made_in("s3a://bucket/x/?region=eu").into_iter();
    observed.objects = objects.map(Arc::new).collect();
    assert_eq!(plan(&observed, &settings()), CheckpointsPlan::default());
}

#[test]
fn a_savepoint_whose_name_another_folders_object_has_gets_an_object() {
    let mut observed = observed();
    let mut old = made_in("s3://old/x").remove(1);
    old.metadata.name = Some("before".to_owned());
    observed.objects = vec![Arc::new(old)];
    observed.telling = Some(telling(vec![view(9, Some("before"))]));
    let names = names(&plan(&observed, &settings()).answers);
    let [create] = &names[..] else {
        panic!("{names:?}");
    };
    assert!(create.starts_with("create before-"), "{create}");
}

#[test]
fn the_longest_names_stay_labels_and_apart() {
    let mut observed = observed();
    observed.job_name = "o".repeat(52);
    observed.telling = Some(telling(vec![view(1_234_567, None), view(1_234_568, None)]));
    observed.telling.as_mut().unwrap().storage = Some(storage("s3://old/x"));
    observed.objects = mirrored(&observed).into_iter().map(Arc::new).collect();
    observed.telling.as_mut().unwrap().storage = Some(storage("s3://bucket/x"));
    let created = mirrored(&observed);
    let names: Vec<_> = created.iter().map(|object| identity(object).0).collect();
    assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
    assert!(
        names[0].contains("-1234568-") && names[1].contains("-1234567-"),
        "{names:?}"
    );
}

#[test]
fn a_pod_releases_it_where_it_lies_though_the_job_runs() {
    let mut observed = moved();
    let old = made_in("s3://old/x").remove(0);
    observed.objects = vec![deleted(old, 0)];
    let plan = plan(&observed, &settings());
    assert_eq!(names(&plan.answers), ["orders-7 is Releasing"]);
    assert!(plan.asks.is_empty(), "the job's checkpoint 7 is another");
    let [order] = &plan.cleanups[..] else {
        panic!("{plan:?}");
    };
    assert_eq!((order.folder.as_str(), order.id), (OLD, 7));
    assert_eq!(order.access.storage.url, "s3://old/x");
}

#[test]
fn what_the_jobs_log_does_not_have_is_not_released_because_of_that() {
    let mut observed = moved();
    let old = made_in("s3://old/x").remove(1);
    observed.objects = vec![deleted(old, 0)];
    let plan = plan(&observed, &settings());
    assert_eq!(names(&plan.answers), ["orders-6 is Releasing"]);
    assert_eq!(plan.cleanups.len(), 1);
}

#[test]
fn past_its_deadline_it_is_told_with_the_command_for_its_own_folder() {
    let mut observed = moved();
    let old = made_in("s3://old/x").remove(0);
    observed.objects = vec![deleted(old, 120_000)];
    let plan = plan(&observed, &settings());
    let message = &plan.told[0].note.message;
    let command = "`tidegate checkpoints release s3://old/x/shop/orders 7 --endpoint \
                   http://minio:9000` while no job runs there";
    assert!(message.contains(command), "{message}");
    assert!(message.contains("s3://old/x/shop/orders#7"), "{message}");
}

#[test]
fn it_goes_with_a_job_whose_files_go_but_its_own_are_told_to_stay() {
    let mut observed = moved();
    let mut job = (*job()).clone();
    job.spec.deletion_policy = DeletionPolicy::Delete;
    job.metadata.deletion_timestamp = Some(Time(Timestamp::from_millisecond(NOW_MS).unwrap()));
    observed.job = Some(Arc::new(job));
    let mut objects = made_in("s3://old/x");
    let asked = deleted(objects.remove(0), 0);
    observed.objects = vec![Arc::new(objects.remove(0)), asked];
    let going = plan(&observed, &settings());
    assert_eq!(
        names(&going.answers),
        ["drop orders-6", "orders-7 is Releasing"]
    );
    assert_eq!(going.cleanups.len(), 1, "who deletes one means its files");
    let [told] = &going.told[..] else {
        panic!("{:?}", going.told);
    };
    assert_eq!(
        (told.checkpoint.as_str(), told.note.is_warning),
        ("orders-6", true)
    );
    assert!(
        told.note.message.contains("s3://old/x/shop/orders#6"),
        "{}",
        told.note.message
    );
    observed.now_ms += 30_000;
    let late = plan(&observed, &settings());
    assert_eq!(names(&late.answers), ["drop orders-6", "free orders-7"]);
    assert_eq!(late.told.len(), 2, "the job is held up for a while only");
}

/// A job with a revision in the old bucket that runs, and a spec that asks for a new one.
fn refused_move() -> Observed {
    let mut observed = fixtures::observed(fixtures::job("good:1"));
    let first = crate::stream_job::plan(&observed, &fixtures::settings());
    fixtures::carry_out(&mut observed, &first);
    let revision = fixtures::revision_of(&observed.job);
    let mut running = fixtures::view(Phase::Running);
    (running.attempt, running.start_generation) = (Some(5), Some(1));
    observed.pods = vec![fixtures::saying(&revision, running)];
    let job = Arc::make_mut(&mut observed.job);
    job.status.as_mut().unwrap().revision = Some(revision);
    job.spec.checkpoint.storage = Some(storage("s3://new"));
    observed
}

#[test]
fn a_storage_that_only_the_spec_names_is_not_where_checkpoints_lie() {
    let facts = refused_move();
    let mut observed = observed();
    observed.job = Some(facts.job.clone());
    observed.telling = TellingJob::of(&facts);
    observed.telling.as_mut().unwrap().checkpoints = vec![view(7, None)];
    let created = mirrored(&observed).remove(0).status.unwrap();
    assert_eq!(
        created.location.as_deref(),
        Some("s3://bucket/jobs/shop/orders#7")
    );
    let reached = created.access.unwrap().storage;
    assert_eq!(
        reached.endpoint.as_deref(),
        Some("https://minio.example:9000")
    );
    assert_eq!(reached.secret_ref.unwrap().name, "storage");
    // An object that was made without any access.
    observed.objects = vec![deleted(mirrored(&observed).remove(0), 0)];
    Arc::make_mut(&mut observed.objects[0])
        .status
        .as_mut()
        .unwrap()
        .access = None;
    (observed.telling, observed.has_pods) = (None, false);
    observed.storage = written_storage(&facts);
    let order = plan(&observed, &settings()).cleanups.remove(0);
    assert_eq!(order.access.storage.url, "s3://bucket/jobs");
}

#[test]
fn the_process_that_was_started_last_tells_though_another_log_counted_further() {
    let mut facts = refused_move();
    let mut newer = facts.revisions[0].clone();
    newer.revision = "ffffffff".to_owned();
    newer.config.as_mut().unwrap().storage.url = "s3://new".to_owned();
    facts.revisions.push(newer);
    let mut started = fixtures::view(Phase::Running);
    (started.attempt, started.start_generation) = (Some(1), Some(2));
    facts
        .pods
        .push(fixtures::saying("ffffffff", started.clone()));
    let told = TellingJob::of(&facts).unwrap();
    assert_eq!(told.view.attempt, Some(1));
    assert_eq!(told.storage.unwrap().url, "s3://new");
    // One that was stopped while it was held has begun no attempt, and speaks for nothing.
    (started.attempt, started.phase) = (None, Phase::Stopped);
    facts.pods[1] = fixtures::saying("ffffffff", started);
    assert_eq!(TellingJob::of(&facts).unwrap().view.attempt, Some(5));
}

#[test]
fn only_objects_of_the_folder_that_tells_are_the_jobs_own() {
    let mut facts = refused_move();
    let ApiFacts::Answers { checkpoints, .. } = &mut facts.pods[0].api else {
        panic!("{:?}", facts.pods[0].api);
    };
    *checkpoints = vec![view(7, None)];
    let retained = checkpoints.clone();
    let objects = [
        made_in("s3://old/x").remove(1),
        made_in("s3://bucket/jobs").remove(0),
    ];
    facts.checkpoints = objects.into_iter().map(Arc::new).collect();
    let own = own_objects(&facts);
    let ids: Vec<_> = own
        .iter()
        .map(|object| object.status.as_ref().unwrap().id)
        .collect();
    assert_eq!(ids, [Some(7)]);
    assert!(is_mirrored(&own, &retained));
    facts.pods.clear();
    assert_eq!(own_objects(&facts).len(), 2, "nobody tells of a folder");
}
