//! The job API's description (OpenAPI 3.1), its schemas made from the types.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::commands::{CommandAnswer, RescaleRequest, SavepointRequest, StopRequest};
use super::problem::Problem;
use crate::job_event::JobEvent;
use crate::model::{
    CheckpointDetail, CheckpointView, GraphView, JobView, SettingsChange, SettingsView,
};

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// One method of one path.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    request: Option<SchemaOf>,
    is_request_required: bool,
    status: &'static str,
    answer: Answer,
    problems: &'static [&'static str],
}

enum Answer {
    Nothing,
    Text,
    Json(SchemaOf),
    Events,
}

const GET: Operation = Operation {
    method: "get",
    path: "",
    id: "",
    summary: "",
    request: None,
    is_request_required: true,
    status: "200",
    answer: Answer::Text,
    problems: &[],
};

const POST: Operation = Operation {
    method: "post",
    problems: &["400", "409", "429", "503"],
    ..GET
};

const OPERATIONS: &[Operation] = &[
    Operation {
        path: "/v1/job",
        id: "getJob",
        summary: "What the job is and does.",
        answer: Answer::Json(schema_of::<JobView>),
        ..GET
    },
    Operation {
        path: "/v1/graph",
        id: "getGraph",
        summary: "The dataflow graph.",
        answer: Answer::Json(schema_of::<GraphView>),
        ..GET
    },
    Operation {
        path: "/v1/checkpoints",
        id: "listCheckpoints",
        summary: "Every retained checkpoint and savepoint, newest first.",
        answer: Answer::Json(schema_of::<Vec<CheckpointView>>),
        ..GET
    },
    Operation {
        path: "/v1/checkpoints/{id}",
        id: "getCheckpoint",
        summary: "One retained checkpoint, with what each operator keeps in it.",
        answer: Answer::Json(schema_of::<CheckpointDetail>),
        problems: &["404"],
        ..GET
    },
    Operation {
        method: "delete",
        path: "/v1/checkpoints/{id}",
        id: "releaseCheckpoint",
        summary: "Give up a retained checkpoint or savepoint; its files are deleted.",
        status: "204",
        answer: Answer::Nothing,
        problems: &["404", "409", "429", "503"],
        ..GET
    },
    Operation {
        path: "/v1/savepoints",
        id: "createSavepoint",
        summary: "Take a savepoint, of a name if one is given; where a retained savepoint has the \
                  name, that one is the answer. The answer comes when it is complete.",
        request: Some(schema_of::<SavepointRequest>),
        is_request_required: false,
        status: "201",
        answer: Answer::Json(schema_of::<CommandAnswer>),
        ..POST
    },
    Operation {
        path: "/v1/stop",
        id: "stopJob",
        summary: "Stop the job, with a savepoint unless told otherwise. The answer comes when the \
                  savepoint is complete.",
        request: Some(schema_of::<StopRequest>),
        answer: Answer::Json(schema_of::<CommandAnswer>),
        ..POST
    },
    Operation {
        path: "/v1/start",
        id: "startJob",
        summary: "Let a held job go on. Asked again, it changes nothing. The answer tells the \
                  checkpoint from which it goes on.",
        answer: Answer::Json(schema_of::<CommandAnswer>),
        problems: &["409", "429", "503"],
        ..POST
    },
    Operation {
        method: "patch",
        path: "/v1/settings",
        id: "changeSettings",
        summary: "Change settings while the job runs; what is left out stays. The answer tells all \
                  of them.",
        request: Some(schema_of::<SettingsChange>),
        answer: Answer::Json(schema_of::<SettingsView>),
        problems: &["400", "429"],
        ..POST
    },
    Operation {
        path: "/v1/rescale",
        id: "rescaleJob",
        summary: "Go on at another parallelism, from a checkpoint taken now. The answer comes when \
                  every subtask runs anew, and tells the checkpoint.",
        request: Some(schema_of::<RescaleRequest>),
        answer: Answer::Json(schema_of::<CommandAnswer>),
        ..POST
    },
    Operation {
        path: "/v1/events",
        id: "streamEvents",
        summary: "What happens from now on, until the job is over. The data of each server-sent \
                  event is a JobEvent, its name is the JobEvent's `event`.",
        answer: Answer::Events,
        problems: &["429"],
        ..GET
    },
    Operation {
        path: "/livez",
        id: "getLiveness",
        summary: "Whether the process lives; 503 with the reason if not.",
        ..GET
    },
    Operation {
        path: "/readyz",
        id: "getReadiness",
        summary: "Whether the subtasks run and the last checkpoint is not too old; 503 with the \
                  reason if not.",
        ..GET
    },
    Operation {
        path: "/metrics",
        id: "getMetrics",
        summary: "Metrics in the Prometheus text format.",
        ..GET
    },
    Operation {
        path: "/openapi.json",
        id: "getDescription",
        summary: "This description.",
        answer: Answer::Json(schema_of::<Map<String, Value>>),
        ..GET
    },
];

/// The job API's description, as `GET /openapi.json` gives it.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe(operation, &mut generator);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate job API",
            "description": "What a running job tells and can be asked for. Times are milliseconds \
                            since the epoch. Errors are problem details (RFC 9457).",
            "version": "1",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": generator.take_definitions(true)},
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let content = match operation.answer {
        Answer::Nothing => None,
        Answer::Text => Some(json!({"text/plain": {"schema": {"type": "string"}}})),
        Answer::Json(schema) => Some(json!({"application/json": {"schema": schema(generator)}})),
        Answer::Events => {
            // The events' type is part of the description, though no response refers to it.
            let event = schema_of::<JobEvent>(generator);
            let schema = json!({"type": "string", "contentSchema": event});
            Some(json!({"text/event-stream": {"schema": schema}}))
        }
    };
    let mut answer = json!({"description": "Done."});
    if let Some(content) = content {
        answer["content"] = content;
    }
    responses.insert(operation.status.to_owned(), answer);
    for status in operation.problems {
        let problem = schema_of::<Problem>(generator);
        let content = json!({"application/problem+json": {"schema": problem}});
        let description = "What is wrong, and what to do.";
        let response = json!({"description": description, "content": content});
        responses.insert((*status).to_owned(), response);
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": responses,
    });
    if operation.path.contains("{id}") {
        described["parameters"] = json!([{
            "name": "id", "in": "path", "required": true, "description": "The checkpoint's number.",
            "schema": {"type": "integer", "minimum": 1},
        }]);
    }
    if let Some(schema) = operation.request {
        let schema = schema(generator);
        let content = json!({"application/json": {"schema": schema}});
        let is_required = operation.is_request_required;
        described["requestBody"] = json!({"required": is_required, "content": content});
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` in a document.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let ("$ref", Some(target)) = (name.as_str(), value.as_str()) {
                        found.push(target.to_owned());
                    }
                    references(value, found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = openapi();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(
                document.pointer(pointer).is_some(),
                "{target} leads nowhere"
            );
        }
    }

    #[test]
    fn the_committed_description_is_the_one_served() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/job-api.openapi.json"
        );
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        let now = format!("{}\n", serde_json::to_string_pretty(&openapi()).unwrap());
        assert!(committed == now, "stale: run `cargo xtask generate`");
    }
}
