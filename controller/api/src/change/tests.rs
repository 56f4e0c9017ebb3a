use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn parse(spec: Value) -> StreamJobSpec {
    serde_json::from_value(spec).unwrap()
}

/// A spec in which every field has another value than its default.
fn full() -> Value {
    json!({
        "program": {
            "image": "registry.example/team/word-count:1.0",
            "command": ["/word-count"],
            "args": ["--input", "/data/text"],
            "env": [{"name": "LANG", "value": "C"}],
        },
        "parallelism": 2,
        "maxParallelism": 64,
        "checkpoint": {
            "intervalSeconds": 5,
            "intervalMilliseconds": 500,
            "timeoutSeconds": 60,
            "minPauseSeconds": 1,
            "mode": "Aligned",
            "storage": {
                "url": "s3://bucket/jobs",
                "endpoint": "https://minio.example:9000",
                "region": "eu-west-1",
                "secretRef": {"name": "s3"},
            },
            "retention": {"count": 5},
        },
        "upgrade": {"mode": "Savepoint", "deadlineSeconds": 300, "rollback": "Never"},
        "startFrom": "Empty",
        "deletionPolicy": "Delete",
        "suspend": true,
        "restart": {
            "initialDelayMilliseconds": 100,
            "maxDelaySeconds": 30,
            "attempts": 5,
            "resetAfterSeconds": 300,
        },
        "logLevel": "Debug",
        "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
        "podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}}},
    })
}

/// Each field, another value for it, and its class.
#[rustfmt::skip]
fn edits() -> Vec<(&'static str, Value, ChangeClass)> {
    use ChangeClass::{Live, Redeploy, Refused, Rescale};
    vec![
        ("program.image", json!("registry.example/team/word-count:1.1"), Redeploy),
        ("program.command", json!(["/other"]), Redeploy),
        ("program.args", json!([]), Redeploy),
        ("program.env", json!([{"name": "LANG", "value": "de_DE"}]), Redeploy),
        ("parallelism", json!(3), Rescale),
        ("maxParallelism", json!(128), Refused),
        ("checkpoint.intervalSeconds", json!(10), Live),
        ("checkpoint.intervalMilliseconds", json!(100), Live),
        ("checkpoint.timeoutSeconds", json!(61), Redeploy),
        ("checkpoint.minPauseSeconds", json!(2), Redeploy),
        ("checkpoint.storage.url", json!("s3://bucket/other"), Redeploy),
        ("checkpoint.storage.endpoint", json!("https://other.example"), Redeploy),
        ("checkpoint.storage.region", json!("eu-west-2"), Redeploy),
        ("checkpoint.storage.secretRef.name", json!("other"), Redeploy),
        ("checkpoint.retention.count", json!(3), Live),
        ("upgrade.mode", json!("Stateless"), Live),
        ("upgrade.deadlineSeconds", json!(600), Live),
        ("upgrade.rollback", json!("LastStable"), Live),
        ("startFrom", json!("Latest"), Redeploy),
        ("deletionPolicy", json!("Retain"), Live),
        ("suspend", json!(false), Live),
        ("restart.initialDelayMilliseconds", json!(200), Redeploy),
        ("restart.maxDelaySeconds", json!(31), Redeploy),
        ("restart.attempts", json!(6), Redeploy),
        ("restart.resetAfterSeconds", json!(301), Redeploy),
        ("logLevel", json!("Info"), Live),
        ("resources.requests.cpu", json!("501m"), Redeploy),
        ("resources.limits.memory", json!("2Gi"), Redeploy),
        ("podTemplate.spec.nodeSelector.disk", json!("hdd"), Redeploy),
    ]
}

fn put(spec: &mut Value, path: &str, value: Value) {
    let mut place = spec;
    for key in path.split('.') {
        place = &mut place[key];
    }
    *place = value;
}

fn edited(path: &str, value: Value) -> StreamJobSpec {
    let mut spec = full();
    put(&mut spec, path, value);
    parse(spec)
}

#[test]
fn each_field_has_its_class_and_is_named_alone() {
    for (path, value, class) in edits() {
        let changes = classify(&parse(full()), &edited(path, value));
        let found: Vec<_> = changes
            .0
            .iter()
            .map(|c| (c.path.as_str(), c.class))
            .collect();
        assert_eq!(found, [(format!("spec.{path}").as_str(), class)]);
        let has_remedy = changes.0[0].remedy.is_some();
        assert_eq!(has_remedy, class == ChangeClass::Refused, "{path}");
    }
}

#[test]
fn every_field_of_a_spec_is_tried() {
    fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, member)| {
                leaves(
                    format!("{path}.{name}").trim_start_matches('.'),
                    member,
                    found,
                );
            }),
            _ => found.push(path.to_owned()),
        }
    }
    let mut fields = Vec::new();
    leaves("", &normalized(&parse(full())), &mut fields);
    for default in normalized(&StreamJobSpec::default())
        .as_object()
        .unwrap()
        .keys()
    {
        assert!(
            fields.iter().any(|field| field.starts_with(default)),
            "{default}"
        );
    }
    // Aligned is the only mode, so it cannot change.
    fields.retain(|field| field != "checkpoint.mode");
    let mut tried: Vec<_> = edits()
        .into_iter()
        .map(|(path, ..)| path.to_owned())
        .collect();
    fields.sort();
    tried.sort();
    assert_eq!(fields, tried);
}

#[test]
fn the_greatest_class_of_several_decides_and_the_text_names_them_all() {
    let mut spec = full();
    put(&mut spec, "logLevel", json!("Warn"));
    put(&mut spec, "suspend", json!(false));
    put(&mut spec, "parallelism", json!(4));
    let changes = classify(&parse(full()), &parse(spec.clone()));
    assert_eq!(changes.class(), ChangeClass::Rescale);
    put(&mut spec, "program.args", json!(["x"]));
    let changes = classify(&parse(full()), &parse(spec));
    assert_eq!(changes.class(), ChangeClass::Redeploy);
    let expected = "Redeploy: spec.program.args; Rescale: spec.parallelism; Live: spec.logLevel, \
                    spec.suspend";
    assert_eq!(changes.to_string(), expected);
}

#[test]
fn equal_specs_have_no_change() {
    let changes = classify(&parse(full()), &parse(full()));
    assert_eq!(changes.class(), ChangeClass::None);
    assert_eq!(changes.to_string(), "None");
}

#[test]
fn another_program_in_place_of_sql_is_a_new_revision() {
    let sql = parse(json!({"sql": "SELECT 1"}));
    let program = parse(json!({"program": {"image": "x"}}));
    let changes = classify(&sql, &program);
    assert_eq!(changes.to_string(), "Redeploy: spec.program, spec.sql");
    assert_ne!(revision(&sql), revision(&program));
}

/// These never change: a controller that computed another one would restart every job.
#[rstest]
#[case(json!({"program": {"image": "word-count:1.0"}}), "ce1f0972")]
#[case(json!({"sql": "SELECT 1"}), "02c7f315")]
#[case(full(), "ba83d9ea")]
fn a_revision_is_the_same_for_ever(#[case] spec: Value, #[case] expected: &str) {
    assert_eq!(revision(&parse(spec)), expected);
}

#[test]
fn what_makes_no_difference_to_the_job_makes_none_to_the_revision() {
    let short = json!({"program": {"image": "x"}});
    let mut long = normalized(&parse(short.clone()));
    long["podTemplate"] = json!({});
    long["resources"] = json!({"requests": {}, "limits": {}});
    long["sql"] = Value::Null;
    long["program"]["args"] = json!([]);
    long["checkpoint"]["storage"] = Value::Null;
    assert_eq!(
        revision(&parse(long.clone())),
        revision(&parse(short.clone()))
    );
    assert_eq!(classify(&parse(short), &parse(long)), Changes::default());

    for (path, value) in [
        ("resources.requests.cpu", json!("0.5")),
        ("resources.limits.memory", json!("1024Mi")),
    ] {
        let same = edited(path, value);
        assert_eq!(revision(&same), revision(&parse(full())), "{path}");
        assert_eq!(classify(&parse(full()), &same), Changes::default());
    }
}

#[test]
fn members_are_hashed_in_the_order_of_their_names() {
    let parse_text = |text: &str| serde_json::from_str::<StreamJobSpec>(text).unwrap();
    let one = r#"{"sql": "x", "podTemplate": {"a": {"c": 1, "b": [{"y": 1, "x": 2}]}}}"#;
    let other = r#"{"podTemplate": {"a": {"b": [{"x": 2, "y": 1}], "c": 1}}, "sql": "x"}"#;
    assert_eq!(revision(&parse_text(one)), revision(&parse_text(other)));
    let mut text = String::new();
    write_canonical(
        &json!({"b": [1, "x\"y", {}], "a": {"d": null, "c": true}}),
        &mut text,
    );
    assert_eq!(text, r#"{"a":{"c":true,"d":null},"b":[1,"x\"y",{}]}"#);
}

proptest! {
    #[test]
    fn a_revision_changes_with_those_fields_that_need_a_redeploy_and_no_other(
        first in proptest::collection::vec(any::<bool>(), 29),
        second in proptest::collection::vec(any::<bool>(), 29),
    ) {
        let spec = |chosen: &[bool]| {
            let mut spec = full();
            for ((path, value, _), _) in edits().into_iter().zip(chosen).filter(|(_, is)| **is) {
                put(&mut spec, path, value);
            }
            parse(spec)
        };
        let (old, new) = (spec(&first), spec(&second));
        let changes = classify(&old, &new);
        let is_same = changes.class() <= ChangeClass::Rescale;
        prop_assert_eq!(revision(&old) == revision(&new), is_same, "{}", changes);
        prop_assert_eq!(changes.0.len(), first.iter().zip(&second).filter(|(a, b)| a != b).count());
    }
}
