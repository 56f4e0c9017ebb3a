//! Whether a folder can be written: tried at the start by what a checkpoint and its commit do.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use tidegate_engine::{Result, SinkRecovery};

use super::super::{PENDING_FOLDER, random};
use super::commit::{give_name, remove_pending, synchronise};
use super::io_error;
use super::pending::attempt_of;

const CONTENT: &[u8] = b"a sink has tried whether it can write here\n";

/// Writes a file to where a job's files are pending, gives it a name in the folder, and removes
/// both. That name begins with a dot, so that readers leave it out.
///
/// Any number of these may run at the same time, beside writers and commits.
///
/// # Errors
/// What the folder does not allow.
pub(super) fn try_out(folder: &Path, recovery: &SinkRecovery) -> Result<()> {
    let pending_folder = folder.join(PENDING_FOLDER);
    let made = fs::create_dir_all(&pending_folder);
    made.map_err(|error| io_error("make the folder", &pending_folder, error))?;
    let own_folder = pending_folder.join(&recovery.job.id);
    // A folder that has moved is told by this one being there (`Folders`): it is not for a trial
    // to make.
    let within = match fs::metadata(&own_folder) {
        Ok(own) if own.is_dir() => own_folder,
        Ok(_) => {
            let error = ErrorKind::NotADirectory.into();
            return Err(io_error("write into", &own_folder, error));
        }
        Err(_) => pending_folder,
    };
    let stem = format!(".trial-{}-{}", recovery.job.id, recovery.operator);
    remove_killed(folder, &within, &stem, recovery.attempt.get());
    let name = format!("{stem}-{}-0-{:016x}", recovery.attempt, random());
    let trial = Trial {
        pending: within.join(&name),
        file: folder.join(&name),
    };
    let tried = trial.run(folder, &within);
    let removed = trial.remove();
    tried.and(removed)?;
    synchronise(folder)?;
    synchronise(&within)
}

struct Trial {
    pending: PathBuf,
    file: PathBuf,
}

impl Trial {
    fn run(&self, folder: &Path, within: &Path) -> Result<()> {
        let written = File::create_new(&self.pending).and_then(|mut file| file.write_all(CONTENT));
        written.map_err(|error| io_error("write a file into", within, error))?;
        let named = give_name(&self.pending, &self.file);
        named.map_err(|error| io_error("add a file to", folder, error))
    }

    /// The pending name goes last: whoever is killed before leaves that one to be found.
    fn remove(&self) -> Result<()> {
        remove_pending(&self.file)?;
        remove_pending(&self.pending)
    }
}

/// Removes what trials of earlier attempts left that were killed in the middle.
fn remove_killed(folder: &Path, within: &Path, stem: &str, attempt: u64) {
    let entries = fs::read_dir(within).into_iter().flatten();
    for name in entries.flatten().map(|entry| entry.file_name()) {
        let left_by = name.to_str().and_then(|name| attempt_of(name, stem));
        if left_by.is_some_and(|other| other < attempt) {
            // What stays is in nobody's way.
            let _ = fs::remove_file(folder.join(&name));
            let _ = fs::remove_file(within.join(&name));
        }
    }
}

#[cfg(test)]
mod tests;
