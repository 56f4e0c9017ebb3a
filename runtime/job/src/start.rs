//! What a job needs before its first attempt: a store that can be trusted, and the state to start
//! from.

use std::sync::Arc;

use tidegate_api::job_config::{JobConfig, StartPoint, StorageConfig};
use tidegate_protocol::{
    Base, CheckpointId, JobPlan, LogNumber, Manifest, Parallelism, StartFrom, check_restore,
};
use tidegate_storage::{
    DamagedEntry, JobFolder, Latest, StorageError, StorageUrl, Store, StoreOptions,
};

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
    /// Whether that is where this job itself was last.
    goes_on: bool,
    /// What the log as it is now goes on from, whatever this start is to begin with.
    pub(crate) log_base: Option<CheckpointId>,
    /// The entries of every retained checkpoint, ascending, whether they can be read or not.
    pub(crate) retained: Vec<LogNumber>,
    /// Those that can be read, ascending.
    pub(crate) checkpoints: Vec<(LogNumber, Manifest)>,
}

impl Prepared {
    /// What a user should know where the state to start from is that of a job at its end: nothing
    /// is read then.
    pub(crate) fn finished_notice(&self, config: &JobConfig) -> Option<String> {
        let manifest = self.base.as_ref().filter(|manifest| manifest.is_final)?;
        let checkpoint = manifest.checkpoint;
        if self.goes_on {
            return Some(format!(
                "this job has finished before, with checkpoint {checkpoint}: all of its input is \
                 read; to run it afresh, start it from Empty (`--start-from Empty`), with another \
                 place for its results"
            ));
        }
        let folder = match (&self.start_from, &config.start_from) {
            (StartFrom::Latest, _) | (_, StartPoint::Latest | StartPoint::Empty) => "another job",
            (_, StartPoint::Checkpoint { folder, .. }) => &format!("`{folder}`"),
        };
        Some(format!(
            "checkpoint {checkpoint} of {folder} was taken when that job had finished: there is \
             nothing left to read; start from an earlier checkpoint or a savepoint of it, or from \
             Empty"
        ))
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
    let own = latest.as_ref().map(|latest| latest.entry.base());
    let goes_on = start_from == StartFrom::Latest && matches!(own, Some(Base::Checkpoint(_)));
    Ok(Prepared {
        base: base(&start_from, latest.as_ref()),
        log_base: log_base(latest.as_ref()),
        goes_on,
        folder,
        start_from,
        start_generation,
        is_known,
        newer,
        retained: latest
            .as_ref()
            .map(|latest| latest.entry.retained.clone())
            .unwrap_or_default(),
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

/// What the log goes on from; the newest checkpoint that can be read where that one cannot.
fn log_base(latest: Option<&Latest>) -> Option<CheckpointId> {
    let latest = latest.filter(|latest| !matches!(latest.entry.base(), Base::Empty))?;
    let newest = || latest.checkpoints.last().map(|(_, manifest)| manifest);
    let read = base(&StartFrom::Latest, Some(latest));
    let checkpoint = read.as_ref().or_else(newest)?.checkpoint;
    Some(checkpoint)
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
    let (checkpoints, mut damaged) = latest
        .map(|latest| (latest.checkpoints, latest.damaged))
        .unwrap_or_default();
    let ids = checkpoints.iter().rev().map(|(_, it)| it.checkpoint);
    let there = describe(&ids.collect::<Vec<_>>());
    let is_wanted = |(_, manifest): &(LogNumber, Manifest)| {
        checkpoint_id.is_none_or(|id| manifest.checkpoint.get() == id)
    };
    let found = checkpoints.into_iter().rev().find(is_wanted);
    // A number that is there is what was meant; else an entry that nobody can read may hold it.
    match (&found, checkpoint_id) {
        (Some(_), Some(_)) => damaged.clear(),
        (Some((number, _)), None) => damaged.retain(|entry| entry.number > *number),
        (None, _) => {}
    }
    match (damaged.last(), found) {
        (None, Some((_, manifest))) => Ok(manifest),
        (None, None) => Err(StartError::StartFrom {
            wanted,
            problem: format!("it is not there; {there}"),
        }),
        (Some(newest), _) => Err(StartError::StartFromUnreadable {
            wanted,
            problem: perhaps_it(name, &damaged, newest, &there),
        }),
    }
}

/// What is wrong with entries that may hold the wanted checkpoint, and what can be done.
fn perhaps_it(name: &str, damaged: &[DamagedEntry], newest: &DamagedEntry, there: &str) -> String {
    let numbers = damaged
        .iter()
        .map(|entry| format!("`entry-{}`", entry.number));
    let numbers = numbers.collect::<Vec<_>>().join(", ");
    let (number, problem) = (newest.number, &newest.problem);
    format!(
        "{numbers} of its log may be it and cannot be read: {problem}; or name a checkpoint as \
         `{name}#N` ({there}); or give the entry up with `tidegate checkpoints release {name} \
         entry-{number}` while its job does not run"
    )
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
    use std::path::Path;

    use serde_json::json;
    use tidegate_protocol::Entry;

    use super::*;

    /// A folder whose log has checkpoints 1, 2 and 3 as entries 2, 3 and 4, and a fence above;
    /// what one of the entries says is cut short.
    async fn folder_with_damaged(storage: &Path, damaged: u64) -> JobFolder {
        let url = StorageUrl::parse(storage.to_str().unwrap()).unwrap();
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let folder = JobFolder::at(store);
        for number in 1..=5 {
            let manifest = json!({
                "checkpoint": number.max(2) - 1, "kind": "Checkpoint", "attempt": 1,
                "triggeredMs": 1, "completedMs": 2, "parallelism": 1, "maxParallelism": 128,
                "planFingerprint": "0", "isFinal": false, "operators": [],
            });
            let base = json!(if number == 1 {
                json!("empty")
            } else {
                json!({"checkpoint": 4})
            });
            let body = match number {
                1 | 5 => json!({"createdMs": 1, "writer": "test", "base": base}),
                _ => manifest,
            };
            let kind = if matches!(number, 1 | 5) {
                "fence"
            } else {
                "checkpoint"
            };
            let entry = json!({
                "format": tidegate_protocol::FORMAT_VERSION, "number": number, "nonce": number,
                "retained": (2..=number.min(4)).collect::<Vec<u64>>(), kind: body,
            });
            let entry: Entry = serde_json::from_value(entry).unwrap();
            folder.append(&entry).await;
        }
        let path = storage.join(format!("log/{damaged:020}.json"));
        let content = std::fs::read(&path).unwrap();
        std::fs::write(&path, &content[..content.len() / 2]).unwrap();
        folder
    }

    async fn found(damaged: u64, checkpoint_id: Option<u64>) -> Result<u64, (String, String)> {
        let storage = tempfile::tempdir().unwrap();
        let folder = folder_with_damaged(storage.path(), damaged).await;
        let found = find(&folder, "/day1", checkpoint_id).await;
        found
            .map(|manifest| manifest.checkpoint.get())
            .map_err(|error| (error.category().to_owned(), error.to_string()))
    }

    #[tokio::test]
    async fn the_newest_checkpoint_is_none_that_an_unreadable_entry_lies_above() {
        let (category, error) = found(4, None).await.unwrap_err();
        assert_eq!(category, "CheckpointUnreadable");
        assert!(
            error.contains("the newest checkpoint of `/day1`: `entry-4` of"),
            "{error}"
        );
        assert!(error.contains("cannot be read: "), "{error}");
        assert!(error.contains("`/day1#N` (retained are 2, 1)"), "{error}");
        assert!(
            error.contains("`tidegate checkpoints release /day1 entry-4`"),
            "{error}"
        );
        // Below it, a damaged one is none of this start's business.
        assert_eq!(found(3, None).await, Ok(3));
    }

    #[tokio::test]
    async fn a_checkpoint_by_its_number_is_had_beside_an_unreadable_entry_or_may_be_in_it() {
        assert_eq!(found(4, Some(2)).await, Ok(2));
        let (category, error) = found(4, Some(3)).await.unwrap_err();
        assert_eq!(category, "CheckpointUnreadable");
        assert!(
            error.contains("checkpoint 3 of `/day1`: `entry-4` of its log may be"),
            "{error}"
        );
    }

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
