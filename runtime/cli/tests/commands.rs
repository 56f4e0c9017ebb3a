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
#[case("bad-start-from.txt", &["run", "job.yaml", "--start-from", "newest!"])]
#[case("no-folder.txt", &["checkpoints", "list", "absent"])]
#[case("empty-folder.txt", &["checkpoints", "list", "."])]
#[case("bad-job.txt", &["checkpoints", "list", ".", "--job", "Word_Count"])]
#[case("bad-url.txt", &["checkpoints", "list", "ftp://host/x"])]
fn the_output_is_that_of_the_golden_file(#[case] name: &str, #[case] arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("job.yaml", MANIFEST);
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
