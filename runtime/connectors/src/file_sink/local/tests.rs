use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_engine::{Record, Result, Sink, SinkWriter};
use tidegate_protocol::CheckpointId;

use super::super::transaction::Transaction;
use super::super::{FileSink, FileWriter, PENDING_FOLDER};
use super::pending_path;
use crate::encode::{Encoder, Lines, Text};
use crate::testing::{recovery, rows, sink_context};

fn sink(folder: &TempDir) -> FileSink<String, Lines> {
    FileSink::new(folder.path().join("out"), Lines)
}

fn records(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// The committed files' lines, sorted.
fn committed(folder: &TempDir) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.path().join("out")) else {
        return Vec::new();
    };
    let files = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file());
    let text: String = files
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn pending_count(folder: &TempDir) -> usize {
    let pending_folder = folder.path().join("out").join(PENDING_FOLDER);
    let jobs = fs::read_dir(pending_folder).into_iter().flatten().flatten();
    jobs.map(|job| fs::read_dir(job.path()).map_or(0, Iterator::count))
        .sum()
}

async fn pre_commit<R: Record, E: Encoder<R>>(
    writer: &mut FileWriter<R, E>,
    checkpoint: u64,
) -> Result<Vec<Value>> {
    writer
        .pre_commit(CheckpointId::new(checkpoint).unwrap())?
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn records_appear_with_their_commit_and_not_before() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    writer.write(&rows(&records(&["a", "b"]))).await.unwrap();
    let first = pre_commit(&mut writer, 1).await.unwrap();
    assert_eq!(first.len(), 1);
    writer.write(&rows(&records(&["c"]))).await.unwrap();
    assert_eq!(committed(&folder), [""; 0]);
    sink.commit(first.clone()).await.unwrap();
    assert_eq!(committed(&folder), ["a", "b"]);
    let second = pre_commit(&mut writer, 2).await.unwrap();
    assert_eq!(
        pre_commit(&mut writer, 3).await.unwrap(),
        Vec::<Value>::new(),
        "nothing came"
    );
    sink.commit(second).await.unwrap();
    assert_eq!(committed(&folder), ["a", "b", "c"]);
    assert_eq!(pending_count(&folder), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_bytes_make_no_file() {
    let folder = TempDir::new().unwrap();
    let wanted = Text::<String, _>::new("txt", |line: &str, output: &mut Vec<u8>| {
        if line != "unwanted" {
            output.extend_from_slice(line.as_bytes());
        }
    });
    let sink = FileSink::new(folder.path().join("out"), wanted);
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    let unwanted = rows(&records(&["unwanted", "unwanted"]));
    writer.write(&unwanted).await.unwrap();
    let none = pre_commit(&mut writer, 1).await.unwrap();
    assert_eq!(none, Vec::<Value>::new());
    sink.commit(none).await.unwrap();
    writer.write(&unwanted).await.unwrap();
    writer.write(&rows(&records(&["a"]))).await.unwrap();
    let transactions = pre_commit(&mut writer, 2).await.unwrap();
    assert_eq!(transactions.len(), 1);
    sink.commit(transactions).await.unwrap();
    assert_eq!(committed(&folder), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_again_after_a_crash_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    writer.write(&rows(&records(&["a"]))).await.unwrap();
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    // The crash came between the link and the removal of the pending name.
    let known = Transaction::parse_all(transactions.clone())
        .unwrap()
        .remove(0);
    let out = folder.path().join("out");
    fs::hard_link(pending_path(&out, &known), out.join(&known.file)).unwrap();
    for attempt in 2..4 {
        let again = sink.recover(recovery(attempt), transactions.clone());
        again.await.unwrap();
        assert_eq!(committed(&folder), ["a"]);
    }
    // A reader of the results took the file away.
    fs::remove_file(out.join(&known.file)).unwrap();
    sink.recover(recovery(4), transactions).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_attempt_left_is_removed_and_never_seen() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut dead = sink.writer(sink_context(1, 2)).unwrap();
    dead.write(&rows(&records(&["lost"]))).await.unwrap();
    pre_commit(&mut dead, 1).await.unwrap();
    assert_eq!(pending_count(&folder), 1);

    sink.recover(recovery(5), Vec::new()).await.unwrap();
    let mut writer = sink.writer(sink_context(5, 0)).unwrap();
    writer.write(&rows(&records(&["kept"]))).await.unwrap();
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    sink.commit(transactions).await.unwrap();
    assert_eq!(committed(&folder), ["kept"]);
    assert_eq!(pending_count(&folder), 0, "the dead attempt's file is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_worker_has_yet_to_commit_outlives_a_writer_s_start() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut before = sink.writer(sink_context(1, 1)).unwrap();
    before.write(&rows(&records(&["kept"]))).await.unwrap();
    let transactions = pre_commit(&mut before, 1).await.unwrap();

    sink.recover(recovery(2), Vec::new()).await.unwrap();
    let mut writer = sink.writer(sink_context(2, 0)).unwrap();
    writer.write(&rows(&records(&["new"]))).await.unwrap();
    sink.recover(recovery(2), transactions).await.unwrap();
    let transactions = pre_commit(&mut writer, 2).await.unwrap();
    sink.commit(transactions).await.unwrap();
    assert_eq!(committed(&folder), ["kept", "new"]);
    assert_eq!(pending_count(&folder), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_goes_on_without_its_folder_is_told() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    writer.write(&rows(&records(&["a"]))).await.unwrap();
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    fs::remove_dir_all(folder.path().join("out")).unwrap();
    let error = sink.recover(recovery(2), transactions).await.unwrap_err();
    assert!(tidegate_engine::is_permanent(&*error));
    assert!(error.to_string().contains("which is not there"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_output_is_written_in_order() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    let lines: Vec<String> = (0..200_000).map(|number| format!("{number:08}")).collect();
    for part in lines.chunks(4096) {
        writer.write(&rows(part)).await.unwrap();
    }
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    sink.commit(transactions).await.unwrap();
    let path = fs::read_dir(folder.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let path = path.into_iter().find(|path| path.is_file()).unwrap();
    assert_eq!(
        fs::read_to_string(path)
            .unwrap()
            .lines()
            .collect::<Vec<_>>(),
        lines
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_file_that_somebody_deletes_is_told() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    writer.write(&rows(&records(&["a"]))).await.unwrap();
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    fs::remove_dir_all(folder.path().join("out").join(PENDING_FOLDER)).unwrap();
    let error = sink.commit(transactions).await.unwrap_err();
    assert!(
        error.to_string().contains("gone before it was committed"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_whose_files_cannot_be_written_are_part_of_the_next_checkpoint() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let blocking_file = folder.path().join("out");
    fs::write(&blocking_file, "").unwrap();
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    writer.write(&rows(&records(&["a"]))).await.unwrap();
    let error = pre_commit(&mut writer, 1).await.unwrap_err();
    assert!(error.to_string().contains("/out/.pending"), "{error}");
    writer.write(&rows(&records(&["b"]))).await.unwrap();
    fs::remove_file(&blocking_file).unwrap();
    let transactions = pre_commit(&mut writer, 2).await.unwrap();
    sink.commit(transactions).await.unwrap();
    assert_eq!(committed(&folder), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_file_that_somebody_changes_is_not_committed() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    writer.write(&rows(&records(&["a"]))).await.unwrap();
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    let known = Transaction::parse_all(transactions.clone()).unwrap();
    fs::write(pending_path(&folder.path().join("out"), &known[0]), "").unwrap();
    let error = sink.commit(transactions).await.unwrap_err();
    assert!(
        error.to_string().contains("has 0 bytes and had 2"),
        "{error}"
    );
    assert_eq!(committed(&folder), [""; 0]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_ends_the_job_at_its_start() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("out"), "a file").unwrap();
    let error = sink(&folder)
        .recover(recovery(1), Vec::new())
        .await
        .unwrap_err();
    assert!(tidegate_engine::is_permanent(&*error));
    let text = tidegate_engine::describe(&*error);
    assert!(text.contains("choose another folder"), "{text}");
}
