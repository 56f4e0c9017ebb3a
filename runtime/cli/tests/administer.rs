//! `tidegate checkpoints release` and `purge`, as the operator's short-lived pod runs them.

#![allow(clippy::unwrap_used)]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Output;

use harness::folder::{write, write_at, write_job};
use harness::{output, stderr, stdout, tidegate};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_storage::{AccessKeys, Credentials};
use tidegate_testkit::{FaultPlan, FaultProxy, S3Flavour, S3Server};

/// A storage folder with the job `default/word-count`.
async fn storage() -> TempDir {
    let storage = tempfile::tempdir().unwrap();
    write(storage.path()).await;
    storage
}

fn json_of(folder: &Path, arguments: &[&str]) -> Value {
    let output = output(folder, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

fn text_of(folder: &Path, arguments: &[&str]) -> String {
    let output = output(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output).replace(&folder.display().to_string(), "FOLDER")
}

/// What is kept, verified, and what the next run goes on from.
fn kept(folder: &Path) -> (Vec<u64>, Value) {
    let verified = json_of(folder, &["checkpoints", "verify", "."]);
    assert_eq!(verified["isWhole"], true, "{verified:#}");
    let list = json_of(folder, &["checkpoints", "list", "."]);
    let checkpoints = list["checkpoints"].as_array().unwrap();
    let ids = checkpoints.iter().map(|it| it["id"].as_u64().unwrap());
    (ids.collect(), list["nextCheckpoint"].clone())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn an_older_checkpoint_is_released_and_the_others_stay_whole() {
    let storage = storage().await;
    let text = text_of(storage.path(), &["checkpoints", "release", ".", "1"]);
    // Its file is the base of the others, so it stays.
    assert_eq!(
        text,
        "checkpoint 1 of file://FOLDER/default/word-count is released; 2 files deleted\n"
    );
    assert_eq!(kept(storage.path()), (vec![2, 3], json!(3)));
}

#[tokio::test]
async fn every_checkpoint_can_be_released_one_by_one_and_the_warning_says_what_it_costs() {
    let storage = storage().await;
    let text = text_of(storage.path(), &["checkpoints", "release", ".", "3"]);
    assert!(
        text.ends_with(
            "warning: the job would have gone on from checkpoint 3; its next run goes on from \
             checkpoint 2 of 2026-11-24T09:00:02.000Z and gives the results since then once more\n"
        ),
        "{text}"
    );
    assert_eq!(kept(storage.path()), (vec![1, 2], json!(2)));
    let older = json_of(storage.path(), &["checkpoints", "release", ".", "2"]);
    assert_eq!(older["nextStart"], "Older");
    assert_eq!(older["nextCheckpoint"], 1);
    assert_eq!(kept(storage.path()), (vec![1], json!(1)));
    let text = text_of(storage.path(), &["checkpoints", "release", ".", "1"]);
    assert!(text.contains("begins without state"), "{text}");
    assert_eq!(kept(storage.path()), (vec![], Value::Null));
    let left = files(&storage.path().join("default/word-count"));
    assert_eq!(left, [PathBuf::from("log/00000000000000000007.json")]);
}

#[tokio::test]
async fn a_release_can_be_repeated_and_an_absent_job_has_nothing_to_release() {
    let storage = storage().await;
    text_of(storage.path(), &["checkpoints", "release", ".", "1"]);
    let log = files(storage.path());
    let text = text_of(storage.path(), &["checkpoints", "release", ".", "1"]);
    assert_eq!(
        text,
        "checkpoint 1 is not kept in file://FOLDER/default/word-count, or no longer; kept there: \
         2, 3\n"
    );
    assert_eq!(files(storage.path()), log, "no entry is needed");
    let absent = ["checkpoints", "release", "nowhere/default/gone", "1"];
    let text = text_of(storage.path(), &absent);
    assert!(text.ends_with("kept there: nothing\n"), "{text}");
    assert!(!storage.path().join("nowhere").exists());
}

#[tokio::test]
async fn what_a_dead_release_left_behind_is_deleted_by_the_next() {
    let storage = storage().await;
    text_of(storage.path(), &["checkpoints", "release", ".", "3"]);
    // As if it had died after its entry: files of attempts that it fenced, which nothing names.
    let orphan = storage
        .path()
        .join("default/word-count/state/1/9/count-0.arrow");
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, "x").unwrap();
    let report = json_of(storage.path(), &["checkpoints", "release", ".", "3"]);
    assert_eq!(report["isReleasedNow"], false);
    assert_eq!(report["deletedCount"], 1);
    assert!(!orphan.exists());
    assert_eq!(kept(storage.path()), (vec![1, 2], json!(2)));
}

#[tokio::test]
async fn a_job_is_removed_with_everything_and_its_neighbours_stay() {
    let storage = storage().await;
    for (namespace, name) in [("default", "word-count-2"), ("team", "word-count")] {
        write_job(storage.path(), namespace, name).await;
    }
    let others: Vec<_> = files(storage.path());
    let others = others
        .into_iter()
        .filter(|path| !path.starts_with("default/word-count"));
    let others: Vec<_> = others.collect();
    let purge = ["checkpoints", "purge", ".", "--job", "word-count"];
    let text = text_of(storage.path(), &purge);
    assert_eq!(
        text,
        "file://FOLDER/default/word-count is removed; 7 files deleted\n"
    );
    assert_eq!(files(storage.path()), others);
    assert!(!storage.path().join("default/word-count").exists());
    let text = text_of(storage.path(), &purge);
    assert_eq!(
        text,
        "nothing of a job is in file://FOLDER/default/word-count\n"
    );
}

#[tokio::test]
async fn a_job_whose_log_is_damaged_is_removed_too() {
    let storage = storage().await;
    let job = storage.path().join("default/word-count");
    std::fs::write(job.join("log/00000000000000000004.json"), "{}").unwrap();
    let purge = ["checkpoints", "purge", "default/word-count"];
    let text = text_of(storage.path(), &purge);
    assert!(text.contains("is removed"), "{text}");
    assert!(!job.exists());
}

#[tokio::test]
async fn a_job_is_not_removed_because_it_is_the_only_one_and_foreign_files_stay() {
    let storage = storage().await;
    let refused = output(storage.path(), &["checkpoints", "purge", "."]);
    assert_eq!(refused.status.code(), Some(2));
    let text = stderr(&refused);
    assert!(
        text.contains("default/word-count; name it with --job"),
        "{text}"
    );
    let note = storage.path().join("default/word-count/notes.txt");
    std::fs::write(&note, "mine").unwrap();
    let purge = ["checkpoints", "purge", "default/word-count"];
    let text = text_of(storage.path(), &purge);
    assert!(
        text.ends_with("left in place, because the job did not write it:\n  notes.txt\n"),
        "{text}"
    );
    assert_eq!(
        files(storage.path()),
        [PathBuf::from("default/word-count/notes.txt")]
    );
}

/// A job on a server, and the command's arguments that reach it.
struct Bucket {
    server: S3Server,
    storage: String,
    secret: TempDir,
}

impl Bucket {
    async fn new(flavour: S3Flavour) -> Self {
        let server = S3Server::start(flavour).unwrap();
        server.create_bucket("tidegate-test").unwrap();
        let storage = "s3://tidegate-test/jobs".to_owned();
        let keys = AccessKeys {
            access_key_id: server.access_key().to_owned(),
            secret_access_key: server.secret_key().to_owned(),
            session_token: None,
        };
        tidegate_storage::install_crypto_provider();
        for name in ["word-count", "word-count-2"] {
            let url = format!("{storage}?endpoint={}", server.endpoint());
            write_at(&url, Credentials::Keys(keys.clone()), "default", name).await;
        }
        let secret = tempfile::tempdir().unwrap();
        let write = |name, value| std::fs::write(secret.path().join(name), value).unwrap();
        write("AWS_ACCESS_KEY_ID", server.access_key());
        write("AWS_SECRET_ACCESS_KEY", server.secret_key());
        Self {
            server,
            storage,
            secret,
        }
    }

    fn run(&self, endpoint: &str, arguments: &[&str]) -> Output {
        let more = ["--endpoint", endpoint, "--region", "us-east-1", "--json"];
        tidegate(Path::new("/"), &[arguments, &more].concat())
            .env("TIDEGATE_STORAGE_CREDENTIALS_FOLDER", self.secret.path())
            .output()
            .unwrap()
    }

    fn kept(&self, job: &str) -> Vec<u64> {
        let arguments = ["checkpoints", "verify", &self.storage, "--job", job];
        let output = self.run(&self.server.endpoint(), &arguments);
        let verified: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(verified["isWhole"], true, "{verified:#}");
        let checkpoints = verified["checkpoints"].as_array().unwrap();
        checkpoints
            .iter()
            .map(|it| it["id"].as_u64().unwrap())
            .collect()
    }
}

#[rstest::rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_administered_with_the_jobs_own_credentials(#[case] flavour: S3Flavour) {
    let bucket = Bucket::new(flavour).await;
    let endpoint = bucket.server.endpoint();
    let job = format!("{}/default/word-count", bucket.storage);
    let released = bucket.run(&endpoint, &["checkpoints", "release", &job, "2"]);
    assert_eq!(released.status.code(), Some(0), "{}", stderr(&released));
    assert_eq!(bucket.kept("word-count"), [1, 3]);
    let purged = bucket.run(&endpoint, &["checkpoints", "purge", &job]);
    assert_eq!(purged.status.code(), Some(0), "{}", stderr(&purged));
    let names = bucket
        .server
        .data_folder()
        .join("tidegate-test/jobs/default");
    if flavour == S3Flavour::Versitygw {
        assert_eq!(files(&names.join("word-count")), Vec::<PathBuf>::new());
    }
    assert_eq!(bucket.kept("word-count-2"), [1, 2, 3]);
    let again = bucket.run(&endpoint, &["checkpoints", "purge", &job]);
    assert!(stdout(&again).contains("nothing of a job"), "{again:?}");
    let released = bucket.run(&endpoint, &["checkpoints", "release", &job, "3"]);
    assert_eq!(released.status.code(), Some(0), "{}", stderr(&released));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_gone_has_nothing_left_and_wrong_keys_are_a_failure_that_is_told() {
    let bucket = Bucket::new(S3Flavour::Versitygw).await;
    let endpoint = bucket.server.endpoint();
    for command in [
        &["checkpoints", "purge", "s3://no-such-bucket/a/b"][..],
        &["checkpoints", "release", "s3://no-such-bucket/a/b", "3"],
    ] {
        let gone = bucket.run(&endpoint, command);
        assert_eq!(gone.status.code(), Some(0), "{}", stderr(&gone));
        assert!(stdout(&gone).contains("NoSuchBucket"), "{gone:?}");
    }
    let objects = files(&bucket.server.data_folder().join("tidegate-test"));
    std::fs::write(bucket.secret.path().join("AWS_SECRET_ACCESS_KEY"), "wrong").unwrap();
    let message = bucket.secret.path().join("termination-log");
    let job = format!("{}/default/word-count", bucket.storage);
    for command in [
        &[
            "checkpoints",
            "purge",
            job.as_str(),
            "--endpoint",
            &endpoint,
        ][..],
        &["checkpoints", "release", &job, "3", "--endpoint", &endpoint],
    ] {
        let refused = tidegate(Path::new("/"), command)
            .env("TIDEGATE_STORAGE_CREDENTIALS_FOLDER", bucket.secret.path())
            .env("TIDEGATE_TERMINATION_MESSAGE", &message)
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let text = stderr(&refused);
        assert!(text.contains("does not accept the credentials"), "{text}");
        assert_eq!(std::fs::read_to_string(&message).unwrap(), text);
    }
    let left = files(&bucket.server.data_folder().join("tidegate-test"));
    assert_eq!(left, objects);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_over_a_bad_network_leaves_every_kept_checkpoint_whole() {
    let bucket = Bucket::new(S3Flavour::Versitygw).await;
    let job = format!("{}/default/word-count", bucket.storage);
    for (seed, id, kept) in [(1, "1", vec![2, 3]), (2, "3", vec![2]), (3, "2", vec![])] {
        let plan = FaultPlan::hostile(seed, 40);
        let proxy = FaultProxy::start(bucket.server.address(), plan).unwrap();
        // A run that gives up is done again, as the operator does.
        let is_done = (0..8).any(|_| {
            let output = bucket.run(&proxy.endpoint(), &["checkpoints", "release", &job, id]);
            output.status.code() == Some(0)
        });
        assert!(is_done);
        assert_eq!(bucket.kept("word-count"), kept, "{:?}", proxy.counts());
    }
}
