use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::job_config::{JobConfigError, StartPoint};

fn parse(spec: Value) -> StreamJobSpec {
    serde_json::from_value(spec).unwrap()
}

fn metadata() -> Metadata {
    Metadata {
        name: "word-count".into(),
        namespace: "default".into(),
        ..Metadata::default()
    }
}

/// A minimal spec with one member of `spec` put in.
fn with(path: &str, value: Value) -> StreamJobSpec {
    let mut spec = json!({"program": {"image": "word-count:1.0"}});
    let mut place = &mut spec;
    for key in path.split('.') {
        place = &mut place[key];
    }
    *place = value;
    parse(spec)
}

fn start(url: &str) -> Start {
    Start {
        storage: StorageConfig {
            url: url.to_owned(),
            endpoint: None,
            region: None,
        },
        listen_address: None,
        output: OutputConfig::default(),
        parent_process_id: None,
    }
}

#[test]
fn a_minimal_spec_is_valid_and_gets_the_defaults() {
    let spec = parse(json!({"program": {"image": "word-count:1.0"}}));
    let job = validate(&metadata(), &spec).unwrap();
    let config = job.job_config(start("/data")).unwrap();
    let expected = json!({
        "version": 1,
        "namespace": "default",
        "name": "word-count",
        "parallelism": 1,
        "maxParallelism": 128,
        "checkpoint": {
            "intervalMs": 10_000,
            "timeoutMs": 600_000,
            "minPauseMs": 0,
            "mode": "Aligned",
            "retainedCount": 3,
        },
        "storage": {"url": "/data"},
        "startFrom": {"kind": "Latest"},
        "restart": {
            "initialDelayMs": 200,
            "maxDelayMs": 60_000,
            "attempts": 10,
            "resetAfterMs": 600_000,
        },
        "logLevel": "Info",
        "output": {"format": "Text", "isTerminal": false},
    });
    assert_eq!(serde_json::to_value(&config).unwrap(), expected);
}

#[test]
fn the_defaults_of_an_absent_spec_and_of_absent_fields_are_the_same() {
    assert_eq!(parse(json!({})), StreamJobSpec::default());
    let emptied = json!({"checkpoint": {"retention": {}}, "upgrade": {}, "restart": {}});
    assert_eq!(parse(emptied), StreamJobSpec::default());
}

#[test]
fn an_interval_in_milliseconds_takes_the_place_of_seconds() {
    let spec = with(
        "checkpoint",
        json!({"intervalSeconds": 5, "intervalMilliseconds": 250}),
    );
    let job = validate(&metadata(), &spec).unwrap();
    assert_eq!(job.checkpoint.interval_ms, Some(250));
}

#[test]
fn an_interval_of_zero_takes_savepoints_only() {
    let spec = with("checkpoint", json!({"intervalSeconds": 0}));
    let job = validate(&metadata(), &spec).unwrap();
    assert_eq!(job.checkpoint.interval_ms, None);
}

#[test]
fn a_start_from_a_checkpoint_reaches_the_job_process() {
    let spec = with("startFrom", json!("s3://b/default/other#42"));
    let config = validate(&metadata(), &spec)
        .unwrap()
        .job_config(start("/data"))
        .unwrap();
    let expected = StartPoint::Checkpoint {
        folder: "s3://b/default/other".into(),
        checkpoint_id: Some(42),
    };
    assert_eq!(config.start_from, expected);
}

#[rstest]
#[case::logic("program", json!(null), "spec: neither sql nor program is given")]
#[case::both("sql", json!("SELECT 1"), "spec: both sql and program are given")]
#[case::image("program.image", json!(""), "spec.program.image: \"\" is no image")]
#[case::image_space("program.image", json!("a b"), "spec.program.image: \"a b\" is no image")]
#[case::command("program.command", json!([" "]), "spec.program.command[0]: it is empty")]
#[case::long_arg("program.args", json!(["x".repeat(4097)]),
    "spec.program.args[0]: it has 4097 characters")]
#[case::many_args("program.args", json!(vec!["x"; 257]), "spec.program.args: it has 257 entries")]
#[case::env("program.env", json!([{"name": "1A"}]),
    "spec.program.env[0].name: \"1A\" is no variable's name")]
#[case::env_twice("program.env", json!([{"name": "A"}, {"name": "A"}]),
    "spec.program.env[1].name: A is given twice")]
#[case::env_reserved("program.env", json!([{"name": "TIDEGATE_JOB_CONFIG"}]),
    "spec.program.env[0].name: TIDEGATE_JOB_CONFIG belongs to the runtime")]
#[case::parallelism("parallelism", json!(0), "spec.parallelism: 0 is out of bounds")]
#[case::max("maxParallelism", json!(40_000), "spec.maxParallelism: 40000 is out of bounds")]
#[case::above("parallelism", json!(129),
    "spec.parallelism: 129 exceeds spec.maxParallelism, 128")]
#[case::interval("checkpoint.intervalSeconds", json!(-1),
    "spec.checkpoint.intervalSeconds: -1 is out of bounds; give a number from 0 to 86400")]
#[case::milliseconds("checkpoint.intervalMilliseconds", json!(9),
    "spec.checkpoint.intervalMilliseconds: 9 is out of bounds")]
#[case::timeout("checkpoint.timeoutSeconds", json!(0),
    "spec.checkpoint.timeoutSeconds: 0 is out of bounds")]
#[case::pause("checkpoint.minPauseSeconds", json!(-5),
    "spec.checkpoint.minPauseSeconds: -5 is out of bounds")]
#[case::count("checkpoint.retention", json!({"count": 0}),
    "spec.checkpoint.retention.count: 0 is out of bounds")]
#[case::url("checkpoint.storage", json!({"url": ""}),
    "spec.checkpoint.storage.url: it is empty")]
#[case::scheme("checkpoint.storage", json!({"url": "ftp://host/x"}),
    "spec.checkpoint.storage.url: the scheme \"ftp\" is not supported; use s3://")]
#[case::bucket("checkpoint.storage", json!({"url": "s3:///x"}),
    "spec.checkpoint.storage.url: \"s3:///x\" names no bucket")]
#[case::file_host("checkpoint.storage", json!({"url": "file://data/x"}),
    "spec.checkpoint.storage.url: \"file://data/x\" has a host where a folder belongs; write \
     three slashes, as in file:///data/x")]
#[case::endpoint("checkpoint.storage", json!({"url": "s3://b", "endpoint": "minio:9000"}),
    "spec.checkpoint.storage.endpoint: \"minio:9000\" is no endpoint")]
#[case::region("checkpoint.storage", json!({"url": "/data", "region": "eu"}),
    "spec.checkpoint.storage.region: it has a meaning for s3:// only")]
#[case::secret("checkpoint.storage", json!({"url": "s3://b", "secretRef": {"name": ""}}),
    "spec.checkpoint.storage.secretRef.name: it is empty")]
#[case::start_from("startFrom", json!("latest"),
    "spec.startFrom: \"latest\" is neither Latest, nor Empty")]
#[case::delay("restart.initialDelayMilliseconds", json!(-1),
    "spec.restart.initialDelayMilliseconds: -1 is out of bounds")]
#[case::max_delay("restart.maxDelaySeconds", json!(4000),
    "spec.restart.maxDelaySeconds: 4000 is out of bounds")]
#[case::attempts("restart.attempts", json!(-1), "spec.restart.attempts: -1 is out of bounds")]
#[case::reset("restart.resetAfterSeconds", json!(0),
    "spec.restart.resetAfterSeconds: 0 is out of bounds")]
#[case::deadline("upgrade.deadlineSeconds", json!(1),
    "spec.upgrade.deadlineSeconds: 1 is out of bounds")]
#[case::memory("resources", json!({"limits": {"memory": "2GB"}}),
    "spec.resources.limits.memory: \"2GB\" is no quantity; write a number and a unit")]
#[case::template("podTemplate", json!("x"), "spec.podTemplate: it is no object")]
fn each_contradiction_is_named_by_its_field(
    #[case] path: &str,
    #[case] value: Value,
    #[case] expected: &str,
) {
    let errors = validate(&metadata(), &with(path, value)).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let message = errors[0].to_string();
    assert!(message.starts_with(expected), "{message}");
    assert!(!errors[0].remedy.is_empty(), "{message}");
}

#[rstest]
#[case("Word-Count")]
#[case("")]
#[case("-a")]
#[case("a.b")]
#[case("0123456789012345678901234567890123456789012345678901234567890123")]
fn a_name_that_kubernetes_would_refuse_is_refused(#[case] name: &str) {
    let metadata = Metadata {
        name: name.to_owned(),
        ..metadata()
    };
    let spec = parse(json!({"sql": "SELECT 1"}));
    let errors = validate(&metadata, &spec).unwrap_err();
    assert_eq!(errors[0].path, "metadata.name");
}

#[test]
fn every_contradiction_is_told_at_once() {
    let spec = parse(json!({"parallelism": 0, "restart": {"attempts": -1}}));
    let paths: Vec<_> = validate(&metadata(), &spec)
        .unwrap_err()
        .into_iter()
        .map(|error| error.path)
        .collect();
    assert_eq!(paths, ["spec", "spec.parallelism", "spec.restart.attempts"]);
}

#[test]
fn an_empty_sql_text_is_refused() {
    let errors = validate(&metadata(), &parse(json!({"sql": " \n"}))).unwrap_err();
    assert_eq!(errors[0].path, "spec.sql");
}

#[test]
fn a_config_survives_its_json() {
    let spec = parse(json!({"program": {"image": "x"}, "parallelism": 4}));
    let config = validate(&metadata(), &spec)
        .unwrap()
        .job_config(start("s3://b/p/"))
        .unwrap();
    assert_eq!(config.job_folder(), "s3://b/p/default/word-count");
    assert_eq!(JobConfig::from_json(&config.to_json()).unwrap(), config);
}

#[rstest]
#[case("/data", "/data/ns/job")]
#[case("/data//", "/data/ns/job")]
#[case("/odd?name", "/odd?name/ns/job")]
#[case("s3://bucket", "s3://bucket/ns/job")]
#[case("s3://bucket/p/?region=eu", "s3://bucket/p/ns/job?region=eu")]
#[case(
    "s3://bucket?endpoint=http://h:1",
    "s3://bucket/ns/job?endpoint=http://h:1"
)]
fn a_jobs_folder_lies_below_the_storage_url(#[case] url: &str, #[case] folder: &str) {
    assert_eq!(crate::job_config::job_folder(url, "ns", "job"), folder);
}

#[rstest]
#[case("/parallelism", json!(0), "the job configuration's parallelism is 0: it must be at least 1")]
#[case("/parallelism", json!(200),
    "the job configuration's parallelism is 200: it must not exceed maxParallelism, 128")]
#[case("/maxParallelism", json!(0), "the job configuration's maxParallelism is 0")]
#[case("/checkpoint/timeoutMs", json!(0), "the job configuration's checkpoint.timeoutMs is 0")]
#[case("/checkpoint/intervalMs", json!(0), "the job configuration's checkpoint.intervalMs is 0")]
#[case("/checkpoint/retainedCount", json!(0),
    "the job configuration's checkpoint.retainedCount is 0")]
#[case("/storage/url", json!(""), "the job configuration's storage.url is empty")]
#[case("/name", json!(""), "the job configuration's name is empty")]
#[case("/version", json!(2), "the job configuration has version 2, this program reads 1")]
#[case("/logLevel", json!("Loud"), "parse the job configuration")]
fn a_config_that_breaks_an_invariant_is_refused(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] expected: &str,
) {
    let spec = parse(json!({"program": {"image": "x"}}));
    let config = validate(&metadata(), &spec)
        .unwrap()
        .job_config(start("/data"))
        .unwrap();
    let mut json = serde_json::to_value(&config).unwrap();
    *json.pointer_mut(pointer).unwrap() = value;
    let error: JobConfigError = JobConfig::from_json(&json.to_string()).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
}
