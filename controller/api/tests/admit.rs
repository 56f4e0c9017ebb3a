//! What a real API server does with the resources: refusals, defaults, columns, scale.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::fs;

use harness::{Namespace, checkpoint, job, workspace};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_api::StreamJobSpec;
use tidegate_api::status::{ConditionType, Reason};

const WORKERS: usize = 4;

/// A row of the table that `validate_for_cluster` is tried with too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invalid {
    name: Option<String>,
    spec: Option<Value>,
    path: String,
    server_path: Option<String>,
    message: Option<String>,
    server: Option<String>,
}

impl Invalid {
    /// What is wrong with the server's answer.
    fn complaint(&self, namespace: &Namespace) -> Option<String> {
        let name = self.name.as_deref().unwrap_or("word-count");
        let object = job(name, self.spec.as_ref().unwrap_or(&json!({})));
        let (is_done, text) = namespace.try_apply(&object.to_string());
        let path = self.server_path.as_ref().unwrap_or(&self.path);
        let message = self.server.as_ref().or(self.message.as_ref()).unwrap();
        let is_told = text.contains(path) && text.contains(message);
        let is_secret_told = text.contains("key:secret");
        let is_fine = !is_done && is_told && !is_secret_told;
        (!is_fine).then(|| {
            format!(
                "{}\n  wanted: {path}: {message}\n  got: {text}",
                object["spec"]
            )
        })
    }
}

#[test]
fn each_bad_spec_is_refused_with_what_to_do() {
    let namespace = Namespace::new("bad");
    let table = include_str!("invalid_specs.yaml");
    let rows: Vec<Invalid> = yaml_serde::from_str(table).unwrap();
    assert!(rows.len() >= 30);
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let workers = rows.chunks(rows.len().div_ceil(WORKERS)).map(|rows| {
            let complain = |row: &Invalid| row.complaint(&namespace);
            scope.spawn(move || rows.iter().filter_map(complain).collect::<Vec<_>>())
        });
        let workers: Vec<_> = workers.collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_misspelt_field_is_refused() {
    let namespace = Namespace::new("unknown");
    let object = job("misspelt", &json!({"restarts": {"attempts": 3}}));
    let (is_done, text) = namespace.try_apply(&object.to_string());
    assert!(
        !is_done && text.contains("unknown field \"spec.restarts\""),
        "{text}"
    );
}

#[test]
fn every_example_and_every_manifest_of_the_documentation_is_accepted() {
    let namespace = Namespace::new("good");
    let mut manifests = Vec::new();
    for entry in fs::read_dir(workspace().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            manifests.push((path.clone(), fs::read_to_string(path).unwrap()));
        }
    }
    for page in ["docs/streamjob.md", "docs/checkpoint-resource.md"] {
        let path = workspace().join(page);
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("```yaml\n").skip(1);
        let blocks = blocks.map(|block| block.split("```").next().unwrap());
        let whole = blocks.filter(|block| block.starts_with("apiVersion:"));
        manifests.extend(whole.map(|block| (path.clone(), block.to_owned())));
    }
    assert!(manifests.len() >= 4);
    for (path, text) in manifests {
        let (is_done, answer) = namespace.try_apply(&text);
        assert!(is_done, "{}: {answer}", path.display());
    }
}

#[test]
fn whatever_a_spec_may_hold_is_accepted_and_nulls_are_no_values() {
    let namespace = Namespace::new("full");
    let full = json!({
        "sql": null,
        "program": {
            "image": "registry.example:5000/team/word-count:1.0",
            "command": ["/word-count"],
            "args": ["--input", "/data"],
            "env": [{"name": "LANG", "value": "C"}, {"name": "EMPTY"}],
        },
        "parallelism": 2,
        "maxParallelism": 64,
        "checkpoint": {
            "intervalSeconds": 0,
            "intervalMilliseconds": null,
            "minPauseSeconds": 5,
            "storage": {
                "url": "s3://bucket/jobs",
                "endpoint": "http://minio:9000",
                "region": null,
                "secretRef": null,
            },
        },
        "startFrom": "s3://bucket/jobs/default/other#42",
        "restart": {"initialDelayMilliseconds": 0, "maxDelaySeconds": 0},
        "resources": {
            "requests": {"cpu": 1, "memory": "1Gi", "example.com/gpu": 1, "hugepages-2Mi": "64Mi"},
            "limits": {"cpu": "1000m", "memory": "1Gi", "hugepages-2Mi": "64Mi"},
        },
        "podTemplate": {
            "metadata": {"labels": {"team": "a"}, "annotations": {"b": "c"}},
            "spec": {
                "serviceAccountName": "job",
                "nodeSelector": {"disk": "ssd"},
                "containers": [
                    {
                        "name": "job",
                        "env": [{
                            "name": "KEY",
                            "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}},
                        }],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    },
                    {"name": "proxy", "image": "proxy:1", "ports": [{"containerPort": 9090}]},
                ],
                "volumes": [{"name": "data", "emptyDir": {}}],
            },
        },
    });
    let object = job("full", &full).to_string();
    let apply = ["apply", "--dry-run=server", "-o", "json", "-f", "-"];
    let stored: Value = serde_json::from_str(&namespace.done(&apply, Some(&object))).unwrap();
    // What has no schema comes through whole, and the types read what the server stores.
    assert_eq!(stored["spec"]["podTemplate"], full["podTemplate"]);
    let typed: StreamJobSpec = serde_json::from_value(stored["spec"].clone()).unwrap();
    let given: StreamJobSpec = serde_json::from_value(full).unwrap();
    assert_eq!(typed, given);
    for nothing in ["resources", "podTemplate"] {
        let object = job("nothing", &json!({nothing: null}));
        let (is_done, answer) = namespace.try_apply(&object.to_string());
        assert!(is_done, "{answer}");
    }
}

#[test]
fn the_servers_defaults_are_those_of_the_types() {
    let namespace = Namespace::new("defaults");
    let apply = ["apply", "--dry-run=server", "-o", "json", "-f", "-"];
    for spec in [
        json!({}),
        json!({"checkpoint": {}, "restart": {}, "upgrade": {}}),
    ] {
        let object = job("minimal", &spec).to_string();
        let stored: Value = serde_json::from_str(&namespace.done(&apply, Some(&object))).unwrap();
        let minimal = json!({"program": {"image": "word-count:1.0"}});
        let expected: StreamJobSpec = serde_json::from_value(minimal).unwrap();
        assert_eq!(stored["spec"], serde_json::to_value(expected).unwrap());
    }
}

#[test]
fn scale_changes_parallelism_within_its_bound() {
    let namespace = Namespace::new("scale");
    namespace.store(job(
        "scaled",
        &json!({"suspend": true, "maxParallelism": 8}),
    ));
    namespace.done(&["scale", "copiedstreamjob/scaled", "--replicas=4"], None);
    assert_eq!(
        namespace.get("copiedstreamjob/scaled")["spec"]["parallelism"],
        4
    );
    let too_high = ["scale", "copiedstreamjob/scaled", "--replicas=9"];
    namespace.refused(
        &too_high,
        "it exceeds maxParallelism; lower it, or create a job with a",
    );
}

#[test]
fn what_is_fixed_stays() {
    let namespace = Namespace::new("fixed");
    namespace.store(job("fixed", &json!({})));
    let (is_done, text) = patch(
        &namespace,
        "fixed",
        &json!({"spec": {"maxParallelism": 64}}),
    );
    let expected = "maxParallelism is fixed, because the state is divided by it; keep it, or \
                    create a job under another name";
    let is_placed = text.contains("spec.maxParallelism: ");
    assert!(!is_done && is_placed && text.contains(expected), "{text}");

    namespace.store(checkpoint("before-upgrade", "fixed"));
    let other = r#"{"spec": {"jobName": "other"}}"#;
    let patch = [
        "patch",
        "copiedcheckpoint/before-upgrade",
        "--type=merge",
        "--patch",
        other,
    ];
    namespace.refused(
        &patch,
        "jobName is fixed; create another checkpoint for another job",
    );
}

fn patch(namespace: &Namespace, job: &str, patch: &Value) -> (bool, String) {
    let object = format!("copiedstreamjob/{job}");
    let patch = patch.to_string();
    namespace.kubectl(&["patch", &object, "--type=merge", "--patch", &patch], None)
}

/// Stores a job with such a storage and a checkpoint at a place.
fn store_with_checkpoint(namespace: &Namespace, name: &str, storage: &Value, location: &str) {
    namespace.store(job(name, &json!({"checkpoint": {"storage": storage}})));
    let object = format!("copiedstreamjob/{name}");
    let status = json!({"status": {"latestCheckpoint": {
        "id": 7,
        "kind": "Checkpoint",
        "completedTime": "2026-11-24T12:00:00Z",
        "location": location,
    }}});
    let status = status.to_string();
    let set = [
        "patch",
        &object,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &status,
    ];
    namespace.done(&set, None);
}

const MOVED: &str = "another checkpoint.storage.url or endpoint leaves the state behind; set \
                     startFrom in the same change";

#[test]
fn a_job_with_state_keeps_its_storage_unless_it_says_where_to_start() {
    let namespace = Namespace::new("moved");
    let storage = json!({"url": "s3://bucket/jobs/", "endpoint": "http://minio:9000"});
    namespace.store(job("moved", &json!({"checkpoint": {"storage": storage}})));
    // Without a checkpoint there is nothing to lose.
    let to = |storage: Value| json!({"spec": {"checkpoint": {"storage": storage}}});
    let (is_done, text) = patch(
        &namespace,
        "moved",
        &to(json!({"url": "s3://bucket/first"})),
    );
    assert!(is_done, "{text}");

    let location = "s3://bucket/jobs/default/moved#7";
    store_with_checkpoint(&namespace, "moved", &storage, location);
    for other in [
        json!({"url": "s3://bucket/other"}),
        json!({"url": "s3://bucket/jobs/default"}),
        json!({"endpoint": "http://other:9000"}),
        json!({"endpoint": null}),
        Value::Null,
    ] {
        let (is_done, text) = patch(&namespace, "moved", &to(other.clone()));
        assert!(!is_done && text.contains(MOVED), "{other}: {text}");
        let mut told = to(other.clone());
        told["spec"]["startFrom"] = json!(location);
        let object = [
            "patch",
            "copiedstreamjob/moved",
            "--type=merge",
            "--dry-run=server",
            "--patch",
            &told.to_string(),
        ];
        namespace.done(&object, None);
    }
    for same in [
        json!({"url": "s3a://bucket/jobs"}),
        json!({"url": "s3://bucket/jobs//"}),
        json!({"endpoint": "http://minio:9000/"}),
        json!({"region": "eu-west-1", "secretRef": {"name": "storage"}}),
    ] {
        let (is_done, text) = patch(&namespace, "moved", &to(same.clone()));
        assert!(is_done, "{same}: {text}");
    }
    let (is_done, text) = patch(&namespace, "moved", &json!({"spec": {"parallelism": 2}}));
    assert!(is_done, "{text}");
}

#[test]
fn a_job_may_write_out_the_storage_that_it_has_from_the_installation() {
    let namespace = Namespace::new("written");
    let plain = "s3://bucket/jobs/default/written#7";
    let parameters = "s3a://bucket/jobs/default/written?endpoint=http://minio:9000#7";
    let folder = "file:///data/jobs/default/written#7";
    let rows = [
        (plain, json!({"url": "s3://bucket/jobs"}), true),
        (
            plain,
            json!({"url": "s3a://bucket/jobs//", "endpoint": "http://minio:9000"}),
            true,
        ),
        (plain, json!({"url": "s3://bucket/jobs?region=eu"}), true),
        (plain, json!({"url": "s3://bucket"}), false),
        (plain, json!({"url": "s3://bucket/job"}), false),
        (plain, json!({"url": "s3://bucket/jobs/default"}), false),
        (plain, json!({"url": "s3://other/jobs"}), false),
        (
            parameters,
            json!({"url": "s3://bucket/jobs", "endpoint": "http://minio:9000"}),
            true,
        ),
        (
            parameters,
            json!({"url": "s3://bucket/jobs?endpoint=http://minio:9000"}),
            true,
        ),
        (parameters, json!({"url": "s3://bucket"}), false),
        (folder, json!({"url": "file:///data/jobs/"}), true),
        (folder, json!({"url": "file:///data"}), false),
    ];
    for (index, (location, storage, is_allowed)) in rows.iter().enumerate() {
        let name = format!("written-{index}");
        store_with_checkpoint(&namespace, &name, &Value::Null, location);
        let change = json!({"spec": {"checkpoint": {"storage": storage}}});
        let (is_done, text) = patch(&namespace, &name, &change);
        assert_eq!(is_done, *is_allowed, "{location}, {storage}: {text}");
        assert!(is_done || text.contains(MOVED), "{text}");
    }
}

#[test]
fn a_checkpoint_needs_a_job_and_a_name_that_start_from_can_tell() {
    let namespace = Namespace::new("ckpt");
    let mut nobody = checkpoint("of-nobody", "x");
    nobody["spec"] = json!({});
    let mut mirrored = checkpoint("word-count-42", "word-count");
    mirrored["status"] = json!({"state": "Completed", "id": 42});
    let long = "a".repeat(64);
    let refused = [
        (nobody, "spec.jobName: Required value"),
        (
            checkpoint("x", "Word"),
            "\"Word\" cannot name a job; use at most 52",
        ),
        (
            checkpoint("latest", "a"),
            "\"latest\" cannot name a checkpoint; use at most 63",
        ),
        (
            checkpoint(&long, "a"),
            "cannot name a checkpoint; use at most 63 characters",
        ),
        (
            checkpoint("word-count-42", "word-count"),
            "\"word-count-42\" is of the form that checkpoints have which the job takes by itself",
        ),
    ];
    for (object, expected) in refused {
        let (is_done, text) = namespace.try_apply(&object.to_string());
        assert!(!is_done && text.contains(expected), "{object}: {text}");
    }
    for object in [
        mirrored,
        checkpoint("word-count-a-42", "word-count"),
        checkpoint("x.y", "a"),
    ] {
        let (is_done, text) = namespace.try_apply(&object.to_string());
        assert!(is_done, "{object}: {text}");
    }
}

#[test]
fn every_reason_can_stand_in_a_status() {
    let namespace = Namespace::new("reason");
    namespace.store(job("told", &json!({})));
    let types = [
        ConditionType::Ready,
        ConditionType::Valid,
        ConditionType::Checkpointing,
        ConditionType::UpToDate,
    ];
    for reasons in Reason::ALL.chunks(types.len()) {
        let conditions = types.iter().zip(reasons).map(|(type_, reason)| {
            json!({
                "type": type_,
                "status": "False",
                "reason": reason,
                "message": "As the controller tells it.",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-11-24T12:00:00Z",
            })
        });
        let status = json!({"status": {"conditions": conditions.collect::<Vec<_>>()}});
        let status = status.to_string();
        let patch = [
            "patch",
            "copiedstreamjob/told",
            "--subresource=status",
            "--type=merge",
            "--patch",
        ];
        namespace.done(&[&patch[..], &[&status, "--dry-run=server"]].concat(), None);
    }
    let unknown = r#"{"status": {"conditions": [{"type": "Ready", "status": "False",
        "reason": "Weather", "lastTransitionTime": "2026-11-24T12:00:00Z"}]}}"#;
    let patch = [
        "patch",
        "copiedstreamjob/told",
        "--subresource=status",
        "--type=merge",
        "--patch",
        unknown,
    ];
    namespace.refused(&patch, "Unsupported value: \"Weather\"");
}

#[test]
fn the_columns_tell_readiness_checkpoints_and_restarts() {
    let namespace = Namespace::new("columns");
    namespace.store(job("shown", &json!({})));
    let location = "s3://bucket/jobs/default/shown#7";
    let status = json!({"status": {
        "parallelism": 2,
        "restarts": 3,
        "revision": "0a1b2c3d",
        "latestCheckpoint": {
            "id": 7,
            "kind": "Checkpoint",
            "completedTime": "2020-01-01T00:00:00Z",
            "location": location,
        },
        "upgrade": {
            "phase": "Complete",
            "requestedMode": "LatestCheckpoint",
            "fromRevision": "11111111",
            "toRevision": "0a1b2c3d",
            "startedTime": "2020-01-01T00:00:00Z",
        },
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "Running",
            "message": "All subtasks run.",
            "lastTransitionTime": "2020-01-01T00:00:00Z",
        }],
    }});
    let status = status.to_string();
    let patch = [
        "patch",
        "copiedstreamjob/shown",
        "--subresource=status",
        "--type=merge",
        "--patch",
        &status,
    ];
    namespace.done(&patch, None);
    let mut mirrored = checkpoint("shown-7", "shown");
    mirrored["status"] = json!({
        "state": "Completed",
        "id": 7,
        "kind": "Checkpoint",
        "completedTime": "2020-01-01T00:00:00Z",
        "duration": "24ms",
        "size": "1.2MiB",
        "parallelism": 2,
        "location": location,
    });
    namespace.store(mirrored);

    let tables = namespace.done(&["get", "copiedstreamjobs,copiedcheckpoints"], None);
    let rows: Vec<Vec<&str>> = tables.lines().map(cells).collect();
    assert_eq!(
        rows[0],
        [
            "NAME",
            "READY",
            "STATUS",
            "PARALLELISM",
            "CHECKPOINT",
            "CHECKPOINT AGE",
            "RESTARTS",
            "AGE"
        ]
    );
    let shown = [
        "copiedstreamjob.admit.tidegate.test/shown",
        "True",
        "Running",
        "2",
        "7",
    ];
    assert_eq!(rows[1][..5], shown);
    assert!(
        rows[1][5].ends_with('y') || rows[1][5].contains('y'),
        "{tables}"
    );
    assert_eq!(rows[1][6], "3");
    assert_eq!(
        rows[3],
        [
            "NAME", "JOB", "ID", "KIND", "STATE", "SIZE", "DURATION", "AGE"
        ]
    );
    let mirrored = [
        "copiedcheckpoint.admit.tidegate.test/shown-7",
        "shown",
        "7",
        "Checkpoint",
        "Completed",
        "1.2MiB",
        "24ms",
    ];
    assert_eq!(rows[4][..7], mirrored);

    let wide = namespace.done(&["get", "copiedstreamjobs", "-o", "wide"], None);
    let rows: Vec<Vec<&str>> = wide.lines().map(cells).collect();
    assert_eq!(rows[0][8..], ["REVISION", "UPGRADE", "MESSAGE"]);
    assert_eq!(rows[1][8..], ["0a1b2c3d", "Complete", "All subtasks run."]);
    let wide = namespace.done(&["get", "copiedcheckpoints", "-o", "wide"], None);
    let rows: Vec<Vec<&str>> = wide.lines().map(cells).collect();
    assert_eq!(rows[0][8..], ["PARALLELISM", "LOCATION", "MESSAGE"]);
    assert_eq!(rows[1][8..10], ["2", location]);
    let wait = [
        "wait",
        "--for=condition=Ready",
        "copiedstreamjob/shown",
        "--timeout=180s",
    ];
    namespace.done(&wait, None);
}

#[test]
fn both_kinds_have_a_short_name_and_the_projects_category() {
    let namespace = Namespace::new("names");
    let list = ["api-resources", "--api-group=tidegate.dev", "--no-headers"];
    let text = namespace.done(&list, None);
    let mut rows: Vec<Vec<&str>> = text.lines().map(cells).collect();
    rows.sort();
    assert_eq!(rows[0][..2], ["checkpoints", "ckpt"]);
    assert_eq!(rows[1][..2], ["streamjobs", "sj"]);
    let category = [&list[..], &["--categories=tidegate", "-o", "name"]].concat();
    assert_eq!(namespace.done(&category, None).lines().count(), 2);
}

/// The cells of a row, which two spaces or more stand between.
fn cells(row: &str) -> Vec<&str> {
    let cells = row.split("  ").map(str::trim);
    cells.filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn explain_tells_what_each_field_means() {
    let namespace = Namespace::new("explain");
    let told = [
        (
            "streamjob",
            "A stateful stream-processing job with exactly-once results.",
        ),
        (
            "sj.spec.checkpoint.intervalSeconds",
            "With 0 only savepoints are taken.",
        ),
        (
            "sj.spec.podTemplate.spec.containers",
            "The job's container, named job",
        ),
        ("checkpoint.spec.jobName", "whose checkpoint it is"),
        ("ckpt.status.state", "How far it is."),
    ];
    for (field, expected) in told {
        let text = namespace.done(&["explain", field], None);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(expected), "{field}: {text}");
    }
}
