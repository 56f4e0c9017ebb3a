//! The check of what is merged into each pod: only what the controller owns is out of bounds.

use serde_json::{Map, Value};

use super::fields::{Errors, check_text, refuse, refuse_by};
use crate::labels::{JOB_CONTAINER, RESERVED_ENV_PREFIX};
use crate::pod::{JOB_API_PORT, METRICS_PORT};
use crate::rules::{self, Test, Wording};

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
    for (list, wording, is_bad) in ENTRIES {
        if members(spec, list).into_iter().any(is_bad) {
            refuse_by(errors, &format!("{path}.{list}"), *wording);
        }
    }
}

type Entry = Map<String, Value>;

/// A list of a pod's spec, and what is refused of an entry.
type EntryRule = (&'static str, Wording, fn(&Entry) -> bool);

/// What an entry of a list may not be.
const ENTRIES: &[EntryRule] = &[
    ("containers", rules::TEMPLATE_JOB_CONTAINER, |container| {
        let owned = ["image", "command", "args", "ports"];
        is_job(container) && owned.iter().any(|name| container.contains_key(*name))
    }),
    ("containers", rules::TEMPLATE_ENV, |container| {
        let variables = members(container, "env").into_iter();
        let names = variables.map(|variable| text(variable, "name"));
        let sources = members(container, "envFrom").into_iter();
        let mut all = names.chain(sources.map(|source| text(source, "prefix")));
        is_job(container) && all.any(|name| name.starts_with(RESERVED_ENV_PREFIX))
    }),
    ("containers", rules::TEMPLATE_MOUNT, |container| {
        has_mount(container, rules::RUNTIME_MOUNT)
    }),
    ("containers", rules::TEMPLATE_SCRATCH, |container| {
        has_mount(container, rules::SCRATCH_MOUNT)
    }),
    ("containers", rules::TEMPLATE_UPWARD_MOUNT, |container| {
        has_mount(container, rules::UPWARD_MOUNT)
    }),
    ("containers", rules::TEMPLATE_PORT, |container| {
        !is_job(container) && has_reserved_port(container)
    }),
    ("initContainers", rules::TEMPLATE_INIT_CONTAINER, is_job),
    ("initContainers", rules::TEMPLATE_PORT, |container| {
        let is_sidecar = text(container, "restartPolicy") == rules::SIDECAR_RESTART_POLICY;
        is_sidecar && has_reserved_port(container)
    }),
    ("volumes", rules::TEMPLATE_VOLUME, |volume| {
        text(volume, "name").starts_with(rules::RESERVED_VOLUME_PREFIX)
    }),
];

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

fn is_job(container: &Entry) -> bool {
    text(container, "name") == JOB_CONTAINER
}

/// Whether it is the job's and has a mount at such a path.
fn has_mount(container: &Entry, path: Test) -> bool {
    let mounts = members(container, "volumeMounts");
    is_job(container)
        && mounts
            .into_iter()
            .any(|mount| path.holds(text(mount, "mountPath")))
}

fn has_reserved_port(container: &Entry) -> bool {
    let reserved = [METRICS_PORT, JOB_API_PORT].map(u64::from);
    let ports = members(container, "ports").into_iter();
    let mut numbers = ports.filter_map(|port| port.get("containerPort")?.as_u64());
    numbers.any(|number| reserved.contains(&number))
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
