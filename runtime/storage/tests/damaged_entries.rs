//! A log of which an old entry is damaged or missing: what its readers see, and what is kept.
#![allow(clippy::unwrap_used)]

mod contract;

use std::fs;
use std::path::{Path, PathBuf};

use contract::{ALL, checkpoint, number, open_local, write_file};
use rstest::rstest;
use tidegate_protocol::{Action, Attempt, CheckpointId, Event, KeyGroup, LogNumber};
use tidegate_storage::{Garbage, JobFolder, Latest};

fn entry_path(root: &Path, at: u64) -> PathBuf {
    let log = root.join("default/word-count/log");
    log.join(number(at).file_name())
}

/// Entries 2, 3 and 4, each a checkpoint that retains those before it.
async fn three(root: &Path) -> JobFolder {
    let folder = open_local(root).await;
    for (at, older) in [(2, &[][..]), (3, &[2]), (4, &[2, 3])] {
        folder.append(&checkpoint(at, older, vec![])).await;
    }
    folder
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

fn numbers(latest: &Latest) -> (Vec<LogNumber>, Vec<LogNumber>) {
    let whole = latest.checkpoints.iter().map(|(number, _)| *number);
    let damaged = latest.damaged.iter().map(|it| it.number);
    (whole.collect(), damaged.collect())
}

#[rstest]
#[case::damaged(flip, "is damaged")]
#[case::missing(remove, "is missing")]
#[tokio::test]
async fn an_old_entry_that_cannot_be_read_is_told_and_the_others_are_read(
    #[case] break_it: fn(&Path),
    #[case] problem: &str,
) {
    for at in [2, 3] {
        let root = tempfile::tempdir().unwrap();
        let folder = three(root.path()).await;
        let path = entry_path(root.path(), at);
        break_it(&path);
        let latest = folder.latest().await.unwrap().unwrap();
        let whole = [2, 3, 4]
            .map(number)
            .into_iter()
            .filter(|it| *it != number(at));
        assert_eq!(numbers(&latest), (whole.collect(), vec![number(at)]));
        let text = &latest.damaged[0].problem;
        assert!(
            text.contains(problem) && text.contains(path.to_str().unwrap()),
            "{text}"
        );
    }
}

#[rstest]
#[case::damaged(flip)]
#[case::missing(remove)]
#[tokio::test]
async fn the_highest_entry_must_be_whole_and_so_it_is_where_nothing_else_is_left(
    #[case] break_it: fn(&Path),
) {
    let root = tempfile::tempdir().unwrap();
    let folder = three(root.path()).await;
    flip(&entry_path(root.path(), 4));
    let error = folder.latest().await.unwrap_err();
    assert_eq!(error.category(), "StateDamaged");

    // So looks what a fenced attempt leaves behind in a log that was removed.
    let root = tempfile::tempdir().unwrap();
    let folder = three(root.path()).await;
    remove(&entry_path(root.path(), 2));
    break_it(&entry_path(root.path(), 3));
    match folder.latest().await {
        Ok(latest) => assert_eq!(numbers(&latest.unwrap()).1, [2, 3].map(number)),
        Err(error) => {
            assert!(!entry_path(root.path(), 3).exists());
            assert_eq!(error.category(), "StateMissing");
        }
    }
}

#[tokio::test]
async fn damage_is_answered_as_such_and_not_as_a_store_that_fails() {
    let root = tempfile::tempdir().unwrap();
    let folder = three(root.path()).await;
    flip(&entry_path(root.path(), 2));
    let read = |at| Action::ReadEntry {
        request: at,
        number: number(at),
    };
    let answer = folder.answer(read(2)).await;
    assert!(
        matches!(&answer, Some(Event::EntryDamaged { request: 2, reason })
            if reason.contains("log entry 2 is damaged")),
        "{answer:?}"
    );
    let answer = folder.answer(read(3)).await;
    assert!(
        matches!(
            answer,
            Some(Event::EntryRead {
                request: 3,
                entry: Ok(Some(_))
            })
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_collection_spares_every_file_that_an_unreadable_entry_may_name() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let runs = [vec![(KeyGroup(1), 5)]];
    let mut files = Vec::new();
    for path in [
        "state/1/3/count-0.arrow",
        "state/4/5/count-0.arrow",
        "state/6/8/count-0.arrow",
    ] {
        files.push(write_file(&folder, path, &runs).await);
    }
    // Entry 6 cannot be read: attempts 1 and 4 began before it, attempt 6 after.
    let garbage = Garbage {
        entries: Vec::new(),
        keep_files: Vec::new(),
        keep_from: CheckpointId::FIRST,
        attempt: Attempt::new(9).unwrap(),
        keep_before: Attempt::new(6).unwrap(),
    };
    assert_eq!(folder.collect_garbage(&garbage).await.unwrap(), 1);
    for file in &files[..2] {
        folder.read_state_file(file, ALL).await.unwrap();
    }
    assert!(folder.read_state_file(&files[2], ALL).await.is_err());
}

#[tokio::test]
async fn a_dangling_link_for_a_state_folder_is_told_as_what_it_is() {
    let root = tempfile::tempdir().unwrap();
    let link = root.path().join("link");
    std::os::unix::fs::symlink(root.path().join("nowhere"), &link).unwrap();
    let error = open_local(&link).await.self_test().await.unwrap_err();
    assert_eq!(error.category(), "NotAFolder", "{error}");
    assert!(
        error.to_string().contains("a link that leads nowhere"),
        "{error}"
    );
}
