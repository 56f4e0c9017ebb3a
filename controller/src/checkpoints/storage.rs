//! Where a job's files lie, and with what they are reached: as what wrote them was told, whatever
//! the spec says by now. A spec that names another bucket, or a Secret for it, may be refused.

use k8s_openapi::api::apps::v1::Deployment;
use tidegate_api::StreamJob;
use tidegate_api::checkpoint::Access;
use tidegate_api::pod::{JOB_CONTAINER, STORAGE_CREDENTIALS_FOLDER};
use tidegate_api::spec::{SecretReference, Storage};

use super::folder::is_same;
use crate::build::cleanup_template;
use crate::observed::{Observed, RevisionFacts};
use crate::settings::Settings;

/// What the revision that owns the job keeps its files in; without that one, another that was let
/// go, and the newest if there is none. Nothing if the job has no revision.
pub fn written_storage(observed: &Observed) -> Option<Storage> {
    let status = observed.job.status.as_ref();
    let owner = status.and_then(|status| status.revision.as_deref());
    let newest_first = || {
        let revisions = observed.revisions.iter().rev();
        revisions.filter_map(|revision| Some((revision, revision.config.as_deref()?)))
    };
    let is_owner = |revision: &RevisionFacts| owner == Some(&*revision.revision);
    let (revision, _) = newest_first()
        .find(|(revision, _)| is_owner(revision))
        .or_else(|| newest_first().find(|(_, config)| !config.hold))
        .or_else(|| newest_first().next())?;
    storage_of(revision)
}

/// What a revision keeps its files in, with the Secret that its pods mount.
pub fn storage_of(revision: &RevisionFacts) -> Option<Storage> {
    let config = &revision.config.as_ref()?.storage;
    Some(Storage {
        url: config.url.clone(),
        endpoint: config.endpoint.clone(),
        region: config.region.clone(),
        secret_ref: mounted_secret(&revision.deployment),
    })
}

fn mounted_secret(deployment: &Deployment) -> Option<SecretReference> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let mut containers = pod.containers.iter();
    let job = containers.find(|container| container.name == JOB_CONTAINER)?;
    let mut mounts = job.volume_mounts.iter().flatten();
    let mount = mounts.find(|mount| mount.mount_path == STORAGE_CREDENTIALS_FOLDER)?;
    let mut volumes = pod.volumes.iter().flatten();
    let volume = volumes.find(|volume| volume.name == mount.name)?;
    let name = volume.secret.as_ref()?.secret_name.clone()?;
    Some(SecretReference { name })
}

/// The storage of a job whose files were `written` there, or else as the spec stands, which need
/// not be valid. A Secret that the spec, or the installation, names for the same place counts: the
/// one before may be gone.
pub(super) fn job_storage(
    job: &StreamJob,
    written: Option<&Storage>,
    settings: &Settings,
) -> Option<Storage> {
    let own = job.spec.checkpoint.storage.as_ref();
    let named = own.or(settings.default_storage.as_ref());
    let Some(written) = written else {
        return named.cloned();
    };
    let secret_ref = match named {
        Some(named) if is_same(&named.url, &written.url) => &named.secret_ref,
        Some(_) | None => &written.secret_ref,
    };
    Some(Storage {
        secret_ref: secret_ref.clone(),
        ..written.clone()
    })
}

/// With what the files of a job are reached, once the job itself is gone.
pub fn access(job: &StreamJob, written: Option<&Storage>, settings: &Settings) -> Option<Access> {
    Some(Access {
        storage: job_storage(job, written, settings)?,
        pod_template: cleanup_template(&job.spec),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::stream_job::fixtures;

    /// A job whose revision runs, and the storage that its spec asks for since.
    fn moved(storage: Value) -> Observed {
        let mut observed = fixtures::observed(fixtures::job("good:1"));
        let first = crate::stream_job::plan(&observed, &fixtures::settings());
        fixtures::carry_out(&mut observed, &first);
        let job = std::sync::Arc::make_mut(&mut observed.job);
        job.status.as_mut().unwrap().revision = Some(fixtures::revision_of(job));
        job.spec.checkpoint.storage = serde_json::from_value(storage).unwrap();
        observed
    }

    fn reached(observed: &Observed) -> Storage {
        let written = written_storage(observed);
        let access = access(&observed.job, written.as_ref(), &fixtures::settings());
        access.unwrap().storage
    }

    fn storage(value: Value) -> Storage {
        serde_json::from_value(value).unwrap()
    }

    /// As the fixtures' spec has it.
    fn written() -> Storage {
        storage(json!({
            "url": "s3://bucket/jobs", "endpoint": "https://minio.example:9000",
            "region": "us-east-1", "secretRef": {"name": "storage"},
        }))
    }

    #[test]
    fn files_lie_where_the_revision_that_owns_the_job_wrote_them() {
        let elsewhere = json!({"url": "s3://new", "secretRef": {"name": "new"}});
        let mut observed = moved(elsewhere);
        assert_eq!(reached(&observed), written());
        let mut newer = observed.revisions[0].clone();
        newer.revision = "ffffffff".to_owned();
        newer.start_generation += 1;
        newer.config.as_mut().unwrap().storage.url = "s3://new".to_owned();
        observed.revisions.push(newer);
        let hold = |observed: &mut Observed, index: usize, is_held: bool| {
            let config = observed.revisions[index].config.as_mut();
            config.unwrap().hold = is_held;
        };
        hold(&mut observed, 1, false);
        assert_eq!(
            reached(&observed),
            written(),
            "the other one is not the owner"
        );
        let job = std::sync::Arc::make_mut(&mut observed.job);
        job.status.as_mut().unwrap().revision = Some("00000000".to_owned());
        assert_eq!(reached(&observed).url, "s3://new", "it was let go last");
        hold(&mut observed, 1, true);
        hold(&mut observed, 0, false);
        assert_eq!(reached(&observed), written(), "the newer one is held");
        observed.revisions.remove(0);
        assert_eq!(reached(&observed).url, "s3://new", "it is the only one");
    }

    #[test]
    fn a_secret_that_is_named_for_the_same_place_counts() {
        let rotated = json!({"url": "s3a://bucket/jobs/", "secretRef": {"name": "rotated"}});
        let expected = Storage {
            secret_ref: storage(json!({"url": "", "secretRef": {"name": "rotated"}})).secret_ref,
            ..written()
        };
        assert_eq!(reached(&moved(rotated)), expected);
        assert_eq!(
            reached(&moved(json!(null))),
            written(),
            "the default is elsewhere"
        );
    }

    #[test]
    fn without_a_revision_the_spec_counts_and_then_the_default() {
        let mut observed = moved(json!({"url": "s3://new"}));
        observed.revisions.clear();
        assert_eq!(reached(&observed), storage(json!({"url": "s3://new"})));
        let mut observed = moved(json!(null));
        observed.revisions.clear();
        assert_eq!(
            Some(reached(&observed)),
            fixtures::settings().default_storage
        );
        let none = Settings {
            default_storage: None,
            ..fixtures::settings()
        };
        assert_eq!(access(&observed.job, None, &none), None);
        assert_eq!(
            job_storage(&observed.job, Some(&written()), &none),
            Some(written())
        );
    }
}
