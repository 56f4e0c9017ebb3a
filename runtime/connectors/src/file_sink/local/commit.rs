//! Making pending files visible, once for ever.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tidegate_engine::{PermanentError, Result};

use super::super::Missing;
use super::super::transaction::Transaction;
use super::{io_error, pending_path};

/// Commits each file; one that is committed already is left as it is.
pub(super) fn commit(folder: &Path, transactions: &[Transaction], missing: Missing) -> Result<()> {
    for transaction in transactions {
        commit_one(folder, transaction, missing)?;
    }
    if transactions.is_empty() {
        return Ok(());
    }
    // The new names must outlive a loss of power before the old ones go.
    synchronise(folder)?;
    let mut pending_folders = BTreeSet::new();
    for transaction in transactions {
        let pending = pending_path(folder, transaction);
        remove_pending(&pending)?;
        pending_folders.extend(pending.parent().map(Path::to_owned));
    }
    pending_folders
        .iter()
        .try_for_each(|folder| synchronise(folder))
}

fn commit_one(folder: &Path, transaction: &Transaction, missing: Missing) -> Result<()> {
    let pending = pending_path(folder, transaction);
    let file = folder.join(&transaction.file);
    check_size(&pending, transaction.size_bytes)?;
    match give_name(&pending, &file) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => check_same(&pending, &file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if file.exists() {
                return Ok(());
            }
            missing.judge(&pending.display().to_string(), &transaction.file)
        }
        Err(error) => Err(io_error("commit", &file, error)),
    }
}

/// Adds the final name, never over another file. A link leaves the pending name, so that no loss of
/// power can take both.
pub(super) fn give_name(pending: &Path, file: &Path) -> io::Result<()> {
    match fs::hard_link(pending, file) {
        Err(error) if has_no_links(&error) => rename(pending, file),
        result => result,
    }
}

/// Whether a file system has no links (FAT, many a network share), or grants none for this file.
fn has_no_links(error: &io::Error) -> bool {
    // What the link's caller may not do is EACCES; EPERM is what the file system cannot.
    const EPERM: i32 = 1;
    error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(EPERM)
}

fn rename(pending: &Path, file: &Path) -> io::Result<()> {
    // Final names have a random part: nobody else makes the same one meanwhile.
    if file.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    fs::rename(pending, file)
}

/// A pending file must still be what was synchronised.
fn check_size(pending: &Path, size_bytes: u64) -> Result<()> {
    match fs::metadata(pending) {
        Ok(found) if found.len() != size_bytes => {
            let (path, found) = (pending.display(), found.len());
            let message = format!(
                "`{path}` has {found} bytes and had {size_bytes} when the checkpoint was taken: \
                 something other than this job has changed it; start from an earlier checkpoint"
            );
            Err(PermanentError::new(message).into())
        }
        _ => Ok(()),
    }
}

/// A commit that was cut off half-way left both names for one file.
fn check_same(pending: &Path, file: &Path) -> Result<()> {
    let Ok(pending) = fs::metadata(pending) else {
        return Ok(());
    };
    let committed = fs::metadata(file).map_err(|error| io_error("look at", file, error))?;
    if (pending.dev(), pending.ino()) == (committed.dev(), committed.ino()) {
        return Ok(());
    }
    let path = file.display();
    let message =
        format!("`{path}` exists and is not the job's; give the sink a folder of its own");
    Err(PermanentError::new(message).into())
}

pub(super) fn remove_pending(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        // Where nothing may be removed there may be nothing to remove.
        Err(error) if error.kind() != ErrorKind::NotFound && path.exists() => {
            Err(io_error("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a folder outlive a loss of power.
pub(super) fn synchronise(folder: &Path) -> Result<()> {
    let synchronised = File::open(folder).and_then(|folder| folder.sync_all());
    match synchronised {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(io_error("synchronise", folder, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_are_no_links_a_file_is_renamed_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let (pending, file) = (folder.path().join("pending"), folder.path().join("file"));
        fs::write(&pending, "a").unwrap();
        rename(&pending, &file).unwrap();
        fs::write(&pending, "b").unwrap();
        let error = rename(&pending, &file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a");
        assert!(has_no_links(&io::Error::from_raw_os_error(1)));
        assert!(!has_no_links(&io::Error::from_raw_os_error(13)));
    }
}
