use proptest::prelude::*;

use super::*;

const GOLDEN: &[u8] = include_bytes!("../../tests/golden/format-1-checkpoint.json");
const GOLDEN_FENCE: &[u8] = include_bytes!("../../tests/golden/format-1-fence.json");

fn number(value: u64) -> LogNumber {
    LogNumber::new(value).unwrap()
}

fn golden() -> Entry {
    Entry::parse(GOLDEN, number(42)).unwrap()
}

/// The trailer is part of the format, so a test that edits JSON seals it anew.
fn seal(json: &serde_json::Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(json).unwrap();
    bytes.pop();
    let digits = format!("{:016x}", xxh3_64(&bytes));
    bytes.extend_from_slice(format!(",\"checksum\":\"{digits}\"}}\n").as_bytes());
    bytes
}

fn golden_json() -> serde_json::Value {
    let mut json: serde_json::Value = serde_json::from_slice(GOLDEN).unwrap();
    json.as_object_mut().unwrap().remove("checksum");
    json
}

#[test]
fn the_golden_checkpoint_of_format_1_is_read_for_ever() {
    let entry = golden();
    let EntryBody::Checkpoint(manifest) = &entry.body else {
        panic!("the golden entry is a checkpoint");
    };
    assert_eq!(entry.retained, [number(37), number(42)]);
    assert_eq!(manifest.checkpoint.get(), 17);
    assert_eq!(manifest.attempt.get(), 38);
    assert_eq!(manifest.operators.len(), 3);
    assert_eq!(manifest.files().count(), 3);
    assert_eq!(manifest.size_bytes(), 4096 + 512 + 2048);
    assert_eq!(manifest.operators[0].subtasks[1].items[0]["offset"], 77);
    assert_eq!(
        manifest.operators[1].subtasks[0].watermark_ms,
        Some(1_764_000_000_000)
    );
}

#[test]
fn what_is_written_is_what_format_1_says() {
    assert_eq!(
        String::from_utf8_lossy(&golden().to_bytes()),
        String::from_utf8_lossy(GOLDEN)
    );
}

#[test]
fn the_golden_fence_of_format_1_is_read_for_ever() {
    let entry = Entry::parse(GOLDEN_FENCE, number(43)).unwrap();
    let EntryBody::Fence { base, writer, .. } = &entry.body else {
        panic!("the golden entry is a fence");
    };
    assert_eq!(*base, Base::Checkpoint(number(42)));
    assert_eq!(writer, "word-count-0");
    assert_eq!(entry.to_bytes(), GOLDEN_FENCE);
}

#[test]
fn a_start_generation_is_written_only_where_there_is_one() {
    let mut entry = golden();
    assert_eq!(entry.start_generation, 0);
    entry.start_generation = 5;
    let bytes = entry.to_bytes();
    assert!(String::from_utf8_lossy(&bytes).contains("\"startGeneration\":5"));
    assert_eq!(Entry::parse(&bytes, number(42)).unwrap(), entry);
}

#[test]
fn a_savepoints_name_is_written_only_where_there_is_one() {
    let mut entry = golden();
    let EntryBody::Checkpoint(manifest) = &mut entry.body else {
        panic!("the golden entry is a checkpoint");
    };
    assert_eq!(manifest.name, None);
    manifest.name = Some("before-upgrade".to_owned());
    let bytes = entry.to_bytes();
    assert!(String::from_utf8_lossy(&bytes).contains("\"name\":\"before-upgrade\""));
    assert_eq!(Entry::parse(&bytes, number(42)).unwrap(), entry);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut json = golden_json();
    json["format"] = 2.into();
    json["checkpoint"] = "a thing of the future".into();
    let error = Entry::parse(&seal(&json), number(42)).unwrap_err();
    assert!(
        matches!(error, EntryError::Newer { format: 2, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("entry 42 has format 2"),
        "{error}"
    );
    // Also when the newer format no longer ends with this trailer.
    let bytes = serde_json::to_vec(&json).unwrap();
    let error = Entry::parse(&bytes, number(42)).unwrap_err();
    assert!(
        matches!(error, EntryError::Newer { format: 2, .. }),
        "{error}"
    );
}

#[test]
fn an_unknown_field_of_the_same_format_is_ignored() {
    let mut json = golden_json();
    json["note"] = "from a later minor version".into();
    assert_eq!(Entry::parse(&seal(&json), number(42)).unwrap(), golden());
}

#[test]
fn a_copied_entry_is_refused() {
    let error = Entry::parse(GOLDEN, number(41)).unwrap_err();
    assert!(matches!(error, EntryError::Misplaced { .. }), "{error}");
}

#[test]
fn every_truncation_is_refused() {
    for length in 0..GOLDEN.len() {
        assert!(
            Entry::parse(&GOLDEN[..length], number(42)).is_err(),
            "{length} bytes"
        );
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for index in 0..GOLDEN.len() {
        for bit in 0..8 {
            let mut bytes = GOLDEN.to_vec();
            bytes[index] ^= 1 << bit;
            assert!(
                Entry::parse(&bytes, number(42)).is_err(),
                "bit {bit} of byte {index}"
            );
        }
    }
}

#[rstest::rstest]
#[case::retained_lacks_itself("/retained", "[37]", "retained lacks")]
#[case::retained_is_unordered("/retained", "[42, 37]", "not ascending")]
#[case::retained_names_the_future("/retained", "[42, 50]", "comes later")]
#[case::attempt_from_the_future("/checkpoint/attempt", "42", "attempt")]
#[case::too_parallel("/checkpoint/parallelism", "129", "maxParallelism")]
#[case::gap("/checkpoint/operators/1/subtasks/1/subtask", "2", "a gap")]
#[case::range(
    "/checkpoint/operators/1/subtasks/1/keyGroups/end",
    "129",
    "out of bounds"
)]
#[case::file_range(
    "/checkpoint/operators/1/subtasks/1/files/0/keyGroups/end",
    "129",
    "out of bounds"
)]
#[case::checksum(
    "/checkpoint/operators/1/subtasks/1/files/0/checksum",
    "\"xyz\"",
    "hexadecimal"
)]
#[case::operator_twice("/checkpoint/operators/1/operator", "\"lines\"", "twice")]
fn contradictory_fields_are_refused(
    #[case] pointer: &str,
    #[case] value: &str,
    #[case] message: &str,
) {
    let mut json = golden_json();
    *json.pointer_mut(pointer).unwrap() = serde_json::from_str(value).unwrap();
    let error = Entry::parse(&seal(&json), number(42)).unwrap_err();
    assert!(error.to_string().contains(message), "{error}");
}

proptest! {
    #[test]
    fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Entry::parse(&bytes, number(1)).is_err());
    }

    #[test]
    fn reordered_pieces_are_refused(
        from in 0..GOLDEN.len(),
        to in 0..GOLDEN.len(),
        len in 1..40usize,
    ) {
        let mut bytes = GOLDEN.to_vec();
        let end = (from + len).min(bytes.len());
        let piece: Vec<u8> = bytes.drain(from..end).collect();
        let at = to.min(bytes.len());
        bytes.splice(at..at, piece);
        prop_assume!(bytes != GOLDEN);
        prop_assert!(Entry::parse(&bytes, number(42)).is_err());
    }
}
