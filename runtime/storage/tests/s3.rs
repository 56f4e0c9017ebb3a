//! The store contract on real S3 servers of two makes, and what bad servers and bad settings say.
#![allow(clippy::unwrap_used)]

mod contract;

use std::time::{Duration, Instant};

use contract::{fence, number, open_s3, s3_options};
use rstest::rstest;
use tidegate_protocol::{AppendOutcome, Attempt, CheckpointId};
use tidegate_storage::{
    AccessKeys, Credentials, Garbage, JobFolder, StorageError, StorageUrl, Store, StoreOptions,
};
use tidegate_testkit::{PortLease, S3Flavour, S3Server};

const BUCKET: &str = "tidegate-test";

fn start(flavour: S3Flavour) -> S3Server {
    let server = S3Server::start(flavour).unwrap();
    server.create_bucket(BUCKET).unwrap();
    server
}

/// What somebody reads who opens a folder so and asks for its log.
async fn complaint(url: &str, options: StoreOptions) -> StorageError {
    let url = StorageUrl::parse(url).unwrap();
    let store = match Store::open(&url, options).await {
        Ok(store) => store,
        Err(error) => return error,
    };
    let folder = JobFolder::new(store, "default", "word-count").unwrap();
    let entry = fence(1, 1);
    let (listing, test, outcome) =
        tokio::join!(folder.list_log(), folder.self_test(), folder.append(&entry));
    let (listing, test) = (listing.unwrap_err(), test.unwrap_err());
    assert_eq!(
        listing.category(),
        test.category(),
        "{}",
        test.with_causes()
    );
    assert!(
        matches!(outcome, AppendOutcome::Unknown { .. }),
        "{outcome:?}"
    );
    listing
}

fn with_keys(id: &str, secret: &str) -> StoreOptions {
    StoreOptions {
        credentials: Credentials::Keys(AccessKeys {
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: None,
        }),
        ..StoreOptions::default()
    }
}

#[rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn a_good_server_keeps_the_whole_contract(#[case] flavour: S3Flavour) {
    let server = start(flavour);
    let folder = open_s3(&server, &server.endpoint(), BUCKET).await;
    contract::whole(&folder).await;
    contract::large_file(&folder, "state/4/1/count-0.arrow", 20_000_000).await;
}

#[rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn a_log_longer_than_a_servers_page_is_listed_and_collected(#[case] flavour: S3Flavour) {
    let server = start(flavour);
    let folder = open_s3(&server, &server.endpoint(), BUCKET).await;
    let numbers: Vec<_> = (1..=1_100).map(number).collect();
    let mut appends = tokio::task::JoinSet::new();
    for part in numbers.chunks(100) {
        let (folder, part) = (folder.clone(), part.to_vec());
        appends.spawn(async move {
            for at in part {
                assert_eq!(
                    folder.append(&fence(at.get(), 1)).await,
                    AppendOutcome::Created
                );
            }
        });
    }
    appends.join_all().await;
    assert_eq!(folder.list_log().await.unwrap(), numbers);
    let garbage = Garbage {
        entries: numbers[..1_050].to_vec(),
        keep_files: Vec::new(),
        keep_from: CheckpointId::FIRST,
        attempt: Attempt::FIRST,
        keep_before: Attempt::FIRST,
    };
    assert_eq!(folder.collect_garbage(&garbage).await.unwrap(), 1_050);
    assert_eq!(folder.list_log().await.unwrap(), numbers[1_050..]);
}

/// The second server does so only where two racers meet in it, which the system's scheduler may
/// prevent in a whole self-test.
#[rstest]
#[case(S3Flavour::S3rver, 1)]
#[case(S3Flavour::S3sFs, 100)]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_creates_a_name_twice_is_refused(
    #[case] flavour: S3Flavour,
    #[case] test_count_max: usize,
) {
    let server = start(flavour);
    let folder = open_s3(&server, &server.endpoint(), BUCKET).await;
    let mut refused = None;
    for _ in 0..test_count_max {
        refused = folder.self_test().await.err();
        if refused.is_some() {
            break;
        }
    }
    let error = refused.expect("it is refused");
    assert_eq!(
        error.category(),
        "UnsuitableStore",
        "{}",
        error.with_causes()
    );
    let text = error.to_string();
    assert!(
        text.contains(&server.endpoint()) && text.contains(BUCKET),
        "{text}"
    );
    assert!(text.contains("exactly one may be"), "{text}");
    assert!(text.contains("If-None-Match"), "{text}");
}

#[rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_told_with_what_to_check(#[case] flavour: S3Flavour) {
    let server = start(flavour);
    let (endpoint, id, secret) = (server.endpoint(), server.access_key(), server.secret_key());
    let url = format!(
        "s3://{BUCKET}/prefix?endpoint={endpoint}&region={}",
        server.region()
    );
    let missing = url.replace(BUCKET, "tidegate-absent");
    let tls = url.replace("http://", "https://");
    let cases = [
        (
            &url,
            with_keys(id, "wrong"),
            "CredentialsWrong",
            "check the access key",
        ),
        (
            &url,
            with_keys("NOBODY", secret),
            "CredentialsWrong",
            "check the access key",
        ),
        (
            &missing,
            s3_options(&server),
            "BucketMissing",
            "the bucket does not exist",
        ),
        (&tls, s3_options(&server), "TlsFailed", "speaks https"),
    ];
    for (url, options, category, advice) in cases {
        let error = complaint(url, options).await;
        let text = error.with_causes();
        assert_eq!(error.category(), category, "{text}");
        let bucket = if category == "BucketMissing" {
            "tidegate-absent"
        } else {
            BUCKET
        };
        assert!(
            text.contains(&format!("s3://{bucket}/prefix/default/word-count")),
            "{text}"
        );
        assert!(
            text.contains(endpoint.split_once("://").unwrap().1),
            "{text}"
        );
        assert!(text.contains(advice), "{text}");
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_region_is_told() {
    let server = start(S3Flavour::Minio);
    let url = format!(
        "s3://{BUCKET}/prefix?endpoint={}&region=mars-1",
        server.endpoint()
    );
    // A server that has just started takes any region until it has read its own settings.
    let store = Store::open(&StorageUrl::parse(&url).unwrap(), s3_options(&server))
        .await
        .unwrap();
    let folder = JobFolder::at(store);
    let deadline = Instant::now() + Duration::from_secs(30);
    while folder.list_log().await.is_ok() {
        assert!(Instant::now() < deadline, "the server takes any region");
    }
    let error = complaint(&url, s3_options(&server)).await;
    assert_eq!(error.category(), "RegionWrong", "{}", error.with_causes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_told() {
    let lease = PortLease::take().unwrap();
    let endpoint = format!("http://127.0.0.1:{}", lease.port());
    let url = format!("s3://{BUCKET}/prefix?endpoint={endpoint}&region=us-east-1");
    let error = complaint(&url, with_keys("key", "secret")).await;
    assert_eq!(
        error.category(),
        "StoreUnreachable",
        "{}",
        error.with_causes()
    );
    assert!(
        error.with_causes().contains("Connection refused"),
        "{}",
        error.with_causes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_credentials_are_told() {
    let url = format!("s3://{BUCKET}/prefix?endpoint=http://127.0.0.1:9&region=us-east-1");
    let options = StoreOptions {
        credentials: Credentials::Profile("tidegate-absent".into()),
        ..StoreOptions::default()
    };
    let error = complaint(&url, options).await;
    assert_eq!(
        error.category(),
        "CredentialsMissing",
        "{}",
        error.with_causes()
    );
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_told() {
    // It takes connections, as the kernel does for a process that hangs, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let url = format!("s3://{BUCKET}/prefix?endpoint={endpoint}&region=us-east-1");
    let options = StoreOptions {
        request_timeout: Some(Duration::from_millis(50)),
        ..with_keys("key", "secret")
    };
    let error = complaint(&url, options).await;
    assert_eq!(error.category(), "StoreTimeout", "{}", error.with_causes());
    assert!(
        error.to_string().contains("did not answer in time"),
        "{error}"
    );
}
