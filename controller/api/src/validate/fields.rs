//! The check of each field. A check leaves its errors in the list and gives the field's meaning.

use serde_json::{Map, Value};

use super::SpecError;
use crate::bounds::{self, Bounds};
use crate::job_config::RestartConfig;
use crate::manifest::Metadata;
use crate::spec::{Resources, Restart, StreamJobSpec};

pub(super) type Errors = Vec<SpecError>;

pub(super) fn refuse(
    errors: &mut Errors,
    path: &str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) {
    let (problem, remedy) = (problem.into(), remedy.into());
    errors.push(SpecError {
        path: path.to_owned(),
        problem,
        remedy,
    });
}

/// A number within its bounds; out of them the error is left and the least value stands in.
pub(super) fn bounded(errors: &mut Errors, path: &str, value: i32, bounds: Bounds) -> u32 {
    if bounds.contains(value) {
        value.unsigned_abs()
    } else {
        let problem = format!("{value} is out of bounds");
        refuse(errors, path, problem, format!("give a number {bounds}"));
        bounds.min.unsigned_abs()
    }
}

pub(super) fn milliseconds(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

pub(super) fn check_metadata(metadata: &Metadata, errors: &mut Errors) {
    let named = [
        ("metadata.name", &metadata.name),
        ("metadata.namespace", &metadata.namespace),
    ];
    for (path, name) in named {
        if !is_label(name) {
            let remedy = "use at most 63 lower-case letters, digits and hyphens, with a letter or \
                          digit at both ends";
            refuse(
                errors,
                path,
                format!("{name:?} is no name in Kubernetes"),
                remedy,
            );
        }
    }
}

/// A DNS label of RFC 1123: it names folders, Deployments and label values.
fn is_label(name: &str) -> bool {
    let is_edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(is_edge)
        && bytes.last().is_some_and(is_edge)
        && bytes.iter().all(|byte| is_edge(byte) || *byte == b'-')
}

pub(super) fn check_length(errors: &mut Errors, path: &str, text: &str, max: u32) {
    let length = text.chars().count();
    if length > max as usize {
        refuse(
            errors,
            path,
            format!("it has {length} characters"),
            format!("at most {max} fit"),
        );
    }
}

pub(super) fn check_parallelism(spec: &StreamJobSpec, errors: &mut Errors) -> (u32, u32) {
    let before = errors.len();
    let range = bounds::PARALLELISM;
    let parallelism = bounded(errors, "spec.parallelism", spec.parallelism, range);
    let max = bounded(errors, "spec.maxParallelism", spec.max_parallelism, range);
    if errors.len() == before && parallelism > max {
        let problem = format!("{parallelism} exceeds spec.maxParallelism, {max}");
        let remedy = "lower it, or give a higher maxParallelism before the job's first checkpoint";
        refuse(errors, "spec.parallelism", problem, remedy);
    }
    (parallelism, max)
}

pub(super) fn check_restart(restart: &Restart, errors: &mut Errors) -> RestartConfig {
    let mut number = |name: &str, value, range| {
        u64::from(bounded(
            errors,
            &format!("spec.restart.{name}"),
            value,
            range,
        ))
    };
    let initial = restart.initial_delay_milliseconds;
    let initial_delay_ms = number(
        "initialDelayMilliseconds",
        initial,
        bounds::INITIAL_DELAY_MILLISECONDS,
    );
    let max_delay_ms = 1000
        * number(
            "maxDelaySeconds",
            restart.max_delay_seconds,
            bounds::MAX_DELAY_SECONDS,
        );
    let reset = restart.reset_after_seconds;
    let reset_after_ms = 1000 * number("resetAfterSeconds", reset, bounds::RESET_AFTER_SECONDS);
    let attempts = bounded(
        errors,
        "spec.restart.attempts",
        restart.attempts,
        bounds::ATTEMPTS,
    );
    RestartConfig {
        // A first delay above the longest one is that one.
        initial_delay_ms: initial_delay_ms.min(max_delay_ms),
        max_delay_ms,
        attempts,
        reset_after_ms,
    }
}

pub(super) fn check_deadline(seconds: i32, errors: &mut Errors) {
    bounded(
        errors,
        "spec.upgrade.deadlineSeconds",
        seconds,
        bounds::DEADLINE_SECONDS,
    );
}

pub(super) fn check_resources(resources: Option<&Resources>, errors: &mut Errors) {
    let Some(resources) = resources else { return };
    let kinds = [
        ("requests", &resources.requests),
        ("limits", &resources.limits),
    ];
    for (kind, amounts) in kinds {
        for (resource, quantity) in amounts {
            if let Err(error) = quantity.check() {
                let path = format!("spec.resources.{kind}.{resource}");
                let text = error.to_string();
                let (problem, remedy) = text.split_once(": ").unwrap_or((&text, ""));
                refuse(errors, &path, problem, remedy);
            }
        }
    }
}

pub(super) fn check_pod_template(
    template: Option<&Value>,
    errors: &mut Errors,
) -> Option<Map<String, Value>> {
    match template? {
        Value::Object(fields) => Some(fields.clone()),
        Value::Null => None,
        _ => {
            let remedy = "write it as in podTemplate: {spec: {nodeSelector: {…}}}";
            refuse(errors, "spec.podTemplate", "it is no object", remedy);
            None
        }
    }
}
