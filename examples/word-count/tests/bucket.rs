//! The result in a bucket: killed at any moment, it is byte for byte what `tr`, `sort` and `uniq`
//! count.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tidegate_testkit::{Random, S3Server};

const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/kjv.txt");
const BUCKET: &str = "tidegate";
const KILLS: usize = 6;
/// Lines a second of a run that is killed: all of them take half a minute, so that none comes to
/// its end before.
const RATE: &str = "1000";
const LIMIT: Duration = Duration::from_secs(120);
/// What a run says of its start.
const WITHOUT_STATE: &str = "starts without state";
const GOES_ON: &str = "goes on from checkpoint";

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

/// Whether a checkpoint stands in the job's log.
fn has_checkpoint(server: &S3Server) -> bool {
    let log = server.data_folder().join(BUCKET);
    let log = log.join("jobs/default/word-count/log");
    let entries = shell("cat \"$0\"/*.json 2>/dev/null || true", &log);
    entries.contains("\"checkpoint\":{")
}

/// Starts a run, which must go on from a checkpoint if there is one, and kills it after so long;
/// if asked to, not before there is a checkpoint.
fn run_and_kill(server: &S3Server, mut run: Command, after: Duration, awaits_checkpoint: bool) {
    let is_to_go_on = has_checkpoint(server);
    let mut child = run.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    // It says little more, which waits in the pipe meanwhile.
    while !said.contains(WITHOUT_STATE) && !said.contains(GOES_ON) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    // What one that was killed had sent may have become a checkpoint just now.
    assert!(said.contains(GOES_ON) || !is_to_go_on, "{said}");
    std::thread::sleep(after);
    let deadline = Instant::now() + LIMIT;
    while awaits_checkpoint && !has_checkpoint(server) {
        assert!(Instant::now() < deadline, "no checkpoint: {said}");
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert!(status.signal().is_some(), "it ended before: {said}");
}

#[test]
fn kills_leave_the_exact_count_in_the_bucket() {
    // This server keeps each object in a file of its name.
    let server = S3Server::versitygw().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::seeded(3);
    for index in 0..KILLS {
        let run = word_count(&server, folder.path(), &["--rate", RATE]);
        let after = Duration::from_millis(random.below(500));
        // One half of them have something to go on from.
        run_and_kill(&server, run, after, index == KILLS / 2 - 1);
    }
    let finished = word_count(&server, folder.path(), &["--rate", "0"]).output();
    let Output { status, stderr, .. } = finished.unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{said}");
    assert!(said.contains(GOES_ON), "{said}");
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
