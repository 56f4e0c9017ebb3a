//! A hostile network between client and server: what was lost, applied or repeated is told right.
#![allow(clippy::unwrap_used)]

mod contract;

use std::path::Path;
use std::time::{Duration, Instant};

use contract::{ALL, fence, number, open_s3, write_file};
use rstest::rstest;
use tidegate_protocol::{AppendOutcome, KeyGroup};
use tidegate_storage::{JobFolder, WriteOptions};
use tidegate_testkit::{Fault, FaultPlan, FaultProxy, S3Flavour, S3Server};

const BUCKET: &str = "tidegate-test";

struct Hostile {
    server: S3Server,
    proxy: FaultProxy,
    folder: JobFolder,
    /// The same folder without the proxy.
    direct: JobFolder,
}

async fn start(flavour: S3Flavour) -> Hostile {
    let server = S3Server::start(flavour).unwrap();
    server.create_bucket(BUCKET).unwrap();
    let proxy = FaultProxy::start(server.address(), FaultPlan::seeded(1)).unwrap();
    let folder = open_s3(&server, &proxy.endpoint(), BUCKET).await;
    let direct = open_s3(&server, &server.endpoint(), BUCKET).await;
    Hostile {
        server,
        proxy,
        folder,
        direct,
    }
}

#[rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_meets_a_fault_once_is_created(#[case] flavour: S3Flavour) {
    let hostile = start(flavour).await;
    let faults = [
        Fault::Reject(500),
        Fault::Reject(503),
        Fault::CutRequest,
        Fault::ApplyThenFail(500),
        Fault::ApplyThenFail(503),
        Fault::ApplyThenCut,
        Fault::Duplicate,
    ];
    for (at, fault) in (1..).zip(faults) {
        let (first, second) = (fence(at, 10), fence(at, 11));
        hostile.proxy.hit_next(fault, "PUT", "/log/");
        assert_eq!(
            hostile.folder.append(&first).await,
            AppendOutcome::Created,
            "{fault:?}"
        );
        assert_eq!(hostile.proxy.counts().injected(), 2 * at - 1);
        assert_eq!(
            hostile
                .direct
                .read_entry(number(at))
                .await
                .unwrap()
                .as_ref(),
            Some(&first)
        );
        // Whoever comes second is told so, fault or not.
        hostile.proxy.hit_next(fault, "PUT", "/log/");
        assert_eq!(
            hostile.folder.append(&second).await,
            AppendOutcome::Taken,
            "{fault:?}"
        );
        assert_eq!(
            hostile.direct.read_entry(number(at)).await.unwrap(),
            Some(first)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_lands_after_its_retry_changes_nothing() {
    let hostile = start(S3Flavour::Minio).await;
    hostile.proxy.hit_next(Fault::ApplyLate, "PUT", "/log/");
    assert_eq!(
        hostile.folder.append(&fence(1, 10)).await,
        AppendOutcome::Created
    );
    assert_eq!(
        hostile.direct.append(&fence(2, 20)).await,
        AppendOutcome::Created
    );
    hostile.proxy.release_late();
    assert_eq!(
        hostile.direct.read_entry(number(1)).await.unwrap(),
        Some(fence(1, 10))
    );
    assert_eq!(
        hostile.direct.list_log().await.unwrap(),
        [number(1), number(2)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_to_a_store_that_is_away_is_unknown_and_says_why() {
    let hostile = start(S3Flavour::Versitygw).await;
    hostile.proxy.set_down(true);
    let AppendOutcome::Unknown { reason } = hostile.folder.append(&fence(1, 10)).await else {
        panic!("an unreachable store cannot answer");
    };
    assert!(reason.contains("log/00000000000000000001.json"), "{reason}");
    assert!(reason.contains(&hostile.proxy.endpoint()), "{reason}");
    assert!(reason.contains("cannot be reached"), "{reason}");
    hostile.proxy.set_down(false);
    assert_eq!(
        hostile.folder.append(&fence(1, 10)).await,
        AppendOutcome::Created
    );
}

#[rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn racers_in_a_hostile_network_never_win_twice(#[case] flavour: S3Flavour) {
    let hostile = start(flavour).await;
    hostile.proxy.set_plan(FaultPlan::hostile(7, 40));
    for round in 1..=10 {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..4 {
            let folder = hostile.folder.clone();
            racers.spawn(async move { (racer, folder.append(&fence(round, racer)).await) });
        }
        let mut winners = Vec::new();
        for (racer, outcome) in racers.join_all().await {
            match outcome {
                AppendOutcome::Created => winners.push(racer),
                AppendOutcome::Taken | AppendOutcome::Unknown { .. } => {}
            }
        }
        let found = hostile.direct.read_entry(number(round)).await.unwrap();
        assert!(winners.len() <= 1, "round {round}: {winners:?}");
        if let Some(winner) = winners.pop() {
            assert_eq!(found, Some(fence(round, winner)));
        }
    }
    assert!(hostile.proxy.counts().injected() > 0);
}

#[rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_a_hostile_network(#[case] flavour: S3Flavour) {
    let hostile = start(flavour).await;
    hostile.proxy.set_plan(FaultPlan::hostile(3, 10));
    hostile.folder.self_test().await.unwrap();
    for at in 1..=3 {
        let path = format!("state/1/{at}/count-0.arrow");
        contract::large_file(&hostile.folder, &path, 17_000_000).await;
    }
    assert!(hostile.proxy.counts().injected() > 0);
}

#[rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_survives_a_fault(#[case] flavour: S3Flavour) {
    let hostile = start(flavour).await;
    let faults = [
        (Fault::Reject(503), "POST", "uploads"),
        (Fault::Reject(503), "PUT", "partNumber=1"),
        (Fault::CutRequest, "PUT", "partNumber=2"),
        (Fault::Reject(500), "PUT", "partNumber=3"),
        (Fault::ApplyThenCut, "PUT", "partNumber=2"),
        (Fault::ApplyThenFail(500), "POST", "uploadId="),
        (Fault::ApplyThenCut, "POST", "uploadId="),
    ];
    for (at, (fault, method, part)) in (1..).zip(faults) {
        hostile.proxy.hit_next(fault, method, part);
        let path = format!("state/1/{at}/count-0.arrow");
        contract::large_file(&hostile.folder, &path, 17_000_000).await;
        assert_eq!(
            hostile.proxy.counts().injected(),
            at,
            "{fault:?} {method} {part}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_not_reported_written_when_its_store_is_away() {
    let hostile = start(S3Flavour::Versitygw).await;
    let runs = [(KeyGroup(3), 100)];
    let path = "state/1/1/count-0.arrow";
    let schema = contract::schema();
    let mut writer = hostile
        .folder
        .create_state_file(path, schema, Default::default())
        .await
        .unwrap();
    writer.write(&runs, &contract::batch(&runs)).await.unwrap();
    hostile.proxy.set_down(true);
    let error = writer
        .finish(tidegate_protocol::FileKind::Base, ALL)
        .await
        .unwrap_err();
    assert_eq!(error.category(), "StoreUnreachable");
    assert!(error.to_string().contains(path), "{error}");
    hostile.proxy.set_down(false);
    let file = write_file(&hostile.folder, path, &[runs.to_vec()]).await;
    assert_eq!(
        hostile.direct.read_state_file(&file, ALL).await.unwrap()[0].num_rows(),
        100
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_waited_for() {
    let mut hostile = start(S3Flavour::Minio).await;
    assert_eq!(
        hostile.folder.append(&fence(1, 1)).await,
        AppendOutcome::Created
    );
    hostile.server.kill();
    let folder = hostile.folder.clone();
    // An append gives up sooner than a busy machine starts a server; it is then made again, as
    // the checkpoint log does.
    let append = tokio::spawn(async move {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match folder.append(&fence(2, 2)).await {
                AppendOutcome::Unknown { reason } => assert!(Instant::now() < deadline, "{reason}"),
                known => return known,
            }
        }
    });
    hostile.server.restart().unwrap();
    assert_eq!(append.await.unwrap(), AppendOutcome::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_leaves_no_parts() {
    let hostile = start(S3Flavour::Minio).await;
    let parts = hostile.server.data_folder().join(".minio.sys/multipart");
    let schema = contract::schema();
    let path = "state/1/1/count-0.arrow";
    let mut writer = hostile
        .folder
        .create_state_file(path, schema, WriteOptions::default())
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    for group in (0..128).map(KeyGroup) {
        let runs = [(group, 10_000)];
        writer.write(&runs, &contract::batch(&runs)).await.unwrap();
        if file_count(&parts) > 0 {
            break;
        }
    }
    assert!(file_count(&parts) > 0, "no part was sent");
    drop(writer);
    while file_count(&parts) > 0 {
        assert!(Instant::now() < deadline, "parts stay behind");
        tokio::task::yield_now().await;
    }
    let listed = hostile
        .server
        .data_folder()
        .join(BUCKET)
        .join("some/prefix/default");
    assert!(!listed.join("word-count").join(path).exists());
}

fn file_count(folder: &Path) -> usize {
    // What is deleted meanwhile is not counted.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => file_count(&entry.path()),
            _ => 1,
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_as_few_as_can_be() {
    let hostile = start(S3Flavour::Versitygw).await;
    let folder = &hostile.folder;
    let mut before = 0;
    let mut spent = || {
        let now = hostile.proxy.counts().requests;
        now - std::mem::replace(&mut before, now)
    };
    assert_eq!(folder.append(&fence(1, 1)).await, AppendOutcome::Created);
    assert_eq!(spent(), 1, "append");
    assert_eq!(folder.append(&fence(1, 2)).await, AppendOutcome::Taken);
    assert_eq!(spent(), 2, "append where another entry stands");
    folder.list_log().await.unwrap();
    assert_eq!(spent(), 1, "list");
    folder.read_entry(number(1)).await.unwrap();
    assert_eq!(spent(), 1, "read an entry");
    let path = "state/1/1/count-0.arrow";
    let file = write_file(folder, path, &[vec![(KeyGroup(3), 100)]]).await;
    assert_eq!(spent(), 1, "write a small state file");
    folder.read_state_file(&file, ALL).await.unwrap();
    assert_eq!(
        spent(),
        2,
        "read a small state file: its length, its content"
    );
}
