//! The schema of what is merged into a pod: open, but for what a rule must see.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A pod template whose spec keeps every field. What stands beside `metadata` and `spec` is
/// unknown, so that a spec's field one level too high is refused and not lost.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "metadata": {
                "description": "Labels and annotations of each pod.",
                "type": "object",
                "properties": {
                    "labels": texts("Labels of each pod, as they select it.", 63),
                    "annotations": texts("Annotations of each pod.", 262_144),
                },
            },
            "spec": spec(),
        },
    })
}

fn spec() -> Value {
    let container = json!({
        "name": name("The container's name; that of the job's container is job."),
        "image": text("The container's image; that of the job's container stands elsewhere.", 1024),
        "command": arguments("The program and its first arguments."),
        "args": arguments("The program's arguments."),
        "env": named_list("Environment variables.", 256, &json!({
            "name": text("The variable's name.", 253),
        })),
        "envFrom": open_list("Sources of environment variables.", 64, &json!({
            "prefix": text("What each variable's name begins with.", 253),
        })),
        "restartPolicy": text(
            "Always for an init container that runs on beside the job.", 32),
        "volumeMounts": list("Where volumes are mounted.", 64, "mountPath", &json!({
            "mountPath": text("The folder.", 1024),
        })),
        "ports": open_list("Ports that the container listens at.", 32, &json!({
            "containerPort": {
                "description": "The port's number.",
                "type": "integer",
                "format": "int32",
                "minimum": 1,
                "maximum": 65_535,
            },
        })),
    });
    let volume = json!({"name": name("The volume's name.")});
    json!({
        "description": "Any field of a pod's spec.",
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "containers": named_list(
                "The job's container, named job, and others beside it.", 16, &container),
            "initContainers": named_list(
                "Containers that run before the job's.", 16, &container),
            "volumes": named_list("Volumes of each pod.", 64, &volume),
            "restartPolicy": text("Always, if given.", 16),
        },
    })
}

fn text(description: &str, max_length: u32) -> Value {
    json!({"description": description, "type": "string", "maxLength": max_length})
}

fn arguments(description: &str) -> Value {
    json!({
        "description": description,
        "type": "array",
        "maxItems": 256,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "string", "maxLength": 32_768},
    })
}

fn name(description: &str) -> Value {
    text(description, 63)
}

fn texts(description: &str, max_length: u32) -> Value {
    json!({
        "description": description,
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": max_length},
    })
}

fn named_list(description: &str, max_items: u32, properties: &Value) -> Value {
    list(description, max_items, "name", properties)
}

/// A list of open objects that are merged by one of their fields.
fn list(description: &str, max_items: u32, key: &str, properties: &Value) -> Value {
    let mut list = open_list(description, max_items, properties);
    list["x-kubernetes-list-type"] = json!("map");
    list["x-kubernetes-list-map-keys"] = json!([key]);
    list["items"]["required"] = json!([key]);
    list
}

fn open_list(description: &str, max_items: u32, properties: &Value) -> Value {
    json!({
        "description": description,
        "type": "array",
        "maxItems": max_items,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": properties,
        },
    })
}
