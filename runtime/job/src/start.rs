//! What a job needs before its first attempt: a store that can be trusted, and the state to start
//! from.

use std::sync::Arc;

use tidegate_api::job_config::{JobConfig, StartPoint, StorageConfig};
use tidegate_protocol::{
    Base, CheckpointId, JobPlan, LogNumber, Manifest, Parallelism, StartFrom, check_restore,
};
use tidegate_storage::{JobFolder, Latest, StorageError, StorageUrl, Store, StoreOptions};

use crate::clock::system_ms;
use crate::error::StartError;

/// What [`prepare`] found.
pub(crate) struct Prepared {
    pub(crate) folder: Arc<JobFolder>,
    pub(crate) start_from: StartFrom,
    /// Which start of the job this is.
    pub(crate) start_generation: u64,
    /// Whether this start was let go before: the log knows it.
    pub(crate) is_known: bool,
    /// The log's highest entry, if it is a newer start's: this one must not begin.
    pub(crate) newer: Option<LogNumber>,
    /// What the first attempt would go on from now.
    pub(crate) base: Option<Manifest>,
    /// Every retained checkpoint, ascending.
    pub(crate) checkpoints: Vec<(LogNumber, Manifest)>,
}

impl Prepared {
    /// The final checkpoint of a job that has finished before and would go on from there.
    pub(crate) fn finished(&self) -> Option<&Manifest> {
        let is_latest = matches!(self.start_from, StartFrom::Latest);
        self.base
            .as_ref()
            .filter(|manifest| manifest.is_final && is_latest)
    }

    /// Checks that the plan fits the state that it would go on from.
    ///
    /// # Errors
    /// Each operator and state that does not fit.
    pub(crate) fn check(&self, plan: &JobPlan, parallelism: Parallelism) -> Result<(), StartError> {
        let Some(base) = &self.base else {
            return Ok(());
        };
        let checkpoint = base.checkpoint;
        check_restore(plan, Some(base), parallelism)
            .map_err(|source| StartError::State { checkpoint, source })
    }
}

/// Opens the job's folder, tests the store unless that is done, reads what the log retains, and
/// the checkpoint to start from if it is another job's. Without a generation it is a new start.
///
/// # Errors
/// A store that cannot be used or trusted, or a checkpoint that is not there.
pub(crate) async fn prepare(
    config: &JobConfig,
    is_tested: bool,
    start_generation: Option<u64>,
) -> Result<Prepared, StartError> {
    let storage_error = |source| StartError::Storage {
        url: config.job_folder(),
        source,
    };
    let folder = open_folder(config).await.map_err(storage_error)?;
    let folder = Arc::new(folder);
    if !is_tested {
        folder.self_test().await.map_err(storage_error)?;
    }
    let latest = folder.latest().await.map_err(storage_error)?;
    let known = latest
        .as_ref()
        .map_or(0, |latest| latest.entry.start_generation);
    // Whoever starts a job by hand means it each time, whatever the machine's clock says.
    let by_hand = u64::try_from(system_ms()).unwrap_or(0).max(known + 1);
    let start_generation = start_generation.unwrap_or(by_hand);
    let is_known = known >= start_generation;
    let newer = latest
        .as_ref()
        .map(|latest| latest.entry.number)
        .filter(|_| known > start_generation);
    // What it asked for then may be gone by now.
    let asked = config.start_from_generation.unwrap_or(start_generation);
    let start_from = match known >= asked {
        true => StartFrom::Latest,
        false => start_from(config, &folder).await?,
    };
    Ok(Prepared {
        base: base(&start_from, latest.as_ref()),
        folder,
        start_from,
        start_generation,
        is_known,
        newer,
        checkpoints: latest.map(|latest| latest.checkpoints).unwrap_or_default(),
    })
}

fn options(storage: &StorageConfig) -> StoreOptions {
    StoreOptions {
        endpoint: storage.endpoint.clone(),
        region: storage.region.clone(),
        ..StoreOptions::default()
    }
}

async fn open_folder(config: &JobConfig) -> Result<JobFolder, StorageError> {
    let url = StorageUrl::parse(&config.storage.url)?;
    let store = Store::open(&url, options(&config.storage)).await?;
    JobFolder::new(store, &config.namespace, &config.name)
}

/// What an attempt that starts now goes on from.
fn base(start_from: &StartFrom, latest: Option<&Latest>) -> Option<Manifest> {
    let checkpoints = latest.map_or(&[][..], |latest| &latest.checkpoints);
    let find = |is_it: &dyn Fn(&(LogNumber, Manifest)) -> bool| {
        let found = checkpoints.iter().find(|checkpoint| is_it(checkpoint));
        found.map(|(_, manifest)| manifest.clone())
    };
    match start_from {
        StartFrom::Empty => None,
        StartFrom::Foreign(manifest) => Some((**manifest).clone()),
        StartFrom::Checkpoint(id) => find(&|(_, manifest)| manifest.checkpoint == *id),
        StartFrom::Latest => match latest?.entry.base() {
            Base::Empty => None,
            Base::Foreign(manifest) => Some(*manifest),
            Base::Checkpoint(wanted) => find(&|(number, _)| *number == wanted),
        },
    }
}

async fn start_from(config: &JobConfig, own: &JobFolder) -> Result<StartFrom, StartError> {
    let (folder, checkpoint_id) = match &config.start_from {
        StartPoint::Latest => return Ok(StartFrom::Latest),
        StartPoint::Empty => return Ok(StartFrom::Empty),
        StartPoint::Checkpoint {
            folder,
            checkpoint_id,
        } => (folder, *checkpoint_id),
    };
    let storage_error = |source| StartError::Storage {
        url: folder.clone(),
        source,
    };
    let url = StorageUrl::parse(folder).map_err(storage_error)?;
    let is_own = url == StorageUrl::parse(&config.job_folder()).map_err(storage_error)?
        || whole(&url) == whole(&own.url());
    if is_own {
        let manifest = find(own, folder, checkpoint_id).await?;
        return Ok(StartFrom::Checkpoint(manifest.checkpoint));
    }
    let store = Store::open(&url, options(&config.storage))
        .await
        .map_err(storage_error)?;
    let foreign = JobFolder::at(store);
    let manifest = find(&foreign, folder, checkpoint_id).await?;
    Ok(StartFrom::Foreign(Box::new(
        foreign.with_whole_urls(manifest),
    )))
}

/// A URL in the form that all names of the same place share.
fn whole(url: &StorageUrl) -> StorageUrl {
    match url {
        StorageUrl::Local(path) => {
            StorageUrl::Local(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        }
        StorageUrl::S3(_) => url.clone(),
    }
}

/// A retained checkpoint of a folder; the newest where no number is given.
async fn find(
    folder: &JobFolder,
    name: &str,
    checkpoint_id: Option<u64>,
) -> Result<Manifest, StartError> {
    let wanted = match checkpoint_id {
        Some(id) => format!("checkpoint {id} of `{name}`"),
        None => format!("the newest checkpoint of `{name}`"),
    };
    let latest = folder
        .latest()
        .await
        .map_err(|source| StartError::Storage {
            url: name.to_owned(),
            source,
        })?;
    let checkpoints = latest.map(|latest| latest.checkpoints).unwrap_or_default();
    let manifests = checkpoints.into_iter().rev().map(|(_, manifest)| manifest);
    let manifests: Vec<_> = manifests.collect();
    let ids = manifests.iter().map(|manifest| manifest.checkpoint);
    let there = describe(&ids.collect::<Vec<_>>());
    let is_wanted =
        |manifest: &Manifest| checkpoint_id.is_none_or(|id| manifest.checkpoint.get() == id);
    manifests
        .into_iter()
        .find(is_wanted)
        .ok_or_else(|| StartError::StartFrom {
            wanted,
            problem: format!("it is not there; {there}"),
        })
}

fn describe(newest_first: &[CheckpointId]) -> String {
    if newest_first.is_empty() {
        return "no checkpoint is retained in that folder; check its path".to_owned();
    }
    let ids: Vec<_> = newest_first.iter().map(ToString::to_string).collect();
    format!("retained are {}", ids.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_named_when_the_wanted_one_is_not() {
        let ids = [9, 7].map(|id| CheckpointId::new(id).unwrap());
        assert_eq!(describe(&ids), "retained are 9, 7");
        assert!(describe(&[]).contains("check its path"));
    }

    #[test]
    fn a_relative_and_an_absolute_path_name_the_same_folder() {
        let relative = StorageUrl::parse("data/default/job").unwrap();
        let absolute = std::env::current_dir().unwrap().join("data/default/job");
        assert_eq!(whole(&relative), whole(&StorageUrl::Local(absolute)));
    }
}
