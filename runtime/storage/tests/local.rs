//! The store contract on local folders, and what is special to them.
#![allow(clippy::unwrap_used)]

mod contract;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use contract::{ALL, batch, checkpoint, fence, number, open_local, schema, write_file};
use tidegate_protocol::{
    AppendOutcome, Attempt, CheckpointId, FileKind, KeyGroup, KeyGroupRange, LogNumber, StateFile,
};
use tidegate_storage::{Garbage, JobFolder, StorageUrl, Store, StoreOptions, WriteOptions};

/// Names the folder that a test in another process uses.
const CHILD_FOLDER: &str = "TIDEGATE_TEST_CHILD_FOLDER";

fn garbage(own_attempt: u64, keep_from: u64) -> Garbage {
    Garbage {
        entries: Vec::new(),
        keep_files: Vec::new(),
        keep_from: CheckpointId::new(keep_from).unwrap(),
        attempt: Attempt::new(own_attempt).unwrap(),
        keep_before: Attempt::FIRST,
    }
}

fn job_path(root: &Path) -> std::path::PathBuf {
    root.join("default/word-count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_whole_contract() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(&root.path().join("made/on/demand")).await;
    contract::whole(&folder).await;
    contract::large_file(&folder, "state/4/1/count-0.arrow", 20_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_racers_create_a_name_once() {
    let root = tempfile::tempdir().unwrap();
    for round in 1..=20 {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..32 {
            // Each with a store of its own, as if it were a process of its own.
            let folder = open_local(root.path()).await;
            racers.spawn(async move { (racer, folder.append(&fence(round, racer)).await) });
        }
        let mut outcomes = racers.join_all().await;
        outcomes.retain(|(_, outcome)| *outcome != AppendOutcome::Taken);
        let [(winner, AppendOutcome::Created)] = outcomes.as_slice() else {
            panic!("round {round}: {outcomes:?}");
        };
        let folder = open_local(root.path()).await;
        let found = folder.read_entry(number(round)).await.unwrap();
        assert_eq!(found, Some(fence(round, *winner)));
    }
    let names = fs::read_dir(job_path(root.path()).join("log"))
        .unwrap()
        .count();
    assert_eq!(names, 20, "temporary files stay behind");
}

#[tokio::test]
async fn a_process_that_died_while_it_appended_leaves_nothing_that_counts_or_stays() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    assert_eq!(folder.append(&fence(1, 1)).await, AppendOutcome::Created);
    let log = job_path(root.path()).join("log");
    let (old, new) = (
        log.join(".0123456789abcdef.tmp"),
        log.join(".fedcba9876543210.tmp"),
    );
    fs::write(&new, "{").unwrap();
    fs::write(&old, "{").unwrap();
    let two_hours = Duration::from_secs(7200);
    let old_file = File::options().write(true).open(&old).unwrap();
    old_file
        .set_modified(SystemTime::now() - two_hours)
        .unwrap();

    assert_eq!(folder.list_log().await.unwrap(), [LogNumber::FIRST]);
    folder.collect_garbage(&garbage(1, 1)).await.unwrap();
    assert!(!old.exists(), "what a dead process left is removed");
    assert!(new.exists(), "what a running process writes stays");
}

#[tokio::test]
async fn garbage_takes_orphans_and_empty_folders_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let runs = [vec![(KeyGroup(1), 5)]];
    let kept = write_file(&folder, "state/1/3/count-0.arrow", &runs).await;
    for path in [
        "state/1/3/orphan-0.arrow",
        "state/1/4/count-0.arrow",
        "state/2/5/count-0.arrow",
    ] {
        write_file(&folder, path, &runs).await;
    }
    let running = write_file(&folder, "state/2/6/count-0.arrow", &runs).await;
    let job = job_path(root.path());
    fs::create_dir_all(job.join("state/2/4")).unwrap();
    fs::create_dir_all(job.join("state/2/7")).unwrap();
    // What does not look like ours is the user's.
    fs::write(job.join("state/notes.txt"), "mine").unwrap();
    fs::create_dir_all(job.join("state/old/1")).unwrap();
    fs::write(job.join("state/old/1/x.arrow"), "mine").unwrap();

    let mut garbage = garbage(2, 6);
    garbage.keep_files = vec![kept.path.clone()];
    assert_eq!(folder.collect_garbage(&garbage).await.unwrap(), 3);
    let mut left: Vec<_> = walk(&job.join("state"));
    left.sort();
    assert_eq!(
        left,
        [
            "1/3/count-0.arrow",
            "2/6/count-0.arrow",
            "2/7/",
            "notes.txt",
            "old/1/x.arrow"
        ]
    );
    folder.verify_file(&kept).await.unwrap();
    folder.verify_file(&running).await.unwrap();
}

/// Files and empty folders below a folder.
fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !entry.file_type().unwrap().is_dir() {
            found.push(name);
            continue;
        }
        let below = walk(&entry.path());
        if below.is_empty() {
            found.push(format!("{name}/"));
        }
        found.extend(below.iter().map(|below| format!("{name}/{below}")));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_and_a_writer_do_not_disturb_each_other() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let collector = folder.clone();
    let collecting = tokio::spawn(async move {
        for _ in 0..300 {
            collector.collect_garbage(&garbage(9, 1)).await.unwrap();
        }
    });
    let runs = [(KeyGroup(1), 5)];
    while !collecting.is_finished() {
        let file = write_file(&folder, "state/9/1/count-0.arrow", &[runs.to_vec()]).await;
        folder.verify_file(&file).await.unwrap();
        // An attempt that does not know yet that it is fenced may lose what it writes.
        if let Err(error) = try_write(&folder, "state/1/1/count-0.arrow", &runs).await {
            assert_eq!(error.category(), "NotFound", "{error}");
        }
    }
    collecting.await.unwrap();
}

async fn try_write(
    folder: &JobFolder,
    path: &str,
    runs: &[(KeyGroup, usize)],
) -> tidegate_storage::Result<StateFile> {
    let options = WriteOptions::default();
    let mut writer = folder.create_state_file(path, schema(), options).await?;
    writer.write(runs, &batch(runs)).await?;
    writer.finish(FileKind::Base, ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn self_tests_of_two_processes_do_not_disturb_each_other() {
    let root = tempfile::tempdir().unwrap();
    let mut tests = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let folder = open_local(root.path()).await;
        tests.spawn(async move {
            for _ in 0..5 {
                folder.self_test().await.unwrap();
            }
        });
    }
    tests.join_all().await;
    assert!(
        !job_path(root.path()).join("self-test").exists(),
        "it leaves nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_a_whole_log_while_it_moves_on() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    assert_eq!(
        folder.append(&checkpoint(2, &[], vec![])).await,
        AppendOutcome::Created
    );
    let writer = folder.clone();
    let writing = tokio::spawn(async move {
        for at in 3..200 {
            let entry = checkpoint(at, &[at - 1], vec![]);
            assert_eq!(writer.append(&entry).await, AppendOutcome::Created);
            let mut garbage = garbage(1, 1);
            garbage.entries = vec![number(at - 2)];
            writer.collect_garbage(&garbage).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let latest = folder.latest().await.unwrap().unwrap();
        let numbers: Vec<_> = latest
            .checkpoints
            .iter()
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(numbers, latest.entry.retained);
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_named_entry_that_is_missing_is_told_by_name() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    folder.append(&checkpoint(2, &[], vec![])).await;
    folder.append(&checkpoint(3, &[2], vec![])).await;
    fs::remove_file(
        job_path(root.path())
            .join("log")
            .join(number(2).file_name()),
    )
    .unwrap();
    let error = folder.latest().await.unwrap_err();
    assert_eq!(error.category(), "StateMissing");
    assert!(
        error.to_string().contains(&number(2).file_name()),
        "{error}"
    );
}

#[tokio::test]
async fn another_jobs_checkpoint_is_read_from_where_it_lies() {
    let root = tempfile::tempdir().unwrap();
    let theirs = open_local(&root.path().join("their files")).await;
    let file = write_file(
        &theirs,
        "state/1/3/count-0.arrow",
        &[vec![(KeyGroup(1), 5)]],
    )
    .await;
    let entry = checkpoint(2, &[], vec![file]);
    theirs.append(&entry).await;

    // As somebody finds it who knows only the folder.
    let url = StorageUrl::parse(&theirs.url().to_string()).unwrap();
    let opened = JobFolder::at(Store::open(&url, StoreOptions::default()).await.unwrap());
    let latest = opened.latest().await.unwrap().unwrap();
    let manifest = opened.with_whole_urls(latest.checkpoints[0].1.clone());

    let ours = open_local(&root.path().join("ours")).await;
    let file = manifest.files().next().unwrap();
    assert!(file.path.starts_with("file:///") && file.path.contains("their%20files"));
    assert_eq!(
        ours.read_state_file(file, ALL).await.unwrap()[0].num_rows(),
        5
    );
    let findings = ours.verify(&manifest).await;
    assert!(
        findings.len() == 1 && findings[0].problem.is_none(),
        "{findings:?}"
    );
    // A collector never touches what is not in its own folder.
    ours.collect_garbage(&garbage(99, 1)).await.unwrap();
    ours.verify_file(file).await.unwrap();
}

#[tokio::test]
async fn verifying_finds_each_bad_file_and_names_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let runs = [vec![(KeyGroup(1), 5)]];
    let mut files = Vec::new();
    for path in [
        "state/1/3/a-0.arrow",
        "state/1/3/b-0.arrow",
        "state/1/3/c-0.arrow",
    ] {
        files.push(write_file(&folder, path, &runs).await);
    }
    let job = job_path(root.path());
    fs::remove_file(job.join("state/1/3/a-0.arrow")).unwrap();
    let mut bytes = fs::read(job.join("state/1/3/b-0.arrow")).unwrap();
    bytes[400] ^= 1;
    fs::write(job.join("state/1/3/b-0.arrow"), bytes).unwrap();
    let entry = checkpoint(2, &[], files);
    let findings = folder.verify(entry.manifest().unwrap()).await;
    let categories: Vec<_> = findings
        .iter()
        .map(|finding| finding.problem.as_ref().map(|problem| problem.category()))
        .collect();
    assert_eq!(
        categories,
        [Some("StateMissing"), Some("StateDamaged"), None]
    );
    assert!(
        findings[1]
            .location
            .ends_with("default/word-count/state/1/3/b-0.arrow")
    );
}

#[tokio::test]
async fn a_file_where_a_folder_is_needed_is_told() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    fs::write(&path, "not a folder").unwrap();
    let folder = open_local(&path).await;
    for error in [
        folder.self_test().await.unwrap_err(),
        folder.list_log().await.unwrap_err(),
    ] {
        assert_eq!(error.category(), "NotAFolder", "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_namespace_or_name_that_leaves_the_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let url = StorageUrl::Local(root.path().to_owned());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    for (namespace, name) in [
        ("..", "x"),
        ("a/b", "x"),
        ("a", ""),
        ("a", "X"),
        ("a", "x/../y"),
    ] {
        let error = JobFolder::new(store.clone(), namespace, name).unwrap_err();
        assert_eq!(error.category(), "InvalidName");
    }
}

/// Runs one ignored test of this file in a process of its own, behind a command that sets the scene
/// (it gets the folder as `$1` and runs the rest).
fn run_child(test: &str, folder: &Path, command: &mut Command) {
    let program = std::env::current_exe().unwrap();
    let output = command
        .arg(folder)
        .arg(program)
        .args([
            "--ignored",
            "--exact",
            test,
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD_FOLDER, folder)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}\n{err}"
    );
}

/// A shell script in a mount namespace of its own, which ends with it; as root or, where user
/// namespaces are allowed, as anybody.
fn in_mount_namespace(script: &str) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| {
        use std::os::unix::fs::MetadataExt;
        metadata.uid() == 0
    });
    let mut command = Command::new("unshare");
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    let script = format!("set -e; folder=$1; shift; {script}; exec \"$@\"");
    command.args(["--mount", "sh", "-c", &script, "sh"]);
    command
}

fn child_folder() -> std::path::PathBuf {
    std::env::var_os(CHILD_FOLDER)
        .expect("only another test runs this one")
        .into()
}

#[test]
fn a_full_disk_fails_the_write_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=2m tmpfs \"$folder\"";
    run_child(
        "writing_to_a_full_disk",
        root.path(),
        &mut in_mount_namespace(mount),
    );
}

#[tokio::test]
#[ignore = "run by a_full_disk_fails_the_write_and_says_so on a small disk"]
async fn writing_to_a_full_disk() {
    let root = child_folder();
    let folder = open_local(&root).await;
    folder.self_test().await.unwrap();
    let kept = write_file(
        &folder,
        "state/1/1/count-0.arrow",
        &[vec![(KeyGroup(1), 100)]],
    )
    .await;
    assert_eq!(
        folder.append(&checkpoint(2, &[], vec![kept.clone()])).await,
        AppendOutcome::Created
    );

    let path = "state/1/2/count-0.arrow";
    let options = WriteOptions::default();
    let mut writer = folder
        .create_state_file(path, schema(), options)
        .await
        .unwrap();
    let runs = [(KeyGroup(1), 60_000)];
    let mut error = None;
    for _ in 0..10 {
        if let Err(failure) = writer.write(&runs, &batch(&runs)).await {
            error = Some(failure);
            break;
        }
    }
    drop(writer);
    let error = error.expect("two megabytes cannot take as much");
    assert_eq!(error.category(), "StorageFull");
    assert!(
        error
            .to_string()
            .contains(root.join("default/word-count").to_str().unwrap())
    );
    assert!(error.to_string().contains("free space"), "{error}");
    assert!(
        !job_path(&root).join(path).exists(),
        "the unfinished file is removed"
    );

    // Fill it to the last byte: an entry does not fit either.
    let filler = root.join("filler");
    let mut file = File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    let AppendOutcome::Unknown { reason } = folder.append(&checkpoint(3, &[2], vec![])).await
    else {
        panic!("a full disk cannot take an entry");
    };
    assert!(reason.contains("the disk or quota is full"), "{reason}");
    assert_eq!(folder.list_log().await.unwrap(), [number(2)]);

    // With room again, everything goes on, and nothing was lost.
    drop(file);
    fs::remove_file(&filler).unwrap();
    assert_eq!(
        folder.append(&checkpoint(3, &[2], vec![])).await,
        AppendOutcome::Created
    );
    folder.verify_file(&kept).await.unwrap();
}

#[test]
fn a_read_only_folder_is_read_and_not_written() {
    let root = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = open_local(root.path()).await;
        let file = write_file(
            &folder,
            "state/1/1/count-0.arrow",
            &[vec![(KeyGroup(1), 9)]],
        )
        .await;
        folder.append(&checkpoint(2, &[], vec![file])).await;
    });
    let mount = "mount --bind \"$folder\" \"$folder\"; mount -o remount,ro,bind \"$folder\"";
    run_child(
        "using_a_read_only_folder",
        root.path(),
        &mut in_mount_namespace(mount),
    );
}

#[tokio::test]
#[ignore = "run by a_read_only_folder_is_read_and_not_written on a read-only mount"]
async fn using_a_read_only_folder() {
    let folder = open_local(&child_folder()).await;
    let latest = folder.latest().await.unwrap().unwrap();
    let findings = folder.verify(&latest.checkpoints[0].1).await;
    assert!(findings[0].problem.is_none(), "{findings:?}");

    let error = folder.self_test().await.unwrap_err();
    assert_eq!(
        error.category(),
        "StorageReadOnly",
        "{}",
        error.with_causes()
    );
    let AppendOutcome::Unknown { reason } = folder.append(&fence(3, 1)).await else {
        panic!("a read-only folder cannot take an entry");
    };
    assert!(reason.contains("mount it writable"), "{reason}");
    let options = WriteOptions::default();
    let created = folder
        .create_state_file("state/3/1/x-0.arrow", schema(), options)
        .await;
    assert_eq!(created.unwrap_err().category(), "StorageReadOnly");
    let mut garbage = garbage(9, 1);
    garbage.entries = vec![number(2)];
    let error = folder.collect_garbage(&garbage).await.unwrap_err();
    assert_eq!(error.category(), "StorageReadOnly");
}

#[test]
fn a_folder_of_another_user_is_told_with_its_path() {
    let root = tempfile::tempdir().unwrap();
    let closed = root.path().join("closed");
    fs::create_dir(&closed).unwrap();
    // Root ignores permissions, so the child loses the right to.
    let script = "exec setpriv --bounding-set=-all --inh-caps=-all --reuid=65534 --regid=65534 \
                  --clear-groups \"$@\"";
    let program = root.path().join("program");
    // By another process: what this one has open to write, a child that a test beside forks
    // meanwhile has open as well, and the system runs no file that somebody writes (ETXTBSY).
    let mut copy = Command::new("cp");
    let copied = copy.arg(std::env::current_exe().unwrap()).arg(&program);
    assert!(copied.status().unwrap().success());
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    let is_root = fs::write(closed.join("probe"), "").is_ok();
    let script = if is_root { script } else { "exec \"$@\"" };
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(&program)
        .args([
            "--ignored",
            "--exact",
            "using_a_closed_folder",
            "--nocapture",
        ])
        .env(CHILD_FOLDER, &closed)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}\n{err}"
    );
}

#[tokio::test]
#[ignore = "run by a_folder_of_another_user_is_told_with_its_path"]
async fn using_a_closed_folder() {
    let path = child_folder();
    let folder = open_local(&path).await;
    let error = folder.self_test().await.unwrap_err();
    assert_eq!(error.category(), "AccessDenied", "{}", error.with_causes());
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    assert!(
        error.to_string().contains("read and write access"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_of_many_batches_is_read_in_parts() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let path = "state/1/1/count-0.arrow";
    let options = WriteOptions::default();
    let mut writer = folder
        .create_state_file(path, schema(), options)
        .await
        .unwrap();
    for group in (0..128).map(KeyGroup) {
        writer
            .write(&[(group, 4000)], &batch(&[(group, 4000)]))
            .await
            .unwrap();
    }
    let file = writer.finish(FileKind::Base, ALL).await.unwrap();
    let range = KeyGroupRange { start: 60, end: 62 };
    // Damage far from the range that is read is not noticed, and need not be.
    let on_disk = job_path(root.path()).join(path);
    let mut bytes = fs::read(&on_disk).unwrap();
    bytes[2000] ^= 1;
    fs::write(&on_disk, bytes).unwrap();
    let rows = folder.read_state_file(&file, range).await.unwrap();
    assert_eq!(contract::keys(&rows).len(), 8000);
    let error = folder.read_state_file(&file, ALL).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the checksum of its batch 0 does not match"),
        "{error}"
    );
}
