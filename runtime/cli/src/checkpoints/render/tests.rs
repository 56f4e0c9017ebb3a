use super::*;
use crate::golden;

const URL: &str = "s3://bucket/jobs/default/word-count";

/// A manifest of a checkpoint with two files of ten and two megabytes.
fn manifest(id: u64, kind: &str) -> Manifest {
    let file = |path: &str, kind: &str, size_bytes: u64| {
        json!({
            "path": path, "kind": kind, "sizeBytes": size_bytes, "checksum": "00112233aabbccdd",
            "keyGroups": {"start": 0, "end": 128}, "rowCount": size_bytes / 16,
        })
    };
    let completed_ms = 1_795_510_800_000 + 1000 * id;
    serde_json::from_value(json!({
        "checkpoint": id, "kind": kind, "attempt": 3, "triggeredMs": completed_ms - 24,
        "completedMs": completed_ms, "parallelism": 2, "maxParallelism": 128,
        "planFingerprint": "0123456789abcdef", "isFinal": false,
        "operators": [
            {
                "operator": "lines", "name": "text lines",
                "subtasks": [
                    {
                        "subtask": 0, "keyGroups": {"start": 0, "end": 0},
                        "items": [{"split": "kjv.txt", "position": 4096}],
                    },
                    {"subtask": 1, "keyGroups": {"start": 0, "end": 0}},
                ],
            },
            {
                "operator": "count", "name": "count words",
                "schema": {
                    "key": "String",
                    "columns": [{"name": "count", "kind": "value", "dataType": "u64"}],
                },
                "subtasks": [{
                    "subtask": 0, "keyGroups": {"start": 0, "end": 128},
                    "files": [
                        file("state/3/40/count-0.arrow", "Base", 10_000_000),
                        file("state/3/42/count-0.arrow", "Increment", 2_340_000),
                    ],
                }],
            },
        ],
    }))
    .unwrap()
}

fn latest(body: Value, checkpoints: Vec<(u64, Manifest)>) -> Latest {
    let entry = json!({"format": 1, "number": 9, "nonce": 1, "retained": []});
    let Value::Object(mut entry) = entry else {
        unreachable!()
    };
    let Value::Object(body) = body else {
        panic!("a body is an object")
    };
    entry.extend(body);
    Latest {
        entry: serde_json::from_value(Value::Object(entry)).unwrap(),
        checkpoints: checkpoints
            .into_iter()
            .map(|(number, manifest)| (LogNumber::new(number).unwrap(), manifest))
            .collect(),
        damaged: Vec::new(),
    }
}

fn fence(base: Value) -> Value {
    json!({"fence": {"createdMs": 0, "writer": "", "base": base}})
}

fn two() -> Latest {
    let mut savepoint = manifest(42, "Savepoint");
    savepoint.name = Some("before-upgrade".to_owned());
    let checkpoints = vec![(7, manifest(41, "Checkpoint")), (8, savepoint)];
    latest(fence(json!({"checkpoint": 8})), checkpoints)
}

#[test]
fn checkpoints_are_listed() {
    golden::check("checkpoints-list.txt", &list_text(URL, &two()));
    golden::check("checkpoints-list.json", &list_json(URL, &two()));
}

#[test]
fn a_checkpoint_is_shown() {
    golden::check(
        "checkpoints-show.txt",
        &show_text(URL, &manifest(42, "Savepoint")),
    );
    let number = LogNumber::new(8).unwrap();
    golden::check(
        "checkpoints-show.json",
        &show_json(URL, number, &manifest(42, "Savepoint")),
    );
}

#[test]
fn a_job_that_starts_empty_says_so() {
    let text = list_text(URL, &latest(fence(json!("empty")), Vec::new()));
    assert_eq!(
        text,
        format!("{URL}\n\nno checkpoint is kept\n\nthe next run starts without state\n")
    );
}
