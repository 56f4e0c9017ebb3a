//! The index in a state file's footer: where each batch lies, its checksum, its key groups' rows.

use serde::{Deserialize, Serialize};
use tidegate_protocol::{FileKind, KeyGroup, KeyGroupRange};
use xxhash_rust::xxh3::xxh3_64;

/// The footer's metadata key of the format version.
pub(super) const FORMAT_KEY: &str = "tidegate.format";
/// The footer's metadata key of the index.
pub(super) const INDEX_KEY: &str = "tidegate.index";
/// The footer's metadata key of the index's checksum.
pub(super) const INDEX_CHECKSUM_KEY: &str = "tidegate.index.checksum";

/// A checksum as manifests and indexes write it: xxh3-64, 16 hexadecimal digits.
pub(super) fn checksum_text(checksum: u64) -> String {
    format!("{checksum:016x}")
}

/// What a state file says about itself.
///
/// # Invariants
/// The head and the batches follow each other without a gap from the file's first byte on; key
/// groups ascend over all runs, and lie in `key_groups`; the runs add up to `row_count`
/// (`an_index_that_contradicts_itself_is_refused`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileIndex {
    /// The path it was written under, so that a file in another's place is noticed.
    pub(super) path: String,
    pub(super) kind: FileKind,
    /// The key groups that the subtask owned that wrote it.
    pub(super) key_groups: KeyGroupRange,
    pub(super) row_count: u64,
    /// The magic bytes and the schema.
    pub(super) head: Block,
    pub(super) batches: Vec<BatchIndex>,
}

/// A part of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Block {
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
    /// xxh3-64, 16 hexadecimal digits.
    pub(super) checksum: String,
}

/// One encoded batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchIndex {
    #[serde(flatten)]
    pub(super) block: Block,
    /// Key groups with their numbers of rows, in the rows' order.
    pub(super) runs: Vec<(KeyGroup, u32)>,
}

impl Block {
    /// The first byte after it.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size_bytes)
    }

    /// Whether these are the bytes that were written.
    pub(super) fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.size_bytes && checksum_text(xxh3_64(bytes)) == self.checksum
    }
}

impl BatchIndex {
    /// The number of rows.
    pub(super) fn row_count(&self) -> u64 {
        self.runs
            .iter()
            .map(|(_, row_count)| u64::from(*row_count))
            .sum()
    }

    /// The rows whose key groups lie in the range, as their start and number.
    pub(super) fn rows_in(&self, range: KeyGroupRange) -> (usize, usize) {
        let rows = |is_counted: &dyn Fn(KeyGroup) -> bool| {
            let counted = self.runs.iter().filter(|(group, _)| is_counted(*group));
            counted.map(|(_, row_count)| *row_count as usize).sum()
        };
        (
            rows(&|group| group.0 < range.start),
            rows(&|group| range.contains(group)),
        )
    }
}

impl FileIndex {
    /// The index as text, and the text's checksum.
    pub(super) fn to_text(&self) -> serde_json::Result<(String, String)> {
        let text = serde_json::to_string(self)?;
        let checksum = checksum_text(xxh3_64(text.as_bytes()));
        Ok((text, checksum))
    }

    /// Reads what [`FileIndex::to_text`] wrote; else says what is wrong.
    pub(super) fn parse(text: &str, checksum: &str, size_bytes: u64) -> Result<Self, String> {
        if checksum_text(xxh3_64(text.as_bytes())) != checksum {
            return Err("the checksum of its index does not match".into());
        }
        let index: Self = serde_json::from_str(text)
            .map_err(|error| format!("its index is malformed: {error}"))?;
        match index.contradiction(size_bytes) {
            Some(problem) => Err(format!("its index contradicts itself: {problem}")),
            None => Ok(index),
        }
    }

    fn contradiction(&self, size_bytes: u64) -> Option<String> {
        if self.head.offset != 0 {
            return Some("the head is not at the start".into());
        }
        let mut end = self.head.end();
        let mut last_group = self.key_groups.start;
        for batch in &self.batches {
            if batch.block.offset != end {
                return Some(format!("there is a gap at byte {end}"));
            }
            end = batch.block.end();
            for (group, _) in &batch.runs {
                if group.0 < last_group || !self.key_groups.contains(*group) {
                    return Some(format!("key group {} is out of place", group.0));
                }
                last_group = group.0;
            }
        }
        if end > size_bytes {
            return Some(format!("byte {end} lies behind the file's end"));
        }
        let row_count: u64 = self.batches.iter().map(BatchIndex::row_count).sum();
        (row_count != self.row_count)
            .then(|| format!("it has {row_count} rows, not {}", self.row_count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(offset: u64, size_bytes: u64) -> Block {
        Block {
            offset,
            size_bytes,
            checksum: "0".repeat(16),
        }
    }

    fn index() -> FileIndex {
        let batch = |offset, runs: &[(u16, u32)]| BatchIndex {
            block: block(offset, 50),
            runs: runs
                .iter()
                .map(|(group, rows)| (KeyGroup(*group), *rows))
                .collect(),
        };
        FileIndex {
            path: "state/1/1/count-0.arrow".into(),
            kind: FileKind::Base,
            key_groups: KeyGroupRange { start: 4, end: 9 },
            row_count: 10,
            head: block(0, 100),
            batches: vec![batch(100, &[(4, 1), (6, 2)]), batch(150, &[(6, 3), (8, 4)])],
        }
    }

    fn parse(index: &FileIndex) -> Result<FileIndex, String> {
        let (text, checksum) = index.to_text().unwrap();
        FileIndex::parse(&text, &checksum, 200)
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        assert_eq!(parse(&index()).unwrap(), index());
        let (text, checksum) = index().to_text().unwrap();
        let problem = FileIndex::parse(&text.replace('6', "7"), &checksum, 200).unwrap_err();
        assert!(problem.contains("checksum"), "{problem}");
    }

    #[test]
    fn an_index_that_contradicts_itself_is_refused() {
        type Spoil = fn(&mut FileIndex);
        let cases: [(Spoil, &str); 7] = [
            (
                |index| index.head.offset = 1,
                "the head is not at the start",
            ),
            (
                |index| index.batches[1].block.offset = 151,
                "a gap at byte 150",
            ),
            (|index| index.batches.swap(0, 1), "a gap at byte 100"),
            (
                |index| index.batches[1].block.size_bytes = 51,
                "byte 201 lies behind",
            ),
            (
                |index| index.batches[1].runs[0].0 = KeyGroup(5),
                "key group 5 is out of place",
            ),
            (
                |index| index.key_groups.end = 8,
                "key group 8 is out of place",
            ),
            (|index| index.row_count = 11, "it has 10 rows, not 11"),
        ];
        for (spoil, expected) in cases {
            let mut spoilt = index();
            spoil(&mut spoilt);
            let problem = parse(&spoilt).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_ranges_rows_are_found_in_a_batch() {
        let rows = |start, end| index().batches[1].rows_in(KeyGroupRange { start, end });
        assert_eq!(rows(0, 128), (0, 7));
        assert_eq!(rows(6, 7), (0, 3));
        assert_eq!(rows(7, 9), (3, 4));
        assert_eq!(rows(9, 20).1, 0);
    }
}
