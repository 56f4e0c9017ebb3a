//! The check of what is merged into each pod: only what the controller owns is out of bounds.

use serde_json::{Map, Value};

use super::fields::{Errors, check_text, refuse, refuse_by};
use crate::labels::{JOB_CONTAINER, RESERVED_ENV_PREFIX};
use crate::pod::{JOB_API_PORT, METRICS_PORT};
use crate::rules::{self, Wording};

const PATH: &str = "spec.podTemplate";

pub(super) fn check_pod_template(
    template: Option<&Value>,
    errors: &mut Errors,
) -> Option<Map<String, Value>> {
    let fields = match template? {
        Value::Object(fields) => fields,
        Value::Null => return None,
        _ => {
            refuse_by(errors, PATH, rules::TEMPLATE_OBJECT);
            return None;
        }
    };
    check_members(PATH, fields, &["metadata", "spec"], errors);
    if let Some(metadata) = fields.get("metadata").and_then(Value::as_object) {
        let path = &format!("{PATH}.metadata");
        check_members(path, metadata, &["annotations", "labels"], errors);
        let labels = metadata.get("labels").and_then(Value::as_object);
        let mut names = labels.into_iter().flat_map(Map::keys);
        if names.any(|name| name.starts_with(rules::RESERVED_LABEL_PREFIX)) {
            refuse_by(errors, &format!("{path}.labels"), rules::TEMPLATE_LABEL);
        }
    }
    if let Some(spec) = fields.get("spec").and_then(Value::as_object) {
        check_spec(spec, errors);
    }
    Some(fields.clone())
}

fn check_members(path: &str, fields: &Map<String, Value>, known: &[&str], errors: &mut Errors) {
    for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
        refuse_by(errors, &format!("{path}.{name}"), rules::TEMPLATE_MEMBER);
    }
}

fn check_spec(spec: &Map<String, Value>, errors: &mut Errors) {
    let path = format!("{PATH}.spec");
    let restart_policy = text(spec, "restartPolicy");
    if !restart_policy.is_empty() && restart_policy != "Always" {
        let path = format!("{path}.restartPolicy");
        refuse_by(errors, &path, rules::TEMPLATE_RESTART);
    }
    for list in ["containers", "initContainers", "volumes"] {
        check_names(&format!("{path}.{list}"), &members(spec, list), errors);
    }
    let refuse_any =
        |errors: &mut Errors, list: &str, wording: Wording, is_bad: &dyn Fn(_) -> bool| {
            if members(spec, list).into_iter().any(is_bad) {
                refuse_by(errors, &format!("{path}.{list}"), wording);
            }
        };
    let is_job = |container: &Map<String, Value>| text(container, "name") == JOB_CONTAINER;
    let overrides = |container: &Map<String, Value>| {
        let owned = ["image", "command", "args", "ports"];
        owned.iter().any(|name| container.contains_key(*name))
    };
    let has = |container: &Map<String, Value>, list, is_it: fn(&Map<String, Value>) -> bool| {
        members(container, list).into_iter().any(is_it)
    };
    refuse_any(
        errors,
        "containers",
        rules::TEMPLATE_JOB_CONTAINER,
        &|container| is_job(container) && overrides(container),
    );
    refuse_any(errors, "containers", rules::TEMPLATE_ENV, &|container| {
        is_job(container) && has(container, "env", is_reserved_variable)
    });
    refuse_any(errors, "containers", rules::TEMPLATE_MOUNT, &|container| {
        is_job(container) && has(container, "volumeMounts", is_reserved_mount)
    });
    refuse_any(errors, "containers", rules::TEMPLATE_PORT, &|container| {
        !is_job(container) && has(container, "ports", is_reserved_port)
    });
    refuse_any(
        errors,
        "initContainers",
        rules::TEMPLATE_INIT_CONTAINER,
        &is_job,
    );
    refuse_any(errors, "volumes", rules::TEMPLATE_VOLUME, &|volume| {
        text(volume, "name").starts_with(rules::RESERVED_VOLUME_PREFIX)
    });
}

/// Names are what lists are merged by, so each has one that no other has.
fn check_names(path: &str, entries: &[&Map<String, Value>], errors: &mut Errors) {
    for (index, entry) in entries.iter().enumerate() {
        let name = text(entry, "name");
        let path = format!("{path}[{index}].name");
        if entries[..index]
            .iter()
            .any(|earlier| text(earlier, "name") == name)
        {
            refuse(
                errors,
                &path,
                format!("{name:?} is given twice"),
                "remove one of them",
            );
        } else {
            check_text(errors, &path, name, rules::CONTAINER_NAME);
        }
    }
}

fn is_reserved_variable(variable: &Map<String, Value>) -> bool {
    text(variable, "name").starts_with(RESERVED_ENV_PREFIX)
}

fn is_reserved_mount(mount: &Map<String, Value>) -> bool {
    let below = text(mount, "mountPath").strip_prefix(rules::RUNTIME_FOLDER);
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_reserved_port(port: &Map<String, Value>) -> bool {
    let number = port.get("containerPort").and_then(Value::as_u64);
    [METRICS_PORT, JOB_API_PORT]
        .map(u64::from)
        .map(Some)
        .contains(&number)
}

fn members<'a>(fields: &'a Map<String, Value>, list: &str) -> Vec<&'a Map<String, Value>> {
    let entries = fields.get(list).and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .collect()
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}
