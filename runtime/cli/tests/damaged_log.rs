//! A job's folder with a log entry that is damaged or missing, as a person meets it.

#![allow(clippy::unwrap_used)]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use harness::folder::write;
use harness::{output, stderr, stdout};
use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

/// The file of a log entry of `default/word-count`; checkpoints 1, 2 and 3 are entries 2, 3 and 4.
fn entry(storage: &Path, number: u64) -> PathBuf {
    storage.join(format!("default/word-count/log/{number:020}.json"))
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

async fn storage(break_it: fn(&Path), number: u64) -> TempDir {
    let storage = tempfile::tempdir().unwrap();
    write(storage.path()).await;
    break_it(&entry(storage.path(), number));
    storage
}

/// What a command prints, on standard output or as its error.
fn run(storage: &TempDir, arguments: &[&str], code: i32) -> String {
    let output = output(storage.path(), arguments);
    let text = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn state_files(storage: &TempDir) -> Vec<bool> {
    let state = storage.path().join("default/word-count/state/1");
    [1, 2]
        .map(|id| state.join(format!("{id}/count-0.arrow")).exists())
        .to_vec()
}

#[rstest]
#[case::damaged(flip)]
#[case::missing(remove)]
#[tokio::test]
async fn a_damaged_old_entry_is_listed_shown_and_given_up_by_its_name(#[case] break_it: fn(&Path)) {
    let storage = storage(break_it, 2).await;
    let text = run(&storage, &["checkpoints", "list", "."], 0);
    assert!(text.contains("   entry-2  damaged     -"), "{text}");
    assert!(text.contains("release FOLDER entry-2`"), "{text}");
    assert!(
        text.ends_with("the next run goes on from checkpoint 3\n"),
        "{text}"
    );
    let text = run(&storage, &["checkpoints", "list", ".", "--json"], 0);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["checkpoints"].as_array().unwrap().len(), 2);
    assert_eq!(list["damaged"][0]["name"], "entry-2");
    assert_eq!(list["damaged"][0]["logNumber"], 2);

    assert!(run(&storage, &["checkpoints", "show", ".", "2"], 0).contains("checkpoint 2 of"));
    let text = run(&storage, &["checkpoints", "show", ".", "entry-2"], 1);
    assert!(text.contains("the checkpoint of entry-2 in"), "{text}");
    let text = run(&storage, &["checkpoints", "show", ".", "1"], 1);
    assert!(
        text.ends_with("kept there: 2, 3, entry-2 (damaged)\n"),
        "{text}"
    );
    let text = run(&storage, &["checkpoints", "verify", "."], 1);
    assert!(
        text.contains("log entry 2: broken") && text.contains("entry-2`"),
        "{text}"
    );
    assert!(text.contains("checkpoint 3: whole"), "{text}");
    let text = run(&storage, &["checkpoints", "verify", ".", "entry-2"], 1);
    assert!(text.contains("1 of 1 checkpoint broken"), "{text}");
    run(&storage, &["state", "dump", "."], 0);

    let text = run(&storage, &["checkpoints", "release", ".", "entry-2"], 0);
    assert!(
        text.contains("log entry 2 of") && text.contains(" is released;"),
        "{text}"
    );
    let text = run(&storage, &["checkpoints", "verify", "."], 0);
    assert!(text.contains("2 checkpoints verified"), "{text}");
    let text = run(&storage, &["checkpoints", "release", ".", "entry-2"], 0);
    assert!(text.contains("none that is kept"), "{text}");
}

#[tokio::test]
async fn nothing_that_a_damaged_entry_may_name_is_deleted_before_it_is_given_up() {
    let storage = storage(flip, 3).await;
    let whole = fs::read(entry(storage.path(), 3)).unwrap();
    for id in ["1", "3"] {
        run(&storage, &["checkpoints", "release", ".", id], 0);
    }
    // Checkpoint 2 needs both, which no whole entry names any more.
    assert_eq!(state_files(&storage), [true, true]);
    assert_eq!(fs::read(entry(storage.path(), 3)).unwrap(), whole);
    let text = run(&storage, &["checkpoints", "release", ".", "2"], 1);
    assert!(
        text.contains("may be one that cannot; kept there: entry-3 (damaged)"),
        "{text}"
    );

    // Restored from a backup, it is as good as ever.
    flip(&entry(storage.path(), 3));
    let text = run(&storage, &["checkpoints", "verify", "."], 0);
    assert!(text.contains("checkpoint 2: whole"), "{text}");

    flip(&entry(storage.path(), 3));
    let text = run(&storage, &["checkpoints", "release", ".", "entry-3"], 0);
    // Both state files, the entry, and the one that was the highest.
    assert!(text.contains("4 files deleted"), "{text}");
    assert_eq!(state_files(&storage), [false, false]);
}

#[tokio::test]
async fn a_damaged_highest_entry_is_refused_by_every_command_but_purge() {
    let storage = storage(flip, 4).await;
    for command in [
        &["checkpoints", "list", "."][..],
        &["checkpoints", "show", ".", "1"],
        &["checkpoints", "verify", "."],
        &["checkpoints", "release", ".", "entry-4"],
        &["checkpoints", "release", ".", "1"],
    ] {
        let text = run(&storage, command, 1);
        assert!(text.contains("log entry 4 is damaged"), "{text}");
    }
}

#[tokio::test]
async fn a_log_of_which_only_the_highest_entry_is_left_can_be_given_up_in_parts() {
    let storage = storage(remove, 2).await;
    remove(&entry(storage.path(), 3));
    let text = run(&storage, &["checkpoints", "list", "."], 1);
    assert!(
        text.contains("is missing") && text.contains("entry-NUMBER"),
        "{text}"
    );
    for name in ["entry-2", "entry-3"] {
        run(&storage, &["checkpoints", "release", ".", name], 0);
    }
    let text = run(&storage, &["checkpoints", "list", "."], 0);
    assert!(
        text.ends_with("the next run goes on from checkpoint 3\n"),
        "{text}"
    );
}
