//! The check of when checkpoints are taken, where they are kept, and which one is started from.

use super::fields::{Errors, bounded, milliseconds, refuse};
use crate::bounds;
use crate::job_config::{CheckpointConfig, StorageConfig};
use crate::spec::{Checkpoint, Storage};
use crate::start_from::StartFrom;

pub(super) fn check_checkpoint(spec: &Checkpoint, errors: &mut Errors) -> CheckpointConfig {
    let path = "spec.checkpoint";
    let mut seconds = |name: &str, value, range| {
        milliseconds(bounded(errors, &format!("{path}.{name}"), value, range))
    };
    let interval = seconds(
        "intervalSeconds",
        spec.interval_seconds,
        bounds::INTERVAL_SECONDS,
    );
    let timeout_ms = seconds(
        "timeoutSeconds",
        spec.timeout_seconds,
        bounds::TIMEOUT_SECONDS,
    );
    let min_pause_ms = seconds(
        "minPauseSeconds",
        spec.min_pause_seconds,
        bounds::MIN_PAUSE_SECONDS,
    );
    let interval_ms = match spec.interval_milliseconds {
        None => interval,
        Some(value) => {
            let path = format!("{path}.intervalMilliseconds");
            bounded(errors, &path, value, bounds::INTERVAL_MILLISECONDS).into()
        }
    };
    let count_path = format!("{path}.retention.count");
    let retained_count = bounded(
        errors,
        &count_path,
        spec.retention.count,
        bounds::RETAINED_COUNT,
    );
    CheckpointConfig {
        interval_ms: (interval_ms > 0).then_some(interval_ms),
        timeout_ms,
        min_pause_ms,
        mode: spec.mode,
        retained_count,
    }
}

pub(super) fn check_storage(
    storage: Option<&Storage>,
    errors: &mut Errors,
) -> Option<StorageConfig> {
    let storage = storage?;
    let path = "spec.checkpoint.storage";
    check_storage_url(&storage.url, &format!("{path}.url"), errors);
    if let Some(endpoint) = &storage.endpoint {
        let host = endpoint
            .strip_prefix("http://")
            .or(endpoint.strip_prefix("https://"));
        if host.is_none_or(str::is_empty) {
            let remedy = "write it as in https://minio.example:9000";
            let problem = format!("{endpoint:?} is no endpoint");
            refuse(errors, &format!("{path}.endpoint"), problem, remedy);
        }
    }
    let is_s3 = storage.url.starts_with("s3://") || storage.url.starts_with("s3a://");
    let only_s3 = [("endpoint", &storage.endpoint), ("region", &storage.region)];
    for (name, value) in only_s3 {
        if value.is_some() && !is_s3 {
            let problem = "it has a meaning for s3:// only";
            refuse(
                errors,
                &format!("{path}.{name}"),
                problem,
                "remove it, or change url",
            );
        }
        if value.as_ref().is_some_and(|value| value.trim().is_empty()) {
            refuse(
                errors,
                &format!("{path}.{name}"),
                "it is empty",
                "give it or remove it",
            );
        }
    }
    if let Some(secret) = &storage.secret_ref
        && secret.name.is_empty()
    {
        let remedy = "name a Secret in the job's namespace, or remove secretRef";
        refuse(
            errors,
            &format!("{path}.secretRef.name"),
            "it is empty",
            remedy,
        );
    }
    Some(StorageConfig {
        url: storage.url.clone(),
        endpoint: storage.endpoint.clone(),
        region: storage.region.clone(),
    })
}

fn check_storage_url(url: &str, path: &str, errors: &mut Errors) {
    let remedy = "use s3://bucket/prefix, file:///folder or a folder's path";
    let Some((scheme, rest)) = url.split_once("://") else {
        if url.trim().is_empty() {
            refuse(errors, path, "it is empty", remedy);
        }
        return;
    };
    match scheme {
        "s3" | "s3a" => {
            let bucket = rest.split(['/', '?']).next().unwrap_or_default();
            if bucket.is_empty() {
                refuse(errors, path, format!("{url:?} names no bucket"), remedy);
            }
        }
        "file" if rest.starts_with('/') => {}
        "file" => {
            let remedy = format!("write three slashes, as in file:///{rest}");
            refuse(
                errors,
                path,
                format!("{url:?} has a host where a folder belongs"),
                remedy,
            );
        }
        _ => {
            let problem = format!("the scheme {scheme:?} is not supported");
            refuse(errors, path, problem, remedy);
        }
    }
}

pub(super) fn check_start_from(text: &str, errors: &mut Errors) -> Option<StartFrom> {
    match StartFrom::parse(text) {
        Ok(start_from) => Some(start_from),
        Err(error) => {
            let remedy = "use Latest, Empty, a checkpoint's name such as my-job-42, or a URL such \
                          as s3://bucket/prefix/namespace/my-job#42";
            refuse(errors, "spec.startFrom", error.to_string(), remedy);
            None
        }
    }
}
