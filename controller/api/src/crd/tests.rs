use serde_json::{Value, json};

use super::*;
use crate::labels::{API_VERSION, CHECKPOINT_KIND, STREAM_JOB_KIND};
use crate::spec::StreamJobSpec;
use crate::status::Reason;

fn stream_job_definition() -> Value {
    serde_json::to_value(stream_job()).unwrap()
}

fn checkpoint_definition() -> Value {
    serde_json::to_value(checkpoint()).unwrap()
}

fn root_schema(mut definition: Value) -> Value {
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

fn spec_schema() -> Value {
    root_schema(stream_job_definition())["properties"]["spec"].take()
}

/// Every member of every object in the schema, with its path.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        walk(member, &format!("{path}.{name}"), visit);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(
            &schema["additionalProperties"],
            &format!("{path}{{}}"),
            visit,
        );
    }
}

fn is_element(path: &str) -> bool {
    path.ends_with("[]") || path.ends_with("{}")
}

#[test]
fn each_definition_stays_small_enough_for_one_annotation() {
    for definition in [stream_job_definition(), checkpoint_definition()] {
        let length = definition.to_string().len();
        assert!(length < 100_000, "{length} bytes");
    }
}

#[test]
fn the_definitions_and_the_labels_agree_on_version_and_kind() {
    let definitions = [
        (stream_job_definition(), STREAM_JOB_KIND),
        (checkpoint_definition(), CHECKPOINT_KIND),
    ];
    for (definition, kind) in definitions {
        let version = definition["spec"]["versions"][0]["name"].as_str().unwrap();
        let group = definition["spec"]["group"].as_str().unwrap();
        assert_eq!(format!("{group}/{version}"), API_VERSION);
        assert_eq!(definition["spec"]["names"]["kind"], kind);
        assert_eq!(
            definition["spec"]["names"]["categories"],
            json!(["tidegate"])
        );
    }
}

#[test]
fn a_checkpoint_and_its_status_are_written_at_once() {
    let version = &checkpoint_definition()["spec"]["versions"][0];
    assert!(version["subresources"].is_null(), "{version}");
}

#[test]
fn the_reasons_of_the_schema_are_all_reasons() {
    let root = root_schema(stream_job_definition());
    let condition = &root["properties"]["status"]["properties"]["conditions"]["items"];
    let words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(condition["properties"]["reason"]["enum"], json!(words));
}

#[test]
fn the_servers_defaults_are_those_of_an_empty_spec() {
    let mut defaulted = json!({});
    for (name, member) in spec_schema()["properties"].as_object().unwrap() {
        if !member["default"].is_null() {
            defaulted[name] = member["default"].clone();
        }
    }
    assert_eq!(
        defaulted,
        serde_json::to_value(StreamJobSpec::default()).unwrap()
    );
}

#[test]
fn every_field_is_described() {
    for definition in [stream_job_definition(), checkpoint_definition()] {
        let root = root_schema(definition);
        for part in ["spec", "status"] {
            walk(&root["properties"][part], part, &mut |path, schema| {
                let is_described = schema["description"].is_string();
                assert!(
                    is_element(path) || is_described,
                    "{path} has no description"
                );
            });
        }
    }
}

/// A rule's cost is estimated by them, and an object without them could fill the store.
#[test]
fn every_list_text_and_number_of_a_spec_is_bounded() {
    for definition in [stream_job_definition(), checkpoint_definition()] {
        let spec = root_schema(definition)["properties"]["spec"].take();
        walk(&spec, "spec", &mut |path, schema| {
            let has = |bound: &str| assert!(schema[bound].is_number(), "{path} has no {bound}");
            match schema["type"].as_str() {
                Some("array") => {
                    has("maxItems");
                    let kind = &schema["x-kubernetes-list-type"];
                    assert!(kind.is_string(), "{path} has no list type");
                }
                Some("object") if schema["additionalProperties"].is_object() => {
                    has("maxProperties");
                }
                Some("string") if !schema["enum"].is_array() => has("maxLength"),
                Some("integer") => {
                    has("minimum");
                    has("maximum");
                }
                _ => {}
            }
        });
    }
}

/// A rule of the root reads it.
#[test]
fn the_newest_checkpoints_location_is_bounded() {
    let status = root_schema(stream_job_definition())["properties"]["status"].take();
    let location = &status["properties"]["latestCheckpoint"]["properties"]["location"];
    assert!(location["maxLength"].is_number(), "{location}");
    let start_from = &spec_schema()["properties"]["startFrom"];
    assert_eq!(location["maxLength"], start_from["maxLength"]);
}

/// Each rule says what is wrong and what to do, and each text of the table has its rules.
#[test]
fn every_rule_tells_what_to_do() {
    for (definition, least) in [(stream_job_definition(), 50), (checkpoint_definition(), 4)] {
        let mut count = 0;
        walk(&root_schema(definition), "", &mut |path, schema| {
            let rules = schema["x-kubernetes-validations"].as_array();
            for rule in rules.into_iter().flatten() {
                let message = rule["message"].as_str().unwrap();
                assert!(message.contains("; "), "{path}: {message}");
                // Another message must end as this one, which stands in where it cannot be made.
                let expression = rule["messageExpression"].as_str();
                assert!(
                    expression.is_none_or(|text| text.contains(message)),
                    "{path}: {message}"
                );
                count += 1;
            }
        });
        assert!(count >= least, "{count} rules");
    }
}

#[test]
fn every_field_of_a_job_stands_in_the_reference() {
    let reference = include_str!("../../../../docs/streamjob.md");
    walk(&spec_schema(), "spec", &mut |path, schema| {
        let is_leaf = !schema["properties"].is_object() && !is_element(path);
        let is_of_kubernetes = path.starts_with("spec.podTemplate.spec.");
        let name = path.trim_start_matches("spec.");
        let is_told = reference.contains(&format!("`{name}`"));
        assert!(
            !is_leaf || is_of_kubernetes || is_told,
            "docs/streamjob.md lacks {name}"
        );
    });
}

#[test]
fn every_field_of_a_status_and_of_a_checkpoint_stands_in_its_reference() {
    let job = include_str!("../../../../docs/streamjob.md");
    let page = include_str!("../../../../docs/checkpoint-resource.md");
    let parts = [
        (stream_job_definition(), "status", job),
        (checkpoint_definition(), "spec", page),
        (checkpoint_definition(), "status", page),
    ];
    for (definition, part, reference) in parts {
        walk(
            &root_schema(definition)["properties"][part],
            part,
            &mut |path, schema| {
                let is_leaf = !schema["properties"].is_object() && !is_element(path);
                let is_told = reference.contains(&format!("`{path}`"));
                assert!(!is_leaf || is_told, "{path} is not in its reference");
            },
        );
    }
}

#[test]
fn a_pods_spec_is_left_open_and_what_stands_beside_it_is_not() {
    let template = &spec_schema()["properties"]["podTemplate"];
    let open = "x-kubernetes-preserve-unknown-fields";
    assert_eq!(template["properties"]["spec"][open], true);
    assert!(template[open].is_null());
}
