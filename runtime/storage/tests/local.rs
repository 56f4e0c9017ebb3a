//! The store contract on local folders, and what is special to them.
#![allow(clippy::unwrap_used)]

mod contract;

use tidegate_storage::{JobFolder, StorageUrl, Store, StoreOptions};

async fn open(path: &std::path::Path) -> JobFolder {
    let url = StorageUrl::Local(path.to_owned());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    JobFolder::new(store, "default", "word-count").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_whole_contract() {
    let root = tempfile::tempdir().unwrap();
    let folder = open(&root.path().join("made/on/demand")).await;
    contract::whole(&folder).await;
    contract::large_file(&folder, 500_000).await;
}
