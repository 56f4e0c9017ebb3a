//! A disk that is really full: a small one in memory, mounted for these tests alone.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tidegate_engine::{Sink, SinkWriter};
use tidegate_protocol::CheckpointId;

use super::super::FileSink;
use crate::encode::Lines;
use crate::testing::{recovery, rows, sink_context};

/// Tells the test that runs on the small disk where it is.
const DISK: &str = "TIDEGATE_TEST_SMALL_DISK";
const ON_THE_DISK: &str = "file_sink::local::full_disk_tests::writing_to_a_full_disk";

#[test]
fn a_really_full_disk_fails_checkpoints_and_once_there_is_room_every_line_is_there_once() {
    let disk = TempDir::new().unwrap();
    // As root, or where user namespaces are allowed as anybody.
    let mut command = Command::new("unshare");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    let script = "mount -t tmpfs -o size=4m tmpfs \"$0\" && exec \"$@\"";
    command
        .args(["--mount", "sh", "-c", script])
        .arg(disk.path());
    command.arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", ON_THE_DISK]);
    assert_passes(command.env(DISK, disk.path()));
}

/// Fails unless the one test that the command runs does not.
fn assert_passes(command: &mut Command) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}\n{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test, on a small disk"]
async fn writing_to_a_full_disk() {
    let disk = PathBuf::from(std::env::var_os(DISK).unwrap());
    let filler = disk.join("filler");
    File::create(&filler)
        .unwrap()
        .write_all(&vec![1; 3 << 20])
        .unwrap();
    let sink = FileSink::<String, _>::new(disk.join("out"), Lines);
    sink.recover(recovery(1), Vec::new()).await.unwrap();
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    let lines: Vec<String> = (0..30_000).map(|line| format!("{line:0100}")).collect();
    let (mut transactions, mut failures) = (Vec::new(), Vec::new());
    for (part, checkpoint) in lines.chunks(10_000).zip(1..) {
        for some in part.chunks(1000) {
            writer.write(&rows(some)).await.unwrap();
        }
        if checkpoint == 3 {
            fs::remove_file(&filler).unwrap();
        }
        let checkpoint = CheckpointId::new(checkpoint).unwrap();
        match writer.pre_commit(checkpoint).unwrap().await {
            Ok(found) => transactions.extend(found),
            Err(error) => {
                failures.push(checkpoint.get());
                let text = tidegate_engine::describe(&*error);
                assert!(text.contains("make room on that disk"), "{text}");
            }
        }
    }
    assert_eq!((transactions.len(), failures), (3, vec![2]));
    sink.commit(transactions).await.unwrap();
    let found = fs::read_dir(disk.join("out")).unwrap();
    let mut files: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    let text: String = files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert!(text.lines().eq(lines.iter()));
}

/// Tells the test that runs under a limit on the size of files where to write.
const LIMITED: &str = "TIDEGATE_TEST_LIMITED_FILES";
const UNDER_THE_LIMIT: &str = "file_sink::local::full_disk_tests::writing_beyond_the_limit";

#[test]
fn files_at_their_size_limit_fail_checkpoints_and_once_it_is_raised_every_line_is_there_once() {
    let folder = TempDir::new().unwrap();
    // As in a job's process, the signal is ignored and the write fails.
    let script = "trap '' XFSZ; ulimit -S -f 2000; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", UNDER_THE_LIMIT]);
    assert_passes(command.env(LIMITED, folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test, under a limit on the size of files"]
async fn writing_beyond_the_limit() {
    let folder = PathBuf::from(std::env::var_os(LIMITED).unwrap()).join("out");
    let sink = FileSink::<String, _>::new(&folder, Lines);
    sink.recover(recovery(1), Vec::new()).await.unwrap();
    let mut writer = sink.writer(sink_context(1, 0)).unwrap();
    let lines: Vec<String> = (0..40_000).map(|line| format!("{line:0100}")).collect();
    for some in lines.chunks(1000) {
        writer.write(&rows(some)).await.unwrap();
    }
    let first = writer.pre_commit(CheckpointId::new(1).unwrap()).unwrap();
    let text = tidegate_engine::describe(&*first.await.unwrap_err());
    assert!(text.contains("make room"), "{text}");
    assert!(text.contains("ulimit -f"), "{text}");
    let process = std::process::id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &process, "--fsize=unlimited"])
        .status();
    assert!(raised.unwrap().success());
    let second = writer.pre_commit(CheckpointId::new(2).unwrap()).unwrap();
    sink.commit(second.await.unwrap()).await.unwrap();
    let found = fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    let text: String = files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert!(text.lines().eq(lines.iter()));
}
