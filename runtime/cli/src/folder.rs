//! Opens the folder of the job that a command is about.

use std::path::{Path, PathBuf};

use tidegate_api::manifest::DEFAULT_NAMESPACE;
use tidegate_protocol::{LogNumber, Manifest};
use tidegate_storage::{JobFolder, Latest, StorageError, StorageUrl, Store, StoreOptions};

use crate::args::{FolderArgs, Wanted};
use crate::failure::Failure;

/// How often a reader starts anew because the log moved on while it read.
const READ_ATTEMPTS_MAX: usize = 10;

/// A job's folder and what its checkpoint log says.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) folder: JobFolder,
    pub(crate) latest: Latest,
}

/// Opens the folder that the arguments name, and reads its log.
///
/// # Errors
/// A location that cannot be used, or holds no job, several, or a damaged log.
pub(crate) async fn open(args: &FolderArgs) -> Result<Opened, Failure> {
    let folder = locate(args).await?;
    let latest = folder.latest().await.map_err(|error| match &error {
        // Where only entries are gone, all that its highest one names but itself.
        StorageError::Missing { .. } => Failure::failed(format!(
            "{}; or give up each log entry that is gone, as `tidegate checkpoints verify` names \
             them: `tidegate checkpoints release FOLDER entry-NUMBER`",
            error.with_causes()
        )),
        _ => unreadable(&error),
    })?;
    match latest {
        Some(latest) => Ok(Opened { folder, latest }),
        None => Err(no_log(args, &folder)),
    }
}

/// What a location means that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A mistake.
    Mistake,
    /// A job without anything.
    Empty,
    /// The same; and a job is never chosen for being the only one.
    EmptyAndNamed,
}

/// The folder that the arguments name; whether it holds a job is not known yet where it is named.
///
/// # Errors
/// A location that cannot be used, or holds no job or several while none is named.
pub(crate) async fn locate(args: &FolderArgs) -> Result<JobFolder, Failure> {
    locate_or(args, Missing::Mistake).await
}

/// The same, for commands that may find nothing.
pub(crate) async fn locate_or(args: &FolderArgs, missing: Missing) -> Result<JobFolder, Failure> {
    tidegate_storage::install_crypto_provider();
    let invalid = |error: StorageError| Failure::invalid(error.with_causes());
    let url = StorageUrl::parse(&args.location).map_err(invalid)?;
    let url = absolute(url);
    if let StorageUrl::Local(path) = &url
        && missing == Missing::Mistake
        && !path.is_dir()
    {
        let shown = path.display();
        return Err(Failure::invalid(match path.exists() {
            true => format!("{shown} is a file; give the folder of a job, or of a storage"),
            false => format!("there is no folder {shown}; check its path"),
        }));
    }
    let options = StoreOptions {
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        ..StoreOptions::default()
    };
    let store = Store::open(&url, options).await.map_err(invalid)?;
    if let Some(job) = &args.job {
        let (namespace, name) = job.split_once('/').unwrap_or((DEFAULT_NAMESPACE, job));
        return JobFolder::new(store, namespace, name)
            .map_err(|error| Failure::invalid(format!("--job {job}: {}", error.with_causes())));
    }
    let folder = JobFolder::at(store.clone());
    let StorageUrl::Local(path) = &url else {
        return Ok(folder);
    };
    let log = folder.list_log().await;
    let log = log.map_err(|error| unreadable(&error))?;
    if !log.is_empty() {
        return Ok(folder);
    }
    match jobs_below(path).as_slice() {
        [] => Ok(folder),
        [(namespace, name)] if missing == Missing::EmptyAndNamed => Err(Failure::invalid(format!(
            "{} holds the job {namespace}/{name}; name it with --job",
            path.display()
        ))),
        [(namespace, name)] => JobFolder::new(store, namespace, name).map_err(invalid),
        jobs => {
            let names: Vec<_> = jobs
                .iter()
                .map(|(space, name)| format!("{space}/{name}"))
                .collect();
            Err(Failure::invalid(format!(
                "{} holds several jobs, {}; choose one with --job",
                path.display(),
                names.join(", ")
            )))
        }
    }
}

/// The URL as `startFrom` takes it, wherever the next run is started.
fn absolute(url: StorageUrl) -> StorageUrl {
    match url {
        StorageUrl::Local(path) => StorageUrl::Local(std::path::absolute(&path).unwrap_or(path)),
        other => other,
    }
}

/// The jobs that a storage folder holds, sorted: those of `namespace/name/log`.
fn jobs_below(storage: &Path) -> Vec<(String, String)> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    };
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let mut jobs = Vec::new();
    for namespace in folders(storage) {
        for job in folders(&namespace) {
            if job.join("log").is_dir() {
                jobs.extend(name(&namespace).zip(name(&job)));
            }
        }
    }
    jobs.sort();
    jobs
}

/// The numbers of the entries that the log retains now; `None` for an empty log.
///
/// # Errors
/// The highest entry is damaged, or the store cannot be read.
pub(crate) async fn retained(folder: &JobFolder) -> Result<Option<Vec<LogNumber>>, Failure> {
    for _ in 0..READ_ATTEMPTS_MAX {
        let numbers = folder
            .list_log()
            .await
            .map_err(|error| unreadable(&error))?;
        let Some(highest) = numbers.last() else {
            return Ok(None);
        };
        let entry = folder
            .read_entry(*highest)
            .await
            .map_err(|error| unreadable(&error))?;
        // What is gone was freed by a newer entry, which the next listing shows.
        if let Some(entry) = entry {
            return Ok(Some(entry.retained));
        }
    }
    let url = folder.url();
    Err(Failure::failed(format!(
        "the log in {url} moves on faster than it can be read; try again"
    )))
}

pub(crate) fn no_log(args: &FolderArgs, folder: &JobFolder) -> Failure {
    let hint = match args.job {
        Some(_) => "check the location and the job's name",
        None => "give the job's own folder, or name the job with --job namespace/name",
    };
    Failure::failed(format!(
        "there is no checkpoint log in {}; {hint}",
        folder.url()
    ))
}

pub(crate) fn unreadable(error: &StorageError) -> Failure {
    Failure::failed(error.with_causes())
}

impl Opened {
    /// The retained checkpoint of a number, or the newest that can be read.
    ///
    /// # Errors
    /// There is none, or it cannot be read; the error lists those there are.
    pub(crate) fn checkpoint(
        &self,
        wanted: Option<Wanted>,
    ) -> Result<(LogNumber, &Manifest), Failure> {
        let Latest {
            checkpoints,
            damaged,
            ..
        } = &self.latest;
        let mut newest_first = checkpoints.iter().rev();
        let found = newest_first.find(|(number, manifest)| match wanted {
            None => true,
            Some(Wanted::Checkpoint(id)) => manifest.checkpoint.get() == id,
            Some(Wanted::Entry(wanted)) => *number == wanted,
        });
        if let Some((number, manifest)) = found {
            return Ok((*number, manifest));
        }
        let url = self.folder.url();
        let broken = damaged
            .iter()
            .find(|it| wanted == Some(Wanted::Entry(it.number)));
        if let Some(broken) = broken {
            let name = Wanted::entry_name(broken.number);
            return Err(Failure::failed(format!(
                "the checkpoint of {name} in {url} cannot be read: {}; {}",
                broken.problem,
                give_up(&name)
            )));
        }
        let ids = checkpoints.iter().map(|(_, it)| it.checkpoint.to_string());
        let kept = kept(ids, damaged.iter().map(|it| it.number));
        Err(Failure::failed(match wanted {
            None => format!("no checkpoint that can be read is kept in {url}; kept there: {kept}"),
            Some(wanted) => format!("there is no {wanted} in {url}; kept there: {kept}"),
        }))
    }
}

/// What is kept, for people: checkpoints, and log entries that cannot be read.
pub(crate) fn kept(
    ids: impl Iterator<Item = String>,
    damaged: impl Iterator<Item = LogNumber>,
) -> String {
    let damaged = damaged.map(|number| format!("{} (damaged)", Wanted::entry_name(number)));
    let all: Vec<_> = ids.chain(damaged).collect();
    match all.as_slice() {
        [] => "nothing".to_owned(),
        all => all.join(", "),
    }
}

/// How a log entry that cannot be read is given up.
pub(crate) fn give_up(name: &str) -> String {
    format!("give it up with `tidegate checkpoints release FOLDER {name}`")
}
