use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_engine::{Result, Sink, SinkContext, SinkJob, SinkRecovery, SinkWriter, describe};
use tidegate_protocol::{Attempt, CheckpointId};
use tidegate_storage::{AccessKeys, Credentials, ObjectFolder, StorageUrl, StoreOptions};
use tidegate_testkit::{FaultPlan, FaultProxy, S3Flavour, S3Server};

use super::super::transaction::Transaction;
use super::super::{Either, FileSink, FileWriter, PENDING_FOLDER};
use super::BucketWriter;
use crate::encode::{Lines, Text};
use crate::testing::{recovery, rows, sink_context};

mod other_jobs;
mod random_runs;

const BUCKET: &str = "results";
const URL: &str = "s3://results/out";
/// The longest that anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A sink of lines, and what its job knows of the server.
struct Fixture {
    _server: S3Server,
    /// The bucket as others see it: without any fault in between.
    bucket: ObjectFolder,
    endpoint: String,
    options: StoreOptions,
    sink: FileSink<String, Lines>,
}

impl Fixture {
    fn new(flavour: S3Flavour) -> Self {
        let server = S3Server::start(flavour).unwrap();
        let endpoint = server.endpoint();
        Self::at(server, endpoint)
    }

    fn at(server: S3Server, endpoint: String) -> Self {
        server.create_bucket(BUCKET).unwrap();
        let keys = AccessKeys {
            access_key_id: server.access_key().to_owned(),
            secret_access_key: server.secret_key().to_owned(),
            session_token: None,
        };
        let options = StoreOptions {
            endpoint: Some(endpoint.clone()),
            region: Some(server.region().to_owned()),
            credentials: Credentials::Keys(keys),
            ..StoreOptions::default()
        };
        let StorageUrl::S3(url) = StorageUrl::parse(URL).unwrap() else {
            panic!("it is an S3 URL")
        };
        let direct = StoreOptions {
            endpoint: Some(server.endpoint()),
            ..options.clone()
        };
        Self {
            bucket: ObjectFolder::open(&url, &direct).unwrap(),
            _server: server,
            endpoint,
            options,
            sink: FileSink::new(URL, Lines),
        }
    }

    fn job(&self, id: &str) -> Arc<SinkJob> {
        Arc::new(SinkJob {
            id: id.to_owned(),
            storage: self.options.clone(),
        })
    }

    fn recovery(&self, attempt: u64) -> SinkRecovery {
        SinkRecovery {
            job: self.job("words"),
            ..recovery(attempt)
        }
    }

    fn context(&self, attempt: u64, subtask_index: u32) -> SinkContext {
        SinkContext {
            job: self.job("words"),
            ..sink_context(attempt, subtask_index)
        }
    }

    fn writer(&self, attempt: u64, subtask_index: u32) -> FileWriter<String, Lines> {
        self.sink
            .writer(self.context(attempt, subtask_index))
            .unwrap()
    }

    async fn names(&self, is_pending: bool) -> Vec<String> {
        let mut names = self.bucket.list("").await.unwrap();
        names.retain(|name| name.starts_with(PENDING_FOLDER) == is_pending);
        names.sort();
        names
    }

    /// The committed files' lines, in the order of the files' names.
    async fn committed(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for name in self.names(false).await {
            let content = self.bucket.read(&name).await.unwrap().unwrap();
            let text = std::str::from_utf8(&content).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }
}

fn lines(from: u64, to: u64) -> Vec<String> {
    (from..to).map(|number| format!("{number:08}")).collect()
}

async fn pre_commit(writer: &mut FileWriter<String, Lines>, checkpoint: u64) -> Result<Vec<Value>> {
    let checkpoint = CheckpointId::new(checkpoint).unwrap();
    writer.pre_commit(checkpoint)?.await
}

fn inner(writer: &mut FileWriter<String, Lines>) -> &mut BucketWriter<String, Lines> {
    match &mut writer.0 {
        Either::Bucket(inner) => inner,
        Either::Local(_) => panic!("it writes to a bucket"),
    }
}

async fn appears_with_its_commit(flavour: S3Flavour) {
    let fixture = Fixture::new(flavour);
    fixture
        .sink
        .recover(fixture.recovery(1), Vec::new())
        .await
        .unwrap();
    assert_eq!(
        fixture.names(true).await,
        [""; 0],
        "the trial leaves nothing"
    );
    let mut writer = fixture.writer(1, 0);
    writer.write(&rows(&lines(0, 2))).await.unwrap();
    let first = pre_commit(&mut writer, 1).await.unwrap();
    assert_eq!(first.len(), 1);
    writer.write(&rows(&lines(2, 3))).await.unwrap();
    assert_eq!(fixture.names(false).await, [""; 0]);
    fixture.sink.commit(first).await.unwrap();
    assert_eq!(fixture.committed().await, lines(0, 2));
    let second = pre_commit(&mut writer, 2).await.unwrap();
    assert_eq!(
        pre_commit(&mut writer, 3).await.unwrap(),
        Vec::<Value>::new(),
        "nothing came"
    );
    fixture.sink.commit(second).await.unwrap();
    assert_eq!(fixture.committed().await, lines(0, 3));
    assert_eq!(fixture.names(true).await, [""; 0]);
    let names = fixture.names(false).await;
    assert!(
        names[0].starts_with("part-0000000001-0000000001-00000-"),
        "{names:?}"
    );
    assert!(
        names[1].starts_with("part-0000000001-0000000002-00000-"),
        "{names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_appear_with_their_commit_and_not_before_with_minio() {
    appears_with_its_commit(S3Flavour::Minio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_appear_with_their_commit_and_not_before_with_versitygw() {
    appears_with_its_commit(S3Flavour::Versitygw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_again_by_whichever_attempt_changes_nothing() {
    let fixture = Fixture::new(S3Flavour::Minio);
    let mut writer = fixture.writer(1, 0);
    writer.write(&rows(&lines(0, 2))).await.unwrap();
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    // The crash came between the copy and the removal of what is pending.
    let known = Transaction::parse_all(transactions.clone())
        .unwrap()
        .remove(0);
    let pending = format!("{PENDING_FOLDER}/{}", known.pending);
    let bucket = &fixture.bucket;
    assert!(
        bucket
            .copy(&pending, &known.file, known.size_bytes)
            .await
            .unwrap()
    );
    for attempt in 2..4 {
        let again = fixture
            .sink
            .recover(fixture.recovery(attempt), transactions.clone());
        again.await.unwrap();
        assert_eq!(fixture.committed().await, lines(0, 2));
        assert_eq!(fixture.names(true).await, [""; 0]);
    }
    // The first attempt does not know yet that it has been replaced.
    fixture.sink.commit(transactions.clone()).await.unwrap();
    assert_eq!(fixture.committed().await, lines(0, 2));
    // A reader of the results took the file away.
    bucket.delete(vec![known.file]).await.unwrap();
    fixture
        .sink
        .recover(fixture.recovery(4), transactions)
        .await
        .unwrap();
    assert_eq!(fixture.names(false).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_job_s_own_dead_attempts_left_is_removed() {
    let fixture = Fixture::new(S3Flavour::Versitygw);
    let others = [
        ("words", "out", 1),
        ("words", "out", 7),
        ("words", "out-2", 1),
        ("other", "out", 1),
    ];
    for (job, operator, attempt) in others {
        let context = SinkContext {
            job: fixture.job(job),
            operator: operator.to_owned(),
            ..sink_context(attempt, 3)
        };
        let mut writer = fixture.sink.writer(context).unwrap();
        writer.write(&rows(&lines(0, 1))).await.unwrap();
        pre_commit(&mut writer, 1).await.unwrap();
    }
    assert_eq!(fixture.names(true).await.len(), others.len());
    let mut writer = fixture.writer(5, 0);
    writer.write(&rows(&lines(1, 2))).await.unwrap();
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    let deadline = Instant::now() + LIMIT;
    while fixture.names(true).await.len() > others.len() && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    let names = fixture.names(true).await;
    let begins: Vec<_> = names
        .iter()
        .map(|name| name.rsplit_once('-').unwrap().0)
        .collect();
    let kept = [
        ".pending/other/out/1-3-0",
        ".pending/words/out-2/1-3-0",
        ".pending/words/out/5-0-0",
        ".pending/words/out/7-3-0",
    ];
    assert_eq!(begins, kept);
    fixture.sink.commit(transactions).await.unwrap();
    assert_eq!(fixture.committed().await, lines(1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_one_file_becomes_several_in_order() {
    let mut fixture = Fixture::new(S3Flavour::Minio);
    fixture.sink = FileSink::new(URL, Lines).with_max_file_bytes(100_000);
    let mut writer = fixture.writer(1, 0);
    let all = lines(0, 100_000);
    for part in all.chunks(4096) {
        writer.write(&rows(part)).await.unwrap();
    }
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    assert!(transactions.len() > 5, "{}", transactions.len());
    fixture.sink.commit(transactions).await.unwrap();
    assert!(fixture.committed().await == all);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_memory_is_bounded_and_the_input_waits() {
    let server = S3Server::versitygw().unwrap();
    let proxy = FaultProxy::start(server.address(), FaultPlan::seeded(1)).unwrap();
    let mut fixture = Fixture::at(server, proxy.endpoint());
    const FILE_BYTES: usize = 200_000;
    fixture.sink = FileSink::new(URL, Lines).with_max_file_bytes(FILE_BYTES);
    let mut writer = fixture.writer(1, 0);
    writer.write(&rows(&lines(0, 10))).await.unwrap();
    proxy.set_down(true);
    let error = pre_commit(&mut writer, 1).await.unwrap_err();
    assert!(describe(&*error).contains("cannot be reached"), "{error}");
    let outbox = Arc::clone(&inner(&mut writer).outbox);
    let writing = async {
        let all = lines(10, 200_000);
        for part in all.chunks(4096) {
            writer.write(&rows(part)).await.unwrap();
            let bytes = inner(&mut writer).bytes_in_memory();
            let most = 2 * FILE_BYTES + 4096 * 9;
            assert!(bytes < most, "{bytes} bytes in memory");
        }
    };
    let coming_back = async {
        // From here on the writer waits, until the store is back.
        while outbox.unsent_bytes() <= FILE_BYTES {
            tokio::task::yield_now().await;
        }
        proxy.set_down(false);
    };
    tokio::join!(writing, coming_back);
    let transactions = pre_commit(&mut writer, 2).await.unwrap();
    fixture.sink.commit(transactions).await.unwrap();
    let committed = fixture.committed().await;
    assert!(committed == lines(0, 200_000), "{}", committed.len());
}

/// A server that refuses everything, and where it listens.
fn forbidding() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || refuse(connection));
        }
    });
    format!("http://{address}")
}

fn refuse(mut connection: std::net::TcpStream) {
    let body = "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>";
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let _ = connection.read(&mut [0; 64 << 10]);
    let _ = connection.write_all(answer.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_permission_fails_the_checkpoint_and_says_what_to_grant_where() {
    let mut fixture = Fixture::new(S3Flavour::Versitygw);
    let endpoint = forbidding();
    fixture.sink = FileSink::new(format!("{URL}?endpoint={endpoint}"), Lines);
    let mut writer = fixture.writer(1, 0);
    writer.write(&rows(&lines(0, 1))).await.unwrap();
    let error = describe(&*pre_commit(&mut writer, 1).await.unwrap_err());
    assert!(
        error.contains("cannot write `s3://results/out/.pending/words/out/1-0-0-"),
        "{error}"
    );
    assert!(
        error.contains("grant them list, get, put and delete"),
        "{error}"
    );
    let error = fixture
        .sink
        .recover(fixture.recovery(2), Vec::new())
        .await
        .unwrap_err();
    assert!(describe(&*error).contains("grant them"), "{error}");
    assert!(
        !tidegate_engine::is_permanent(&*error),
        "it heals when the permission is back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_and_wrong_keys_are_told_at_the_start() {
    let mut fixture = Fixture::new(S3Flavour::Minio);
    fixture.sink = FileSink::new("s3://missing/out", Lines);
    let error = fixture
        .sink
        .recover(fixture.recovery(1), Vec::new())
        .await
        .unwrap_err();
    let error = describe(&*error);
    assert!(error.contains("s3://missing/out/.pending/"), "{error}");
    assert!(
        error.contains("the bucket does not exist; create it"),
        "{error}"
    );
    assert!(error.contains(&fixture.endpoint), "{error}");
    let Credentials::Keys(keys) = &mut fixture.options.credentials else {
        panic!("they are keys")
    };
    keys.secret_access_key = "wrong".to_owned();
    fixture.sink = FileSink::new(URL, Lines);
    let error = fixture
        .sink
        .recover(fixture.recovery(1), Vec::new())
        .await
        .unwrap_err();
    assert!(
        describe(&*error).contains("check the access key, the secret key"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn something_pending_that_somebody_deletes_is_told() {
    let fixture = Fixture::new(S3Flavour::Minio);
    let mut writer = fixture.writer(1, 0);
    writer.write(&rows(&lines(0, 1))).await.unwrap();
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    fixture
        .bucket
        .delete(fixture.names(true).await)
        .await
        .unwrap();
    let error = fixture.sink.commit(transactions).await.unwrap_err();
    assert!(tidegate_engine::is_permanent(&*error));
    assert!(
        error.to_string().contains("gone before it was committed"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_the_sink_moved_is_committed_where_it_lies() {
    let fixture = Fixture::new(S3Flavour::Versitygw);
    let mut writer = fixture.writer(1, 0);
    writer.write(&rows(&lines(0, 2))).await.unwrap();
    let transactions = pre_commit(&mut writer, 1).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let moved = FileSink::<String, _>::new(folder.path(), Lines);
    moved
        .recover(fixture.recovery(2), transactions)
        .await
        .unwrap();
    assert_eq!(fixture.committed().await, lines(0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_bytes_make_no_file() {
    let fixture = Fixture::new(S3Flavour::Versitygw);
    let nothing = Text::<String, _>::new("txt", |_: &str, _: &mut Vec<u8>| {});
    let sink = FileSink::new(URL, nothing);
    let mut writer = sink.writer(fixture.context(1, 0)).unwrap();
    writer.write(&rows(&lines(0, 2))).await.unwrap();
    let pre_commit = writer.pre_commit(CheckpointId::FIRST).unwrap();
    assert_eq!(pre_commit.await.unwrap(), Vec::<Value>::new());
    assert_eq!(fixture.names(true).await, [""; 0]);
}

#[test]
fn the_attempt_is_read_from_a_pending_name() {
    assert_eq!(super::attempt_of("12-0-3-00000000000000ff"), Some(12));
    assert_eq!(super::attempt_of("12-probe-00000000000000ff"), Some(12));
    assert_eq!(super::attempt_of("something"), None);
    assert_eq!(Attempt::new(12).unwrap().to_string(), "12");
}
