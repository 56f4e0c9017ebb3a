//! The store contract on real S3 servers of two makes, and what bad servers and bad settings say.
#![allow(clippy::unwrap_used)]

mod contract;

use contract::open_s3;
use rstest::rstest;

use tidegate_testkit::{S3Flavour, S3Server};

const BUCKET: &str = "tidegate-test";

fn start(flavour: S3Flavour) -> S3Server {
    let server = S3Server::start(flavour).unwrap();
    server.create_bucket(BUCKET).unwrap();
    server
}

#[rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn a_good_server_keeps_the_whole_contract(#[case] flavour: S3Flavour) {
    let server = start(flavour);
    let folder = open_s3(&server, &server.endpoint(), BUCKET).await;
    contract::whole(&folder).await;
    contract::large_file(&folder, 1_500_000).await;
}
