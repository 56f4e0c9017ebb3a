//! `tidegate checkpoints` and `tidegate state` over a real folder.

#![allow(clippy::unwrap_used)]

mod harness;

use std::path::{Path, PathBuf};

use harness::{folder, output, stderr, stdout, tidegate};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_storage::{AccessKeys, Credentials};
use tidegate_testkit::S3Server;

async fn storage() -> TempDir {
    let storage = tempfile::tempdir().unwrap();
    folder::write(storage.path()).await;
    storage
}

fn json_of(storage: &Path, arguments: &[&str], code: i32) -> Value {
    let output = output(storage, arguments);
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

fn text_of(storage: &Path, arguments: &[&str]) -> String {
    let output = output(storage, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

#[rstest]
#[case(&["."])]
#[case(&[".", "--job", "word-count"])]
#[case(&[".", "--job", "default/word-count"])]
#[case(&["default/word-count"])]
#[tokio::test]
async fn a_job_is_found_by_its_folder_or_name(#[case] location: &[&str]) {
    let storage = storage().await;
    let arguments = [&["checkpoints", "list", "--json"], location].concat();
    let list = json_of(storage.path(), &arguments, 0);
    assert_eq!(list["checkpoints"].as_array().unwrap().len(), 3);
    assert_eq!(list["checkpoints"][0]["kind"], "Checkpoint");
    assert_eq!(list["checkpoints"][2]["kind"], "Savepoint");
    assert_eq!(list["checkpoints"][1]["fileCount"], 2);
    assert_eq!(list["nextCheckpoint"], 3);
    let start_from = list["checkpoints"][1]["startFrom"].as_str().unwrap();
    assert!(start_from.ends_with("default/word-count#2"), "{start_from}");
}

#[tokio::test]
async fn a_storage_with_several_jobs_asks_which() {
    let storage = storage().await;
    folder::write_job(storage.path(), "team", "other").await;
    let output = output(storage.path(), &["checkpoints", "list", "."]);
    assert_eq!(output.status.code(), Some(2));
    let path = storage.path().display();
    assert_eq!(
        stderr(&output),
        format!(
            "error: {path} holds several jobs, default/word-count, team/other; choose one with \
             --job\n"
        )
    );
}

#[tokio::test]
async fn a_checkpoint_is_shown_with_its_operators_files_and_positions() {
    let storage = storage().await;
    let text = text_of(storage.path(), &["checkpoints", "show", ".", "2"]);
    for expected in [
        "/default/word-count#2",
        "completed    2026-11-24T09:00:02.000Z",
        "count: value<u64> by String",
        "1 position",
        "state/1/1/count-0.arrow",
        "state/1/2/count-0.arrow",
        "{\"position\":8192,\"split\":\"kjv.txt\"}",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    let shown = json_of(
        storage.path(),
        &["checkpoints", "show", ".", "2", "--json"],
        0,
    );
    assert_eq!(
        shown["operators"][1]["subtasks"][0]["files"][1]["kind"],
        "Increment"
    );
}

#[tokio::test]
async fn an_absent_checkpoint_is_told_with_those_there_are() {
    let storage = storage().await;
    let output = output(storage.path(), &["checkpoints", "show", ".", "9"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!(
            "error: there is no checkpoint 9 in file://{}/default/word-count; kept there: 1, 2, \
             3\n",
            storage.path().display()
        )
    );
}

#[tokio::test]
async fn whole_checkpoints_are_verified() {
    let storage = storage().await;
    let text = text_of(storage.path(), &["checkpoints", "verify", "."]);
    assert!(text.contains("checkpoint 3: whole"), "{text}");
    assert!(
        text.ends_with("3 checkpoints verified: every byte is as it was written\n"),
        "{text}"
    );
    let one = json_of(
        storage.path(),
        &["checkpoints", "verify", ".", "1", "--json"],
        0,
    );
    assert_eq!(one["isWhole"], true);
    assert_eq!(one["checkpoints"].as_array().unwrap().len(), 1);
}

/// Damages a file below the job's folder.
fn damage(storage: &Path, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path: PathBuf = storage.join("default/word-count").join(path);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
}

#[rstest]
#[case::flipped(|bytes: &mut Vec<u8>| { let at = bytes.len() / 2; bytes[at] ^= 1 })]
#[case::first_byte(|bytes: &mut Vec<u8>| bytes[0] ^= 0x80)]
#[case::truncated(|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1))]
#[case::emptied(|bytes: &mut Vec<u8>| bytes.clear())]
#[case::longer(|bytes: &mut Vec<u8>| bytes.push(0))]
#[tokio::test]
async fn a_damaged_file_breaks_the_checkpoints_that_name_it(#[case] change: fn(&mut Vec<u8>)) {
    let storage = storage().await;
    damage(storage.path(), "state/1/2/count-0.arrow", change);
    let report = json_of(storage.path(), &["checkpoints", "verify", ".", "--json"], 1);
    let is_whole: Vec<_> = report["checkpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["isWhole"].clone())
        .collect();
    assert_eq!(is_whole, [true, false, false]);
    let problem = report["checkpoints"][1]["problems"][0].as_str().unwrap();
    assert!(problem.contains("state/1/2/count-0.arrow"), "{problem}");
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let storage = storage().await;
    std::fs::remove_file(
        storage
            .path()
            .join("default/word-count/state/1/1/count-0.arrow"),
    )
    .unwrap();
    let output = output(storage.path(), &["checkpoints", "verify", "."]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("checkpoint 1: broken"), "{text}");
    assert!(
        text.contains("state/1/1/count-0.arrow` is missing"),
        "{text}"
    );
    assert!(text.ends_with("3 of 3 checkpoints broken; start from another one with startFrom\n"));
}

#[tokio::test]
async fn a_damaged_log_entry_is_named_and_the_others_are_verified() {
    let storage = storage().await;
    damage(storage.path(), "log/00000000000000000002.json", |bytes| {
        bytes.truncate(40)
    });
    let report = json_of(storage.path(), &["checkpoints", "verify", ".", "--json"], 1);
    assert_eq!(report["checkpoints"][0]["id"], Value::Null);
    assert_eq!(report["checkpoints"][0]["logNumber"], 2);
    assert_eq!(report["checkpoints"][2]["isWhole"], true);
}

#[tokio::test]
async fn a_state_is_what_its_base_and_increment_make_of_it() {
    let storage = storage().await;
    let dump = json_of(storage.path(), &["state", "dump", ".", "--json"], 0);
    let expected = json!([
        {"key": "the", "keyGroup": 3, "state": {"count": 13}},
        {"key": "whale", "keyGroup": 90, "state": {"count": 1}},
        {"key": "sea", "keyGroup": 91, "state": {"count": 2}},
    ]);
    assert_eq!(dump["rows"], expected);
    assert_eq!(dump["isCut"], false);
    let arguments = [
        "state",
        "dump",
        ".",
        "--checkpoint",
        "1",
        "--operator",
        "count",
        "--json",
    ];
    let first = json_of(storage.path(), &arguments, 0);
    assert_eq!(
        first["rows"][0],
        json!({"key": "and", "keyGroup": 3, "state": {"count": 7}})
    );
}

#[tokio::test]
async fn a_state_is_printed_as_a_table() {
    let storage = storage().await;
    let text = text_of(
        storage.path(),
        &["state", "dump", ".", "--operator", "count words"],
    );
    assert_eq!(
        text,
        "KEY    KEY GROUP  count\n\
         the            3     13\n\
         whale         90      1\n\
         sea           91      2\n"
    );
    let text = text_of(storage.path(), &["state", "dump", ".", "--limit", "1"]);
    assert!(
        text.ends_with("only the first 1 rows; print more with --limit\n"),
        "{text}"
    );
    let text = text_of(storage.path(), &["state", "dump", ".", "--key", "sea"]);
    assert_eq!(text, "KEY  KEY GROUP  count\nsea         91      2\n");
}

#[rstest]
#[case(&["--key", "and"], "error: count keeps nothing for the key and in checkpoint 3\n")]
#[case(&["--operator", "sum"],
    "error: checkpoint 3: the operator sum is not in it; these do: count\n")]
#[case(&["--operator", "lines"],
    "error: checkpoint 3: the operator lines keeps no state by key; these do: count\n")]
#[case(&["--checkpoint", "7"],
    "error: there is no checkpoint 7 in file://FOLDER/default/word-count; kept there: 1, 2, 3\n")]
#[tokio::test]
async fn a_state_that_is_not_there_is_told(#[case] more: &[&str], #[case] expected: &str) {
    let storage = storage().await;
    let output = output(storage.path(), &[&["state", "dump", "."], more].concat());
    assert_eq!(output.status.code(), Some(1));
    let folder = storage.path().display().to_string();
    assert_eq!(stderr(&output).replace(&folder, "FOLDER"), expected);
}

/// A command with a server's keys in its environment.
fn with_keys(server: &S3Server, secret: &str, arguments: &[&str]) -> std::process::Output {
    tidegate(Path::new("/"), arguments)
        .env("AWS_ACCESS_KEY_ID", server.access_key())
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_bucket_is_looked_at_as_a_folder_is() {
    let server = S3Server::versitygw().unwrap();
    server.create_bucket("tidegate-test").unwrap();
    let storage = format!(
        "s3://tidegate-test/jobs?endpoint={}&region={}",
        server.endpoint(),
        server.region()
    );
    let keys = AccessKeys {
        access_key_id: server.access_key().to_owned(),
        secret_access_key: server.secret_key().to_owned(),
        session_token: None,
    };
    tidegate_storage::install_crypto_provider();
    folder::write_at(&storage, Credentials::Keys(keys), "default", "word-count").await;

    let run = |more: &[&str]| {
        let arguments = [more, &[storage.as_str(), "--job", "word-count", "--json"]].concat();
        let output = with_keys(&server, server.secret_key(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_str::<Value>(&stdout(&output)).unwrap()
    };
    let list = run(&["checkpoints", "list"]);
    let start_from = list["checkpoints"][0]["startFrom"].as_str().unwrap();
    assert!(
        start_from.starts_with("s3://tidegate-test/jobs/default/word-count?"),
        "{start_from}"
    );
    assert_eq!(run(&["checkpoints", "verify"])["isWhole"], true);
    assert_eq!(
        run(&["state", "dump"])["rows"][0]["state"],
        json!({"count": 13})
    );

    let arguments = ["checkpoints", "list", &storage, "--job", "word-count"];
    let refused = with_keys(&server, "wrong", &arguments);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("tidegate-test"),
        "{}",
        stderr(&refused)
    );
}
