//! The custom resource definition, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::spec::StreamJob;

/// The definition of `StreamJob`.
pub fn stream_job() -> CustomResourceDefinition {
    StreamJob::crd()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::labels::{API_VERSION, STREAM_JOB_KIND};
    use crate::spec::StreamJobSpec;

    fn definition() -> Value {
        serde_json::to_value(stream_job()).unwrap()
    }

    fn spec_schema() -> Value {
        definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
            .take()
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
    }

    #[test]
    fn the_definition_stays_small_enough_for_one_annotation() {
        let length = definition().to_string().len();
        assert!(length < 100_000, "{length} bytes");
    }

    #[test]
    fn the_definition_and_the_manifest_agree_on_version_and_kind() {
        let definition = definition();
        let version = definition["spec"]["versions"][0]["name"].as_str().unwrap();
        let group = definition["spec"]["group"].as_str().unwrap();
        assert_eq!(format!("{group}/{version}"), API_VERSION);
        assert_eq!(definition["spec"]["names"]["kind"], STREAM_JOB_KIND);
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
    fn every_field_is_described_and_every_list_and_text_is_bounded() {
        walk(&spec_schema(), "spec", &mut |path, schema| {
            let is_element = path.ends_with("[]");
            assert!(
                is_element || schema["description"].is_string(),
                "{path} has no description"
            );
            let is_enum = schema["enum"].is_array();
            match schema["type"].as_str() {
                Some("array") => {
                    assert!(schema["maxItems"].is_u64(), "{path} has no maxItems");
                    let kind = &schema["x-kubernetes-list-type"];
                    assert!(kind.is_string(), "{path} has no list type");
                }
                Some("string") if !is_enum => {
                    assert!(schema["maxLength"].is_u64(), "{path} has no maxLength");
                }
                Some("integer") => {
                    let is_bounded = schema["minimum"].is_number() && schema["maximum"].is_number();
                    assert!(is_bounded, "{path} has no bounds");
                }
                _ => {}
            }
        });
    }

    #[test]
    fn the_rules_between_fields_tell_what_to_do() {
        let mut rules = Vec::new();
        walk(&spec_schema(), "spec", &mut |path, schema| {
            for rule in schema["x-kubernetes-validations"]
                .as_array()
                .into_iter()
                .flatten()
            {
                assert!(rule["message"].is_string(), "{path}: {rule}");
                rules.push(path.to_owned());
            }
        });
        assert_eq!(rules, ["spec", "spec", "spec.maxParallelism"]);
    }

    #[test]
    fn every_field_stands_in_the_reference() {
        let reference = include_str!("../../../docs/streamjob.md");
        walk(&spec_schema(), "spec", &mut |path, schema| {
            let is_leaf = !schema["properties"].is_object() && !path.ends_with("[]");
            let name = path.trim_start_matches("spec.");
            let is_told = reference.contains(&format!("`{name}`"));
            assert!(!is_leaf || is_told, "docs/streamjob.md lacks {name}");
        });
    }

    #[test]
    fn a_pod_template_is_left_open() {
        let template = &spec_schema()["properties"]["podTemplate"];
        assert_eq!(template["x-kubernetes-preserve-unknown-fields"], true);
    }
}
