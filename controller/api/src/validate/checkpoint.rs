//! The check of when checkpoints are taken, where they are kept, and which one is started from.

use super::fields::{Errors, bounded, check_length, check_text, milliseconds, refuse, refuse_by};
use crate::bounds;
use crate::job_config::{CheckpointConfig, StorageConfig};
use crate::rules;
use crate::spec::{Checkpoint, Storage};
use crate::start_from::StartFrom;

pub(super) fn check_checkpoint(spec: &Checkpoint, errors: &mut Errors) -> CheckpointConfig {
    let path = "spec.checkpoint";
    let before = errors.list.len();
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
    if errors.list.len() == before && interval_ms > 0 && min_pause_ms > interval_ms {
        refuse_by(errors, &format!("{path}.minPauseSeconds"), rules::MIN_PAUSE);
    }
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
    let url_path = format!("{path}.url");
    check_text(errors, &url_path, &storage.url, rules::STORAGE_URL);
    check_length(errors, &url_path, &storage.url, bounds::LINE_LENGTH);
    let is_s3 = storage.url.starts_with("s3://") || storage.url.starts_with("s3a://");
    let (endpoint, region) = (&storage.endpoint, &storage.region);
    let only_s3 = [
        ("endpoint", endpoint, rules::ENDPOINT, bounds::LINE_LENGTH),
        ("region", region, rules::REGION, bounds::REGION_LENGTH),
    ];
    for (name, value, rules, max) in only_s3 {
        let path = format!("{path}.{name}");
        let Some(value) = value else { continue };
        if is_s3 {
            check_text(errors, &path, value, rules);
            check_length(errors, &path, value, max);
        } else {
            refuse_by(errors, &path, rules::ONLY_S3);
        }
    }
    if let Some(secret) = &storage.secret_ref {
        let path = format!("{path}.secretRef.name");
        check_text(errors, &path, &secret.name, rules::SECRET_NAME);
        check_length(errors, &path, &secret.name, bounds::OBJECT_NAME_LENGTH);
    }
    Some(StorageConfig {
        url: storage.url.clone(),
        endpoint: storage.endpoint.clone(),
        region: storage.region.clone(),
    })
}

pub(super) fn check_start_from(text: &str, errors: &mut Errors) -> Option<StartFrom> {
    let path = "spec.startFrom";
    let before = errors.list.len();
    check_text(errors, path, text, rules::START_FROM);
    check_length(errors, path, text, bounds::LOCATION_LENGTH);
    if errors.list.len() > before {
        return None;
    }
    match StartFrom::parse(text) {
        Ok(start_from) => Some(start_from),
        Err(error) => {
            refuse(errors, path, error.to_string(), rules::START_FROM_REMEDY);
            None
        }
    }
}
