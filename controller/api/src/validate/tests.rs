use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::job_config::{JobConfigError, OnTerminate, SecureApiConfig, StartPoint};

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

/// A row of the table that the API server is tried with too.
#[derive(serde::Deserialize)]
struct Invalid {
    name: Option<String>,
    spec: Option<Value>,
    path: String,
    message: Option<String>,
    validate: Option<String>,
}

fn merge(target: &mut Value, patch: &Value) {
    match patch.as_object() {
        None => *target = patch.clone(),
        Some(members) => {
            for (name, member) in members {
                merge(&mut target[name], member);
            }
        }
    }
}

#[test]
fn every_spec_that_the_api_server_refuses_is_refused_in_the_same_words() {
    let rows: Vec<Invalid> =
        yaml_serde::from_str(include_str!("../../tests/invalid_specs.yaml")).unwrap();
    assert!(rows.len() >= 30);
    for row in rows {
        let mut spec = json!({"program": {"image": "word-count:1.0"}});
        if let Some(patch) = &row.spec {
            merge(&mut spec, patch);
        }
        let metadata = Metadata {
            name: row.name.unwrap_or(metadata().name),
            ..metadata()
        };
        let expected = row.validate.or(row.message).unwrap();
        let parsed: Result<StreamJobSpec, _> = serde_json::from_value(spec.clone());
        assert_eq!(parsed.is_err(), expected == "parse", "{spec}: {parsed:?}");
        let Ok(parsed) = parsed else { continue };
        let errors = validate_for_cluster(&metadata, &parsed).unwrap_err();
        assert_eq!(errors.len(), 1, "{spec}: {errors:?}");
        let message = errors[0].to_string();
        assert_eq!(errors[0].path, row.path, "{message}");
        assert!(message.contains(&expected), "{message}");
        assert!(
            !errors[0].remedy.is_empty() && !message.contains("key:secret"),
            "{message}"
        );
    }
}

#[rstest]
#[case::long_arg("program.args", json!(["x".repeat(4097)]),
    "spec.program.args[0]: it has 4097 characters; at most 4096 fit")]
#[case::many_args("program.args", json!(vec!["x"; 257]),
    "spec.program.args: it has 257 entries; at most 256 fit")]
#[case::long_start("startFrom", json!(format!("/{}", "x".repeat(2048))),
    "spec.startFrom: it has 2049 characters; at most 2048 fit")]
#[case::long_url("checkpoint.storage", json!({"url": format!("/{}", "x".repeat(1024))}),
    "spec.checkpoint.storage.url: it has 1025 characters; at most 1024 fit")]
#[case::long_region("checkpoint.storage", json!({"url": "s3://bucket", "region": "x".repeat(64)}),
    "spec.checkpoint.storage.region: it has 64 characters; at most 63 fit")]
fn what_is_too_long_is_refused(#[case] path: &str, #[case] value: Value, #[case] expected: &str) {
    let errors = validate(&metadata(), &with(path, value)).unwrap_err();
    assert_eq!(errors[0].to_string(), expected);
}

#[rstest]
#[case("checkpoint.storage", json!({"url": "jobs"}))]
#[case("startFrom", json!("./data/default/word-count#3"))]
#[case("checkpoint.storage", json!({"url": "/tmp/jobs"}))]
#[case("checkpoint.storage", json!({"url": "file:///tmp"}))]
fn a_relative_path_and_one_that_goes_with_a_pod_are_for_laptops_only(
    #[case] path: &str,
    #[case] value: Value,
) {
    let spec = with(path, value);
    assert!(validate(&metadata(), &spec).is_ok());
    assert!(validate_for_cluster(&metadata(), &spec).is_err());
}

/// What looks like something that the controller owns, and is none of it.
#[test]
fn a_pod_template_may_say_what_is_not_the_controllers() {
    let spec = with(
        "podTemplate",
        json!({"spec": {
            "containers": [
                {"name": "job", "envFrom": [{"prefix": "TIDE_"}, {}], "volumeMounts": [
                    {"name": "a", "mountPath": "/tmp/cache"},
                    {"name": "b", "mountPath": "/etc/tidegate-extra"},
                    {"name": "c", "mountPath": "/data/etc/tidegate"},
                    {"name": "d", "mountPath": "/data/..hidden/tmp"},
                    {"name": "e", "mountPath": "/etc"},
                ]},
                {"name": "proxy", "envFrom": [{"prefix": "TIDEGATE_"}], "volumeMounts": [
                    {"name": "f", "mountPath": "/tmp"},
                    {"name": "g", "mountPath": "/etc/tidegate"},
                ]},
            ],
            "initContainers": [{"name": "before", "ports": [{"containerPort": 8080}]}],
            "volumes": [{"name": "tmp", "persistentVolumeClaim": {"claimName": "scratch"}}],
        }}),
    );
    let refused = validate_for_cluster(&metadata(), &spec).err();
    assert_eq!(refused, None);
}

#[rstest]
#[case("Word-Count")]
#[case("")]
#[case("-a")]
#[case("a.b")]
#[case("a23456789012345678901234567890123456789012345678901234567890123")]
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

#[test]
fn what_only_a_cluster_needs_is_absent_elsewhere_and_comes_through_as_json() {
    let spec = parse(json!({"program": {"image": "x"}}));
    let job = validate(&metadata(), &spec).unwrap();
    let mut config = job.job_config(start("/data")).unwrap();
    let absent = [
        "startGeneration",
        "hold",
        "linger",
        "onTerminate",
        "secureApi",
    ];
    let json = serde_json::to_value(&config).unwrap();
    assert!(
        absent.iter().all(|field| json.get(field).is_none()),
        "{json}"
    );
    config.start_generation = Some(7);
    (config.hold, config.linger) = (true, true);
    config.on_terminate = OnTerminate::Checkpoint;
    config.secure_api = Some(SecureApiConfig {
        address: "0.0.0.0:8443".to_owned(),
        certificate_folder: "/etc/tidegate/tls".to_owned(),
        server_names: vec!["job.ns.job.tidegate.internal".to_owned()],
        client_names: vec!["controller.tidegate.internal".to_owned()],
    });
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["startGeneration"], 7);
    assert_eq!(json["onTerminate"], "Checkpoint");
    assert_eq!(json["secureApi"]["certificateFolder"], "/etc/tidegate/tls");
    assert_eq!(JobConfig::from_json(&json.to_string()).unwrap(), config);
    config.secure_api.as_mut().unwrap().client_names.clear();
    let error = JobConfig::from_json(&config.to_json()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the job configuration's secureApi.clientNames is empty: it must be given"
    );
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
