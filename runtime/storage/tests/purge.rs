//! A job's folder is removed with every file that the job wrote, and no other.
#![allow(clippy::unwrap_used)]

mod contract;

use contract::{fence, number, open_local, open_s3, s3_options};
use rstest::rstest;
use tidegate_protocol::{AppendOutcome, Attempt, CheckpointId, LogNumber};
use tidegate_storage::{Garbage, JobFolder, Purged, StorageUrl, Store};
use tidegate_testkit::{Fault, FaultPlan, FaultProxy, S3Flavour, S3Server};

const BUCKET: &str = "tidegate-test";
/// More than two pages of a server's listing.
const FILE_COUNT: u64 = 2_100;

/// The folders of the job and of others whose names begin alike, which must stay as they are.
async fn siblings(folder: &JobFolder) -> Vec<JobFolder> {
    let mut folders = Vec::new();
    for name in ["word-count-2", "word", "word-count.log"] {
        let sibling = JobFolder::new(folder.store().clone(), "default", name).unwrap();
        assert_eq!(sibling.append(&fence(1, 1)).await, AppendOutcome::Created);
        contract::write_file(&sibling, "state/1/1/count-0.arrow", &[]).await;
        folders.push(sibling);
    }
    folders
}

fn garbage(fence: LogNumber, entries: &[u64]) -> Garbage {
    Garbage {
        entries: entries.iter().copied().map(number).collect(),
        keep_files: Vec::new(),
        keep_from: CheckpointId::FIRST,
        attempt: Attempt::of_fence(fence),
        keep_before: Attempt::FIRST,
    }
}

/// Fences at this number, collects, and purges.
async fn purge(folder: &JobFolder, at: u64) -> Purged {
    let outcome = folder.append(&fence(at, 99)).await;
    assert_eq!(outcome, AppendOutcome::Created);
    let older: Vec<_> = (1..at).collect();
    let garbage = garbage(number(at), &older);
    folder.collect_garbage(&garbage).await.unwrap();
    folder.purge(number(at)).await.unwrap()
}

async fn whole_purge(folder: &JobFolder) {
    let siblings = siblings(folder).await;
    for at in 1..=3 {
        folder.append(&fence(at, 1)).await;
    }
    for path in ["state/1/1/count-0.arrow", "state/2/7/count-1.arrow"] {
        contract::write_file(folder, path, &[]).await;
    }
    let purged = purge(folder, 4).await;
    let Purged::Empty { foreign, .. } = purged else {
        panic!("{purged:?}")
    };
    assert_eq!(foreign, Vec::<String>::new());
    assert!(folder.is_empty().await.unwrap());
    for sibling in siblings {
        assert_eq!(sibling.list_log().await.unwrap(), [number(1)]);
        assert!(!sibling.is_empty().await.unwrap());
    }
    // Once more changes nothing.
    let again = folder.purge(number(4)).await.unwrap();
    let Purged::Empty { foreign, .. } = again else {
        panic!("{again:?}")
    };
    assert_eq!(foreign, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_folder_is_removed_and_its_neighbours_stay() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let own = root.path().join("default/word-count");
    for left_over in ["log", "self-test"] {
        std::fs::create_dir_all(own.join(left_over)).unwrap();
        std::fs::write(own.join(left_over).join(".0123.tmp"), "half").unwrap();
    }
    std::fs::write(own.join("self-test/0123456789abcdef"), "racer").unwrap();
    whole_purge(&folder).await;
    assert!(!own.exists());
    assert!(root.path().join("default/word-count-2/log").is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_job_did_not_write_stays_and_is_named() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let own = root.path().join("default/word-count");
    let mine = [
        "notes.txt",
        "log/readme",
        "state/1/1/sub/folder",
        "self-test/mine",
    ];
    for name in mine {
        std::fs::create_dir_all(own.join(name).parent().unwrap()).unwrap();
        std::fs::write(own.join(name), "mine").unwrap();
    }
    let purged = purge(&folder, 4).await;
    let Purged::Empty { mut foreign, .. } = purged else {
        panic!("{purged:?}")
    };
    foreign.sort();
    let mut expected = mine.map(|name| format!("default/word-count/{name}"));
    expected.sort();
    assert_eq!(foreign, expected);
}

#[rstest]
#[case(S3Flavour::Minio)]
#[case(S3Flavour::Versitygw)]
#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_of_a_bucket_is_removed_and_its_neighbours_stay(#[case] flavour: S3Flavour) {
    let server = S3Server::start(flavour).unwrap();
    server.create_bucket(BUCKET).unwrap();
    let folder = open_s3(&server, &server.endpoint(), BUCKET).await;
    whole_purge(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_bucket_can_be_a_jobs_folder() {
    let server = S3Server::versitygw().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let url = format!("s3://{BUCKET}?endpoint={}", server.endpoint());
    let url = StorageUrl::parse(&url).unwrap();
    let store = Store::open(&url, s3_options(&server)).await.unwrap();
    let folder = JobFolder::at(store);
    folder.append(&fence(1, 1)).await;
    contract::write_file(&folder, "state/1/1/count-0.arrow", &[]).await;
    let purged = purge(&folder, 2).await;
    assert!(matches!(purged, Purged::Empty { .. }), "{purged:?}");
    assert!(folder.is_empty().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_files_than_a_page_holds_are_removed() {
    let server = S3Server::versitygw().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let folder = open_s3(&server, &server.endpoint(), BUCKET).await;
    let prefix = server.data_folder().join(BUCKET);
    let prefix = prefix.join("some/prefix/default/word-count/state/1");
    for index in 0..FILE_COUNT {
        let checkpoint = prefix.join((1 + index % 7).to_string());
        std::fs::create_dir_all(&checkpoint).unwrap();
        std::fs::write(checkpoint.join(format!("count-{index}.arrow")), "x").unwrap();
    }
    let purged = purge(&folder, 2).await;
    assert!(matches!(purged, Purged::Empty { .. }), "{purged:?}");
    assert!(folder.is_empty().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_began_meanwhile_is_told_and_keeps_its_files() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    folder.append(&fence(1, 1)).await;
    folder.append(&fence(2, 2)).await;
    contract::write_file(&folder, "state/2/1/count-0.arrow", &[]).await;
    let purged = folder.purge(number(1)).await.unwrap();
    assert!(
        matches!(purged, Purged::TakenOver { by: 2, .. }),
        "{purged:?}"
    );
    assert_eq!(folder.list_log().await.unwrap(), [number(1), number(2)]);
    let file = root
        .path()
        .join("default/word-count/state/2/1/count-0.arrow");
    assert!(file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_fails_anywhere_leaves_its_fence_highest_and_can_be_repeated() {
    let server = S3Server::versitygw().unwrap();
    server.create_bucket(BUCKET).unwrap();
    let proxy = FaultProxy::start(server.address(), FaultPlan::seeded(1)).unwrap();
    let past_proxy = open_s3(&server, &server.endpoint(), BUCKET).await;
    let at = number(4);
    let mut request_count = 0;
    loop {
        // What a process that died had sent may be carried out at any time after, so that each
        // has a folder of its own.
        let job = format!("word-count-{request_count}");
        let folder_in = |store: &Store| JobFolder::new(store.clone(), "default", &job).unwrap();
        let direct = folder_in(past_proxy.store());
        for number in 1..=3 {
            direct.append(&fence(number, 1)).await;
        }
        contract::write_file(&direct, "state/1/1/count-0.arrow", &[]).await;
        direct.append(&fence(4, 99)).await;
        let folder = folder_in(open_s3(&server, &proxy.endpoint(), BUCKET).await.store());
        // As a process that dies after so many requests.
        proxy.set_plan(FaultPlan::seeded(1));
        let before = proxy.counts().requests;
        let work = async {
            let garbage = garbage(at, &[1, 2, 3]);
            folder.collect_garbage(&garbage).await.unwrap();
            folder.purge(at).await.unwrap()
        };
        let died = async {
            while proxy.counts().requests < before + request_count {
                tokio::task::yield_now().await;
            }
        };
        let purged = tokio::select! {
            purged = work => Some(purged),
            () = died => None,
        };
        let is_done = purged.is_some();
        let left = direct.list_log().await.unwrap();
        assert!(left.is_empty() || left.last() == Some(&at), "{left:?}");
        if let Some(purged) = purged {
            assert!(matches!(purged, Purged::Empty { .. }), "{purged:?}");
        }
        if !left.is_empty() || !direct.is_empty().await.unwrap() {
            let garbage = garbage(at, &[1, 2, 3]);
            direct.collect_garbage(&garbage).await.unwrap();
            direct.purge(at).await.unwrap();
        }
        assert!(direct.is_empty().await.unwrap());
        if is_done {
            assert!(request_count > 4, "the proxy counts nothing");
            break;
        }
        request_count += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_gone_is_told_apart_from_one_that_cannot_be_reached() {
    let server = S3Server::versitygw().unwrap();
    let folder = open_s3(&server, &server.endpoint(), "no-such-bucket").await;
    assert!(folder.list_log().await.unwrap_err().is_bucket_gone());
    let proxy = FaultProxy::start(
        server.address(),
        FaultPlan::seeded(1).with(Fault::Reject(404), 1000),
    )
    .unwrap();
    let folder = open_s3(&server, &proxy.endpoint(), "no-such-bucket").await;
    assert!(!folder.list_log().await.unwrap_err().is_bucket_gone());
}
