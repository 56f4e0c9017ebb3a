//! The result in a bucket: killed at any moment, it is byte for byte what `tr`, `sort` and `uniq`
//! count.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tidegate_testkit::{Random, S3Server};

const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/kjv.txt");
const BUCKET: &str = "tidegate";
const KILLS: usize = 6;

fn shell(script: &str, argument: &Path) -> String {
    let mut command = Command::new("sh");
    let output = command
        .args(["-c", script])
        .arg(argument)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn word_count(server: &S3Server, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_word-count"));
    command
        .current_dir(folder)
        .env("AWS_ACCESS_KEY_ID", server.access_key())
        .env("AWS_SECRET_ACCESS_KEY", server.secret_key())
        .env("AWS_ENDPOINT_URL", server.endpoint())
        .env("WORD_COUNT_OUTPUT", format!("s3://{BUCKET}/results"))
        .args([
            "--checkpoint-interval-ms",
            "30",
            "--state-dir",
            "s3://tidegate/jobs",
        ])
        .args(arguments);
    command
}

#[test]
fn kills_leave_the_exact_count_in_the_bucket() {
    // This server keeps each object in a file of its name.
    let server = S3Server::versitygw().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::seeded(3);
    for _ in 0..KILLS {
        let mut child = word_count(&server, folder.path(), &["--rate", "10000"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(300 + random.below(500)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let finished = word_count(&server, folder.path(), &["--rate", "0"]).output();
    let Output { status, stderr, .. } = finished.unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{said}");
    assert!(said.contains("s3://tidegate/results"), "{said}");
    let expected = shell(
        "tr -cs A-Za-z '\\n' < \"$0\" | tr A-Z a-z | sort | uniq -c | sed 's/^ *//' | sort",
        Path::new(TEXT),
    );
    let results = server.data_folder().join(BUCKET).join("results");
    assert!(shell("cat \"$0\"/part-*.txt | sort", &results) == expected);
    let pending = shell("find \"$0\" -path '*/.pending/*' -type f", &results);
    assert_eq!(pending, "", "nothing stays behind");
}
