//! Files that were written elsewhere than the sink writes now, or by another job.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_engine::{Sink, SinkRecovery, SinkWriter, describe, is_permanent};
use tidegate_protocol::CheckpointId;

use super::super::{FileSink, PENDING_FOLDER};
use crate::encode::Lines;
use crate::testing::{recovery, rows, sink_context, sink_job};

/// Two folders, of which the sink writes to the first, later to the second.
struct Fixture {
    _folder: TempDir,
    first: PathBuf,
    second: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self {
            first: folder.path().join("first"),
            second: folder.path().join("second"),
            _folder: folder,
        }
    }

    /// What the restored checkpoint holds: a line in a file of each subtask.
    async fn written(&self, lines: &[&str]) -> Vec<Value> {
        let sink = sink(&self.first);
        let mut transactions = Vec::new();
        for (subtask, line) in (0..).zip(lines) {
            let mut writer = sink.writer(sink_context(1, subtask)).unwrap();
            writer.write(&rows(&[(*line).to_owned()])).await.unwrap();
            let sealed = writer.pre_commit(CheckpointId::new(1).unwrap()).unwrap();
            transactions.extend(sealed.await.unwrap());
        }
        transactions
    }

    /// The committed lines of both folders.
    fn committed(&self) -> [Vec<String>; 2] {
        [committed(&self.first), committed(&self.second)]
    }
}

fn sink(folder: &Path) -> FileSink<String, Lines> {
    FileSink::new(folder, Lines)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

fn committed(folder: &Path) -> Vec<String> {
    let texts = files(folder).into_iter().map(fs::read_to_string);
    let mut lines: Vec<_> = texts.map(|text| text.unwrap().trim().to_owned()).collect();
    lines.sort();
    lines
}

fn pending_count(folder: &Path) -> usize {
    files(&folder.join(PENDING_FOLDER).join("words")).len()
}

fn take_away(folder: &Path) {
    for file in files(folder) {
        fs::remove_file(file).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

const NONE: [&str; 0] = [];

#[tokio::test]
async fn what_a_folder_held_before_the_sink_got_another_one_is_committed_where_it_lies() {
    let fixture = Fixture::new();
    let transactions = fixture.written(&["a", "b"]).await;
    let now = sink(&fixture.second);
    for attempt in 2..4 {
        let again = now.recover(recovery(attempt), transactions.clone());
        again.await.unwrap();
        assert_eq!(
            fixture.committed(),
            [vec!["a".to_owned(), "b".to_owned()], vec![]]
        );
        assert_eq!(pending_count(&fixture.first), 0);
    }
    take_away(&fixture.first);
    now.recover(recovery(4), transactions).await.unwrap();
    assert_eq!(committed(&fixture.first), NONE);
}

#[tokio::test]
async fn a_folder_that_has_moved_holds_what_is_pending_in_it() {
    let fixture = Fixture::new();
    let transactions = fixture.written(&["a"]).await;
    fs::rename(&fixture.first, &fixture.second).unwrap();
    let now = sink(&fixture.second);
    now.recover(recovery(2), transactions.clone())
        .await
        .unwrap();
    assert_eq!(committed(&fixture.second), ["a"]);
    // A reader of the results took the file away.
    take_away(&fixture.second);
    now.recover(recovery(3), transactions).await.unwrap();
    assert!(!fixture.first.exists());
}

#[tokio::test]
async fn a_folder_that_has_moved_and_left_an_empty_one_behind_holds_what_is_pending_in_it() {
    let fixture = Fixture::new();
    let transactions = fixture.written(&["a"]).await;
    fs::rename(&fixture.first, &fixture.second).unwrap();
    // What a volume was mounted over, used once before it was.
    fs::create_dir_all(fixture.first.join(PENDING_FOLDER).join("words")).unwrap();
    let now = sink(&fixture.second);
    now.recover(recovery(2), transactions).await.unwrap();
    assert_eq!(fixture.committed(), [vec![], vec!["a".to_owned()]]);
}

#[tokio::test]
async fn a_copy_of_the_folder_is_not_committed_beside_it() {
    let fixture = Fixture::new();
    let transactions = fixture.written(&["a"]).await;
    copy(&fixture.first, &fixture.second);
    let now = sink(&fixture.second);
    now.recover(recovery(2), transactions.clone())
        .await
        .unwrap();
    assert_eq!(fixture.committed(), [vec!["a".to_owned()], vec![]]);
    take_away(&fixture.first);
    now.recover(recovery(3), transactions).await.unwrap();
    assert_eq!(fixture.committed(), [vec![], Vec::<String>::new()]);
}

#[tokio::test]
async fn the_folder_s_return_does_not_commit_what_is_committed_in_its_copy() {
    let fixture = Fixture::new();
    let transactions = fixture.written(&["a"]).await;
    copy(&fixture.first, &fixture.second);
    let away = fixture.first.with_extension("away");
    fs::rename(&fixture.first, &away).unwrap();
    let now = sink(&fixture.second);
    now.recover(recovery(2), transactions.clone())
        .await
        .unwrap();
    fs::rename(&away, &fixture.first).unwrap();
    now.recover(recovery(3), transactions).await.unwrap();
    assert_eq!(fixture.committed(), [vec![], vec!["a".to_owned()]]);
    assert_eq!(pending_count(&fixture.first), 0);
}

#[tokio::test]
async fn a_folder_that_is_neither_where_it_was_nor_where_the_sink_writes_now_is_told() {
    let fixture = Fixture::new();
    let transactions = fixture.written(&["a"]).await;
    fs::remove_dir_all(&fixture.first).unwrap();
    // Another job writes there.
    fs::create_dir_all(fixture.second.join(PENDING_FOLDER).join("other")).unwrap();
    let now = sink(&fixture.second);
    let error = now.recover(recovery(2), transactions).await.unwrap_err();
    assert!(is_permanent(&*error));
    let pending = fixture.first.join(PENDING_FOLDER).display().to_string();
    let text = error.to_string();
    assert!(text.contains(&pending), "{text}");
    assert!(text.contains("which is not there"), "{text}");
}

/// What the sink of a job is told that starts from the checkpoint of the job `words`.
fn other_job(attempt: u64) -> SinkRecovery {
    SinkRecovery {
        job: sink_job("other"),
        ..recovery(attempt)
    }
}

#[tokio::test]
async fn what_another_job_was_killed_before_it_could_commit_is_committed_where_it_lies() {
    let fixture = Fixture::new();
    let transactions = fixture.written(&["a", "b"]).await;
    let now = sink(&fixture.second);
    now.recover(other_job(1), transactions.clone())
        .await
        .unwrap();
    assert_eq!(committed(&fixture.first), ["a", "b"]);
    // The other job was only asleep, and goes on.
    sink(&fixture.first)
        .commit(transactions.clone())
        .await
        .unwrap();
    assert_eq!(committed(&fixture.first), ["a", "b"]);
    take_away(&fixture.first);
    now.recover(other_job(2), transactions).await.unwrap();
    assert_eq!(committed(&fixture.first), NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_job_and_the_one_that_starts_from_its_checkpoint_commit_at_the_same_time() {
    for _ in 0..200 {
        let fixture = Fixture::new();
        let transactions = fixture.written(&["a", "b", "c", "d"]).await;
        let (there, here) = (sink(&fixture.first), sink(&fixture.second));
        let own = tokio::spawn(there.commit(transactions.clone()));
        let from_it = tokio::spawn(here.recover(other_job(1), transactions));
        own.await.unwrap().unwrap();
        from_it.await.unwrap().unwrap();
        assert_eq!(committed(&fixture.first), ["a", "b", "c", "d"]);
        assert_eq!(pending_count(&fixture.first), 0);
    }
}

#[tokio::test]
async fn another_job_s_folder_that_is_gone_does_not_hold_a_job_up() {
    let fixture = Fixture::new();
    let transactions = fixture.written(&["a"]).await;
    fs::remove_dir_all(&fixture.first).unwrap();
    let now = sink(&fixture.second);
    now.recover(other_job(1), transactions).await.unwrap();
    assert!(!fixture.first.exists());
}

#[tokio::test]
async fn another_job_s_folder_that_cannot_be_looked_into_is_told_with_what_to_do() {
    let fixture = Fixture::new();
    let transactions = fixture.written(&["a"]).await;
    let away = fixture.first.with_extension("away");
    fs::rename(&fixture.first, &away).unwrap();
    // A link to itself: nobody can say what is behind it.
    std::os::unix::fs::symlink(&fixture.first, &fixture.first).unwrap();
    let now = sink(&fixture.second);
    let error = now
        .recover(other_job(1), transactions.clone())
        .await
        .unwrap_err();
    let text = describe(&*error);
    assert!(!is_permanent(&*error), "{text}");
    assert!(text.contains(fixture.first.to_str().unwrap()), "{text}");
    assert!(text.contains("leaving_other_jobs_files"), "{text}");

    let leaving = sink(&fixture.second).leaving_other_jobs_files();
    leaving
        .recover(other_job(2), transactions.clone())
        .await
        .unwrap();
    fs::remove_file(&fixture.first).unwrap();
    fs::rename(&away, &fixture.first).unwrap();
    leaving
        .recover(other_job(3), transactions.clone())
        .await
        .unwrap();
    assert_eq!(committed(&fixture.first), NONE);
    now.recover(other_job(4), transactions).await.unwrap();
    assert_eq!(committed(&fixture.first), ["a"]);
}
