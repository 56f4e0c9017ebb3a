//! Where keys, regions and endpoints come from, against a real server; and jobs across stores.
#![allow(clippy::unwrap_used)]

mod contract;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use contract::{ALL, checkpoint, fence, open_local, open_s3, write_file};
use tidegate_protocol::{AppendOutcome, KeyGroup};
use tidegate_storage::{Credentials, JobFolder, StorageUrl, Store, StoreOptions};
use tidegate_testkit::S3Server;

const BUCKET: &str = "tidegate-test";
/// Tells a test in a process of its own which URL to use.
const CHILD_URL: &str = "TIDEGATE_TEST_CHILD_URL";
/// The test that a good environment passes.
const GOOD: &str = "using_the_environment";

fn start() -> S3Server {
    let server = S3Server::versitygw().unwrap();
    server.create_bucket(BUCKET).unwrap();
    server
}

/// Runs an ignored test in a process with these variables and no others of AWS.
fn run_child(test: &str, url: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.args(["--ignored", "--exact", test, "--nocapture"]);
    command
        .env(CHILD_URL, url)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}\n{err}"
    );
}

#[tokio::test]
#[ignore = "run by the tests of this file with variables of their own"]
async fn using_the_environment() {
    let url = std::env::var(CHILD_URL).expect("only another test runs this one");
    let url = StorageUrl::parse(&url).unwrap();
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let folder = JobFolder::new(store, "default", "word-count").unwrap();
    folder.self_test().await.unwrap();
}

fn secret_folder(root: &Path, server: &S3Server) -> PathBuf {
    let folder = root.join("secret");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("AWS_ACCESS_KEY_ID"), server.access_key()).unwrap();
    fs::write(folder.join("AWS_SECRET_ACCESS_KEY"), server.secret_key()).unwrap();
    folder
}

#[test]
fn keys_endpoint_and_region_come_from_the_environment() {
    let server = start();
    let keys = [
        ("AWS_ACCESS_KEY_ID", server.access_key()),
        ("AWS_SECRET_ACCESS_KEY", server.secret_key()),
    ];
    let endpoint = server.endpoint();
    let url = format!("s3://{BUCKET}/a");
    let with = |more: &[(&'static str, &'static str)]| [&keys[..], more].concat();
    let endpoint: &'static str = endpoint.leak();
    run_child(
        GOOD,
        &url,
        &with(&[("AWS_ENDPOINT_URL", endpoint), ("AWS_REGION", "us-east-1")]),
    );
    // The service's own variable wins; a server of one's own needs no region.
    let wrong = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    run_child(
        GOOD,
        &url,
        &with(&[wrong, ("AWS_ENDPOINT_URL_S3", endpoint)]),
    );
    // The URL wins over both.
    run_child(
        GOOD,
        &format!("{url}?endpoint={endpoint}"),
        &with(&[wrong, ("AWS_REGION", "us-east-1")]),
    );
}

#[test]
fn keys_come_from_a_profile() {
    let server = start();
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("credentials");
    let (id, secret) = (server.access_key(), server.secret_key());
    let profile = format!(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n\n\
         [streams]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"
    );
    fs::write(&file, profile).unwrap();
    let url = format!("s3://{BUCKET}/a?endpoint={}", server.endpoint());
    let file = file.to_str().unwrap();
    run_child(
        GOOD,
        &url,
        &[
            ("AWS_SHARED_CREDENTIALS_FILE", file),
            ("AWS_PROFILE", "streams"),
        ],
    );
}

#[test]
fn keys_come_from_a_mounted_secret() {
    let server = start();
    let root = tempfile::tempdir().unwrap();
    let folder = secret_folder(root.path(), &server);
    let url = format!("s3://{BUCKET}/a?endpoint={}", server.endpoint());
    run_child(
        GOOD,
        &url,
        &[(
            "TIDEGATE_STORAGE_CREDENTIALS_FOLDER",
            folder.to_str().unwrap(),
        )],
    );
}

#[tokio::test]
async fn a_mounted_secret_without_keys_is_told_with_its_folder() {
    let server = start();
    let root = tempfile::tempdir().unwrap();
    let url = format!("s3://{BUCKET}/a?endpoint={}", server.endpoint());
    let options = StoreOptions {
        credentials: Credentials::Folder(root.path().to_owned()),
        ..StoreOptions::default()
    };
    let error = Store::open(&StorageUrl::parse(&url).unwrap(), options)
        .await
        .unwrap_err();
    assert_eq!(error.category(), "CredentialsMissing");
    assert!(
        error.to_string().contains(root.path().to_str().unwrap()),
        "{error}"
    );
}

/// Serves a server's endpoint by TLS with a certificate of an authority of one's own, as long as
/// the test runs; gives the endpoint and the authority's certificate.
async fn behind_tls(server: &S3Server) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let server = server.address();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = tokio::net::TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (endpoint, authority.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_trusted_if_its_authority_is() {
    let server = start();
    let (endpoint, authority) = behind_tls(&server).await;
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("authority.pem");
    fs::write(&file, authority).unwrap();
    let url = format!("s3://{BUCKET}/a?endpoint={endpoint}");
    let keys = [
        ("AWS_ACCESS_KEY_ID", server.access_key()),
        ("AWS_SECRET_ACCESS_KEY", server.secret_key()),
    ];
    let file = file.to_str().unwrap();
    let trusted = [&keys[..], &[("SSL_CERT_FILE", file)]].concat();
    tokio::task::block_in_place(|| run_child(GOOD, &url, &trusted));
    tokio::task::block_in_place(|| run_child("using_an_unknown_authority", &url, &keys));
}

#[tokio::test]
#[ignore = "run by a_certificate_is_trusted_if_its_authority_is"]
async fn using_an_unknown_authority() {
    let url = StorageUrl::parse(&std::env::var(CHILD_URL).unwrap()).unwrap();
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let error = JobFolder::at(store).list_log().await.unwrap_err();
    assert_eq!(error.category(), "TlsFailed", "{}", error.with_causes());
    assert!(
        error.to_string().contains("its authority trusted"),
        "{error}"
    );
}

#[test]
fn an_environment_that_lacks_something_is_told() {
    run_child("using_no_region", "s3://tidegate-test/a", &[]);
    let url = "s3://tidegate-test/a?endpoint=http://127.0.0.1:9";
    let nothing = ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    run_child(
        "using_no_keys",
        url,
        &[nothing, ("AWS_CONFIG_FILE", "/dev/null")],
    );
}

#[tokio::test]
#[ignore = "run by an_environment_that_lacks_something_is_told"]
async fn using_no_region() {
    let url = StorageUrl::parse(&std::env::var(CHILD_URL).unwrap()).unwrap();
    let error = Store::open(&url, StoreOptions::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("set AWS_REGION"), "{error}");
}

#[tokio::test]
#[ignore = "run by an_environment_that_lacks_something_is_told"]
async fn using_no_keys() {
    let url = StorageUrl::parse(&std::env::var(CHILD_URL).unwrap()).unwrap();
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let folder = JobFolder::new(store, "default", "word-count").unwrap();
    let error = folder.list_log().await.unwrap_err();
    assert_eq!(
        error.category(),
        "CredentialsMissing",
        "{}",
        error.with_causes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_on_disk_starts_from_a_checkpoint_in_a_bucket() {
    let server = start();
    let theirs = open_s3(&server, &server.endpoint(), BUCKET).await;
    let file = write_file(
        &theirs,
        "state/1/3/count-0.arrow",
        &[vec![(KeyGroup(1), 5)]],
    )
    .await;
    assert_eq!(theirs.append(&fence(1, 1)).await, AppendOutcome::Created);
    let entry = checkpoint(2, &[], vec![file]);
    assert_eq!(theirs.append(&entry).await, AppendOutcome::Created);
    let latest = theirs.latest().await.unwrap().unwrap();
    let manifest = theirs.with_whole_urls(latest.checkpoints[0].1.clone());
    let file = manifest.files().next().unwrap();
    assert!(
        file.path
            .starts_with("s3://tidegate-test/some/prefix/default/word-count/state/1/3/")
    );

    let root = tempfile::tempdir().unwrap();
    let url = StorageUrl::Local(root.path().to_owned());
    let store = Store::open(&url, contract::s3_options(&server))
        .await
        .unwrap();
    let ours = JobFolder::new(store, "default", "other").unwrap();
    assert_eq!(
        ours.read_state_file(file, ALL).await.unwrap()[0].num_rows(),
        5
    );

    // Without the keys, the complaint names the bucket.
    let ours = open_local(root.path()).await;
    let error = ours.read_state_file(file, ALL).await.unwrap_err();
    assert!(
        error.to_string().contains("s3://tidegate-test/some/prefix"),
        "{error}"
    );
}
