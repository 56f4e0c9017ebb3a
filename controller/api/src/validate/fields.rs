//! The check of each field. A check leaves its errors in the list and gives the field's meaning.

use super::SpecError;
use crate::bounds::{self, Bounds};
use crate::job_config::RestartConfig;
use crate::manifest::Metadata;
use crate::rules::{self, TextRule, Wording};
use crate::spec::{Restart, StreamJobSpec, UpgradeMode};

/// What was found so far.
pub(super) struct Errors {
    pub(super) list: Vec<SpecError>,
    /// Whether the rules that hold on a cluster only are tried too.
    pub(super) is_for_cluster: bool,
}

pub(super) fn refuse(
    errors: &mut Errors,
    path: &str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) {
    let (problem, remedy) = (problem.into(), remedy.into());
    errors.list.push(SpecError {
        path: path.to_owned(),
        problem,
        remedy,
    });
}

/// Refuses by rules' words.
pub(super) fn refuse_by(errors: &mut Errors, path: &str, wording: Wording) {
    refuse(errors, path, wording.problem, wording.remedy);
}

/// Checks a text's form; the first rule that it breaks is told.
pub(super) fn check_text(errors: &mut Errors, path: &str, text: &str, rules: &[TextRule]) {
    let is_for_cluster = errors.is_for_cluster;
    let mut rules = rules
        .iter()
        .filter(|rule| is_for_cluster || !rule.is_for_clusters);
    if let Some(rule) = rules.find(|rule| rule.refuses(text)) {
        refuse(errors, path, rule.problem(text), rule.wording.remedy);
    }
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
    check_text(errors, "metadata.name", &metadata.name, rules::JOB_NAME);
    let namespace = &metadata.namespace;
    if !is_label(namespace) {
        let remedy = "use at most 63 lower-case letters, digits and hyphens, with a letter or \
                      digit at both ends";
        let problem = format!("{namespace:?} is no namespace");
        refuse(errors, "metadata.namespace", problem, remedy);
    }
}

/// A DNS label of RFC 1123: as namespaces have it.
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
    let before = errors.list.len();
    let range = bounds::PARALLELISM;
    let parallelism = bounded(errors, "spec.parallelism", spec.parallelism, range);
    let max = bounded(errors, "spec.maxParallelism", spec.max_parallelism, range);
    if errors.list.len() == before && parallelism > max {
        refuse_by(errors, "spec.parallelism", rules::PARALLELISM);
    }
    (parallelism, max)
}

pub(super) fn check_restart(restart: &Restart, errors: &mut Errors) -> RestartConfig {
    let before = errors.list.len();
    let path = |name: &str| format!("spec.restart.{name}");
    let initial = path("initialDelayMilliseconds");
    let longest = path("maxDelaySeconds");
    let reset = path("resetAfterSeconds");
    let initial_delay_ms = u64::from(bounded(
        errors,
        &initial,
        restart.initial_delay_milliseconds,
        bounds::INITIAL_DELAY_MILLISECONDS,
    ));
    let max_delay = restart.max_delay_seconds;
    let max_delay_ms = milliseconds(bounded(
        errors,
        &longest,
        max_delay,
        bounds::MAX_DELAY_SECONDS,
    ));
    let attempts = &path("attempts");
    let attempts = bounded(errors, attempts, restart.attempts, bounds::ATTEMPTS);
    let reset_after = restart.reset_after_seconds;
    let reset_after = bounded(errors, &reset, reset_after, bounds::RESET_AFTER_SECONDS);
    if errors.list.len() == before && max_delay_ms < initial_delay_ms {
        refuse_by(errors, &longest, rules::MAX_DELAY);
    }
    RestartConfig {
        initial_delay_ms,
        max_delay_ms,
        attempts,
        reset_after_ms: milliseconds(reset_after),
    }
}

pub(super) fn check_upgrade(spec: &StreamJobSpec, errors: &mut Errors) {
    let path = "spec.upgrade";
    let deadline = spec.upgrade.deadline_seconds;
    let deadline_path = format!("{path}.deadlineSeconds");
    bounded(errors, &deadline_path, deadline, bounds::DEADLINE_SECONDS);
    let names_state = !["Latest", "Empty"].contains(&spec.start_from.as_str());
    if spec.upgrade.mode == UpgradeMode::Stateless && names_state {
        refuse_by(errors, &format!("{path}.mode"), rules::STATELESS);
    }
}
