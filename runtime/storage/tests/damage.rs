//! Damaged files: truncated, flipped, reordered, exchanged. Each ends in an error that names the
//! file, or where only some key groups are read and the damage lies elsewhere, in the right rows.
#![allow(clippy::unwrap_used)]

mod contract;

use std::path::{Path, PathBuf};

use contract::{ALL, batch, checkpoint, keys, number, open_local, schema};
use proptest::prelude::*;
use tidegate_protocol::{AppendOutcome, FileKind, KeyGroup, KeyGroupRange, StateFile};
use tidegate_storage::{Compression, JobFolder, WriteOptions};

const PATH: &str = "state/1/7/count-0.arrow";
const SOME: KeyGroupRange = KeyGroupRange { start: 5, end: 9 };

struct Written {
    folder: JobFolder,
    file: StateFile,
    path: PathBuf,
    bytes: Vec<u8>,
    /// What a reader of `SOME` must get.
    some_keys: Vec<u64>,
}

impl Written {
    async fn new(root: &Path, compression: Compression, rows: usize) -> Self {
        let folder = open_local(root).await;
        let options = WriteOptions { compression };
        let mut writer = folder
            .create_state_file(PATH, schema(), options)
            .await
            .unwrap();
        for groups in [0..4_u16, 4..8, 8..12] {
            let runs: Vec<_> = groups.map(|group| (KeyGroup(group), rows)).collect();
            writer.write(&runs, &batch(&runs)).await.unwrap();
        }
        let file = writer.finish(FileKind::Base, ALL).await.unwrap();
        let path = root.join("default/word-count").join(PATH);
        let bytes = std::fs::read(&path).unwrap();
        let some_keys = keys(&folder.read_state_file(&file, SOME).await.unwrap());
        assert_eq!(some_keys.len(), 4 * rows);
        Self {
            folder,
            file,
            path,
            bytes,
            some_keys,
        }
    }

    /// Reads all and some of a file that holds these bytes instead, of the length the manifest
    /// says, and checks that nobody is deceived.
    async fn check(&self, bytes: &[u8]) -> Result<(), TestCaseError> {
        std::fs::write(&self.path, bytes).unwrap();
        let file = StateFile {
            size_bytes: bytes.len() as u64,
            ..self.file.clone()
        };
        if bytes.len() != self.bytes.len() {
            self.check_error(
                self.folder
                    .read_state_file(&self.file, SOME)
                    .await
                    .unwrap_err(),
            )?;
        }
        match self.folder.read_state_file(&file, SOME).await {
            Ok(rows) => prop_assert_eq!(&keys(&rows), &self.some_keys),
            Err(error) => self.check_error(error)?,
        }
        match self.folder.read_state_file(&file, ALL).await {
            Ok(_) => prop_assert!(false, "a damaged file was read as if it were whole"),
            Err(error) => self.check_error(error)?,
        }
        prop_assert!(self.folder.verify_file(&file).await.is_err());
        Ok(())
    }

    fn check_error(&self, error: tidegate_storage::StorageError) -> Result<(), TestCaseError> {
        let text = error.to_string();
        prop_assert!(text.contains(self.path.to_str().unwrap()), "{}", text);
        prop_assert!(
            matches!(error.category(), "StateDamaged" | "UnknownFormat"),
            "{}",
            text
        );
        Ok(())
    }
}

#[tokio::test]
async fn each_flipped_byte_of_a_state_file_is_noticed() {
    for compression in [Compression::None, Compression::Lz4] {
        let root = tempfile::tempdir().unwrap();
        let written = Written::new(root.path(), compression, 3).await;
        let mut bytes = written.bytes.clone();
        for at in 0..bytes.len() {
            bytes[at] ^= 1 << (at % 8);
            written.check(&bytes).await.unwrap();
            bytes[at] = written.bytes[at];
        }
    }
}

#[tokio::test]
async fn a_state_file_cut_anywhere_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let written = Written::new(root.path(), Compression::Lz4, 3).await;
    for length in 0..written.bytes.len() {
        written.check(&written.bytes[..length]).await.unwrap();
    }
}

#[tokio::test]
async fn a_state_file_in_the_place_of_another_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let written = Written::new(root.path(), Compression::Lz4, 3).await;
    let other = "state/1/8/count-0.arrow";
    let other_path = written
        .path
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("8/count-0.arrow");
    std::fs::create_dir_all(other_path.parent().unwrap()).unwrap();
    std::fs::copy(&written.path, &other_path).unwrap();
    let file = StateFile {
        path: other.into(),
        ..written.file.clone()
    };
    let error = written
        .folder
        .read_state_file(&file, SOME)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it was written as `state/1/7/count-0.arrow`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_manifest_that_says_otherwise_than_the_file_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let written = Written::new(root.path(), Compression::Lz4, 3).await;
    let file = &written.file;
    let wrong = [
        StateFile {
            kind: FileKind::Increment,
            ..file.clone()
        },
        StateFile {
            row_count: file.row_count + 1,
            ..file.clone()
        },
        StateFile {
            checksum: "0".repeat(16),
            ..file.clone()
        },
        StateFile {
            key_groups: KeyGroupRange { start: 0, end: 129 },
            ..file.clone()
        },
    ];
    for file in wrong {
        let error = written
            .folder
            .read_state_file(&file, ALL)
            .await
            .unwrap_err();
        assert_eq!(error.category(), "StateDamaged", "{error}");
    }
}

#[tokio::test]
async fn each_flipped_byte_of_an_entry_is_noticed_and_so_is_each_cut() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let written = Written::new(root.path(), Compression::Lz4, 3).await;
    let entry = checkpoint(2, &[], vec![written.file]);
    assert_eq!(folder.append(&entry).await, AppendOutcome::Created);
    let path = root
        .path()
        .join("default/word-count/log")
        .join(number(2).file_name());
    let bytes = std::fs::read(&path).unwrap();
    let flipped = (0..bytes.len()).map(|at| {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        flipped
    });
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    for damaged in flipped.chain(cut) {
        std::fs::write(&path, &damaged).unwrap();
        let error = folder.read_entry(number(2)).await.unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert!(
            matches!(error.category(), "StateDamaged" | "UnknownFormat"),
            "{error}"
        );
        assert!(folder.latest().await.is_err());
    }
}

/// The file with a changed byte in its second batch, and every checksum made to match.
fn forge(written: &Written, at: usize) -> Option<(Vec<u8>, String)> {
    let hex = |bytes: &[u8]| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes));
    let mut bytes = written.bytes.clone();
    let text_start = find(&bytes, b"{\"path\":")?;
    let length = u32::from_le_bytes(bytes[text_start - 4..text_start].try_into().unwrap());
    let text = text_start..text_start + length as usize;
    let index: serde_json::Value = serde_json::from_slice(&bytes[text.clone()]).unwrap();
    let old_index_checksum = hex(&bytes[text.clone()]);
    let block = &index["batches"][1];
    let start = block["offset"].as_u64().unwrap() as usize;
    let size = block["sizeBytes"].as_u64().unwrap() as usize;
    if at >= size {
        return None;
    }
    bytes[start + at] ^= 1 << (at % 8);
    let checksum = hex(&bytes[start..start + size]);
    let old = block["checksum"].as_str().unwrap().as_bytes();
    let place = find(&bytes, old).unwrap();
    bytes[place..place + 16].copy_from_slice(checksum.as_bytes());
    let index_checksum = hex(&bytes[text]);
    let place = find(&bytes, old_index_checksum.as_bytes()).unwrap();
    bytes[place..place + 16].copy_from_slice(index_checksum.as_bytes());
    let whole = hex(&bytes);
    Some((bytes, whole))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[tokio::test]
async fn a_forged_batch_whose_checksums_match_never_panics() {
    for compression in [Compression::None, Compression::Lz4] {
        let root = tempfile::tempdir().unwrap();
        let written = Written::new(root.path(), compression, 3).await;
        let (mut refused_count, mut read_count, mut at) = (0, 0, 0);
        while let Some((bytes, checksum)) = forge(&written, at) {
            std::fs::write(&written.path, &bytes).unwrap();
            let file = StateFile {
                checksum,
                ..written.file.clone()
            };
            match written.folder.read_state_file(&file, ALL).await {
                Ok(rows) => {
                    read_count += 1;
                    let row_count: usize = rows.iter().map(|rows| rows.num_rows()).sum();
                    assert_eq!(row_count as u64, file.row_count);
                }
                Err(error) => {
                    refused_count += 1;
                    written.check_error(error).unwrap();
                }
            }
            at += 1;
        }
        // Text and numbers may be anything; lengths, offsets and key groups may not.
        assert!(
            refused_count > 50 && read_count > 50,
            "{refused_count}, {read_count}"
        );
    }
}

/// Ways to spoil a file.
#[derive(Debug, Clone)]
enum Damage {
    Overwrite {
        at: prop::sample::Index,
        with: Vec<u8>,
    },
    Remove {
        at: prop::sample::Index,
        length: usize,
    },
    Insert {
        at: prop::sample::Index,
        bytes: Vec<u8>,
    },
    Exchange {
        first: prop::sample::Index,
        second: prop::sample::Index,
        length: usize,
    },
    Repeat {
        from: prop::sample::Index,
        to: prop::sample::Index,
        length: usize,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    use any as one;
    let some_bytes = || prop::collection::vec(any::<u8>(), 1..64);
    prop_oneof![
        (one::<prop::sample::Index>(), some_bytes())
            .prop_map(|(at, with)| Damage::Overwrite { at, with }),
        (one::<prop::sample::Index>(), 1..4096_usize)
            .prop_map(|(at, length)| Damage::Remove { at, length }),
        (one::<prop::sample::Index>(), some_bytes())
            .prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
        (
            one::<prop::sample::Index>(),
            one::<prop::sample::Index>(),
            8..4096_usize
        )
            .prop_map(|(first, second, length)| Damage::Exchange {
                first,
                second,
                length
            }),
        (
            one::<prop::sample::Index>(),
            one::<prop::sample::Index>(),
            8..4096_usize
        )
            .prop_map(|(from, to, length)| Damage::Repeat { from, to, length }),
    ]
}

fn spoil(bytes: &mut Vec<u8>, damage: Damage) {
    let size = bytes.len();
    match damage {
        Damage::Overwrite { at, with } => {
            let at = at.index(size);
            let end = size.min(at + with.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
        Damage::Remove { at, length } => {
            let at = at.index(size);
            bytes.drain(at..size.min(at + length));
        }
        Damage::Insert { at, bytes: more } => {
            let at = at.index(size);
            bytes.splice(at..at, more);
        }
        Damage::Exchange {
            first,
            second,
            length,
        } => {
            let (first, second) = (first.index(size), second.index(size));
            for offset in 0..length.min(size - first.max(second)) {
                bytes.swap(first + offset, second + offset);
            }
        }
        Damage::Repeat { from, to, length } => {
            let (from, to) = (from.index(size), to.index(size));
            let length = length.min(size - from.max(to));
            bytes.copy_within(from..from + length, to);
        }
    }
}

/// Enough cases for a test run; a seed is printed, not kept in a file.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn no_damage_deceives_a_reader(
        damages in prop::collection::vec(damage(), 1..4),
        is_compressed: bool,
    ) {
        let compression = if is_compressed { Compression::Lz4 } else { Compression::None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let root = tempfile::tempdir().unwrap();
            let written = Written::new(root.path(), compression, 50).await;
            let mut bytes = written.bytes.clone();
            for damage in damages {
                if !bytes.is_empty() {
                    spoil(&mut bytes, damage);
                }
            }
            if bytes == written.bytes {
                return Ok(());
            }
            written.check(&bytes).await
        })?;
    }
}
