use rstest::rstest;

use super::*;

fn manifest(max_parallelism: u32, row_count: u64) -> Manifest {
    let file = json!({
        "path": "state/1/1/a.arrow", "kind": "Base", "sizeBytes": 1, "checksum": "",
        "keyGroups": {"start": 0, "end": max_parallelism}, "rowCount": row_count,
    });
    let operator = |id: &str| {
        json!({
            "operator": id, "name": id, "schema": {"key": "u64", "columns": []},
            "subtasks": [{
                "subtask": 0, "keyGroups": {"start": 0, "end": max_parallelism}, "files": [file],
            }],
        })
    };
    serde_json::from_value(json!({
        "checkpoint": 1, "kind": "Checkpoint", "attempt": 1, "triggeredMs": 0, "completedMs": 0,
        "parallelism": 1, "maxParallelism": max_parallelism, "planFingerprint": "",
        "isFinal": false, "operators": [operator("a"), operator("b")],
    }))
    .unwrap()
}

#[rstest]
#[case(128, 0, 1)]
#[case(128, 400_000, 1)]
#[case(128, 10_000_000, 21)]
#[case(4, 10_000_000, 4)]
#[case(32_768, u64::MAX / 2, 32_768)]
fn ranges_cover_every_key_group_once(
    #[case] groups: u32,
    #[case] row_count: u64,
    #[case] expected: usize,
) {
    let manifest = manifest(groups, row_count);
    let ranges = ranges(&manifest, &manifest.operators[0]);
    assert_eq!(ranges.len(), expected);
    let mut next = 0;
    for range in ranges {
        assert_eq!(range.start, next);
        assert!(range.end > range.start);
        next = range.end;
    }
    assert_eq!(u32::from(next), groups);
}

#[test]
fn several_keyed_operators_ask_which() {
    let manifest = manifest(4, 1);
    assert_eq!(choose(&manifest, Some("b")).unwrap().operator.as_str(), "b");
    let failure = choose(&manifest, None).unwrap_err();
    assert_eq!(
        failure.messages,
        ["several operators keep state by key, a, b; choose one with --operator"]
    );
}

#[test]
fn a_state_that_is_not_set_leaves_its_cell_empty() {
    let manifest = manifest(4, 1);
    let row = |key: &str, state: &[(&str, Value)]| Row {
        key: json!(key),
        key_group: 1,
        state: state
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    };
    let rows = [
        row(
            "a",
            &[("names", json!(["x"])), ("_event_timers", json!([5]))],
        ),
        row("b", &[("count", json!(12345))]),
    ];
    let text = render_text(&manifest.operators[0], &rows, None);
    let expected = "KEY  KEY GROUP  names  count\n\
                    a            1  [\"x\"]\n\
                    b            1         12345\n";
    assert_eq!(text, expected);
    assert_eq!(
        render_text(&manifest.operators[0], &[], None),
        "KEY  KEY GROUP\na keeps no rows\n"
    );
}
