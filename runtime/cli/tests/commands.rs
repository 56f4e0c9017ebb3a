//! Outputs of commands that need no job, as golden files.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{MANIFEST, golden, output, stderr, stdout, transcript};
use rstest::rstest;

#[rstest]
#[case("help.txt", &["--help"])]
#[case("help-run.txt", &["run", "--help"])]
#[case("help-checkpoints.txt", &["checkpoints", "--help"])]
#[case("help-verify.txt", &["checkpoints", "verify", "--help"])]
#[case("help-dump.txt", &["state", "dump", "--help"])]
#[case("version.txt", &["--version"])]
#[case("no-command.txt", &["rnu"])]
#[case("bad-flag.txt", &["run", "job.yaml", "--parallelism", "4"])]
#[case("bad-limit.txt", &["state", "dump", ".", "--limit", "many"])]
#[case("bad-checkpoint.txt", &["checkpoints", "show", ".", "newest"])]
#[case("validate.txt", &["validate", "job.yaml"])]
#[case("validate-json.txt", &["validate", "job.yaml", "--json"])]
#[case("no-file.txt", &["run", "absent.yaml"])]
#[case("no-program.txt", &["run", "job.yaml", "--program", "absent"])]
#[case("program-not-executable.txt", &["run", "job.yaml", "--program", "job.yaml"])]
#[case("bad-listen.txt", &["run", "job.yaml", "--listen", "8082"])]
#[case("bad-state-dir.txt", &["run", "job.yaml", "--state-dir", ""])]
#[case("bad-set.txt", &["run", "job.yaml", "--set", "spec.paralelism=4"])]
#[case("bad-fields.txt", &["run", "bad.yaml"])]
#[case("bad-fields-json.txt", &["validate", "bad.yaml", "--json"])]
#[case("bad-yaml.txt", &["run", "broken.yaml"])]
#[case("sql.txt", &["run", "job.yaml", "--set", "spec.program=", "--set", "spec.sql=SELECT 1"])]
#[case("suspended.txt", &["run", "job.yaml", "--set", "spec.suspend=true"])]
#[case("start-from.txt", &["run", "job.yaml", "--set", "spec.startFrom=before-upgrade"])]
#[case("endless.txt", &["validate", "/dev/zero"])]
#[case("no-manifest.txt", &["validate", "."])]
#[case("bare-start-from.txt", &["run", "job.yaml", "--start-from", "tidegate-data/default/day1#9"])]
#[case("bad-start-from.txt", &["run", "job.yaml", "--start-from", "newest!"])]
#[case("no-folder.txt", &["checkpoints", "list", "absent"])]
#[case("empty-folder.txt", &["checkpoints", "list", "."])]
#[case("bad-job.txt", &["checkpoints", "list", ".", "--job", "Word_Count"])]
#[case("bad-flag-json.txt", &["run", "job.yaml", "--json", "--foo"])]
#[case("program-folder.txt", &["run", "job.yaml", "--program", "."])]
#[case("file-as-folder.txt", &["checkpoints", "list", "job.yaml"])]
#[case("set-kind.txt", &["validate", "job.yaml", "--set", "kind=Foo"])]
#[case("over-long.txt", &["validate", "job.yaml", "--set", "spec.parallelism=9999999999999999999"])]
#[case("twice.txt", &["validate", "twice.yaml", "--job", "word-count"])]
#[case("twice-named.txt", &["validate", "twice.yaml", "--job", "default/word-count"])]
#[case("bad-url.txt", &["checkpoints", "list", "ftp://host/x"])]
fn the_output_is_that_of_the_golden_file(#[case] name: &str, #[case] arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("job.yaml", MANIFEST);
    write("twice.yaml", &format!("{MANIFEST}---\n{MANIFEST}"));
    let bad = MANIFEST
        .replace("parallelism: 2", "parallelism: 0\n  restarts: {}")
        .replace("name: word-count", "name: Word Count");
    write("bad.yaml", &bad);
    write(
        "broken.yaml",
        &MANIFEST.replace("args: [--input, text]", "args: [--input, text"),
    );
    golden::check(name, &transcript(folder.path(), arguments));
}

#[test]
fn a_program_that_is_nowhere_is_told_with_every_place() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = MANIFEST.replace("team/word-count", "team/no-such-program");
    std::fs::write(folder.path().join("job.yaml"), manifest).unwrap();
    let output = output(folder.path(), &["run", "job.yaml"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.starts_with("error: there is no program no-such-program"),
        "{text}"
    );
    assert!(
        text.contains(&folder.path().display().to_string()),
        "{text}"
    );
    assert!(text.contains("folders of PATH"), "{text}");
    assert!(
        text.contains("cargo build --release --bin no-such-program"),
        "{text}"
    );
}

#[test]
fn a_manifest_that_is_no_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.yaml"), b"kind: \xff\n").unwrap();
    let output = output(folder.path(), &["validate", "job.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("no UTF-8 text: see its byte 6"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_manifest_is_read_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.yaml"), MANIFEST).unwrap();
    let output = harness::tidegate(folder.path(), &["validate", "-"])
        .stdin(std::fs::File::open(folder.path().join("job.yaml")).unwrap())
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "default/word-count is valid\n");
}

#[test]
fn every_example_is_valid() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(&examples).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let output = output(&examples, &["validate", path.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            count += 1;
        }
    }
    assert!(count >= 2, "{count} examples");
}

#[tokio::test]
async fn output_that_cannot_be_written_is_a_failure_and_a_reader_that_is_gone_is_none() {
    let storage = tempfile::tempdir().unwrap();
    harness::folder::write(storage.path()).await;
    std::fs::write(storage.path().join("job.yaml"), MANIFEST).unwrap();
    for arguments in [
        &["state", "dump", "default/word-count"][..],
        &["checkpoints", "list", "default/word-count"],
        &["checkpoints", "list", "default/word-count", "--json"],
        &["checkpoints", "show", "default/word-count"],
        &["checkpoints", "verify", "default/word-count"],
        &["validate", "job.yaml"],
    ] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = harness::tidegate(storage.path(), arguments);
        let output = command.stdout(full).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.contains("standard output cannot be written: No space left"),
            "{text}"
        );
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = harness::tidegate(storage.path(), arguments);
        let output = command.stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_not_there_to_verify_is_told_with_those_there_are() {
    let storage = tempfile::tempdir().unwrap();
    harness::folder::write(storage.path()).await;
    let output = output(storage.path(), &["checkpoints", "verify", ".", "77"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.ends_with("kept there: 1, 2, 3\n"), "{text}");
}

#[test]
fn a_folder_for_settings_that_is_not_there_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.yaml"), MANIFEST).unwrap();
    harness::script(&folder.path().join("word-count"), "exit 0");
    let mut command = harness::tidegate(folder.path(), &["run", "job.yaml"]);
    let output = command.env("TMPDIR", "/nope").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("name another one by TMPDIR"), "{text}");
}

#[test]
fn a_current_folder_that_was_deleted_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("job.yaml");
    std::fs::write(&manifest, MANIFEST).unwrap();
    harness::script(&folder.path().join("word-count"), "exit 0");
    let gone = folder.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let tidegate = env!("CARGO_BIN_EXE_tidegate");
    let lines = format!("rmdir ../gone && {tidegate} run {}", manifest.display());
    let output = std::process::Command::new("sh")
        .args(["-c", &lines])
        .current_dir(&gone)
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the current folder cannot be used"), "{text}");
}
