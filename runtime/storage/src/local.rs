//! The local file system as a store: durable before an answer is given, create-if-absent by `link`.
//!
//! Blocking system calls only; [`crate::Store`] moves them off the runtime's threads. Paths are
//! relative to the root, with slashes. A created name is durable once its file and its folder are
//! synchronised, and each new folder's parent too.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::random::random_u64;
use crate::{Fault, Result, StorageError};

/// What a temporary file's name ends with; no listing shows such names.
const TEMPORARY_SUFFIX: &str = ".tmp";
/// A temporary file this old was left by a process that died.
pub(crate) const TEMPORARY_AGE: Duration = Duration::from_secs(3600);
/// How often a folder is made that another process removes at the same moment.
const CREATE_ATTEMPTS_MAX: usize = 16;

/// A folder that holds state.
#[derive(Debug)]
pub(crate) struct LocalStore {
    root: PathBuf,
    /// Folders that this process has made durable, and has not removed since.
    durable_folders: Mutex<HashSet<PathBuf>>,
}

impl LocalStore {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            durable_folders: Mutex::default(),
        }
    }

    /// The whole path of a name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Creates a name with this content only if it is absent; `false` where it exists.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<bool> {
        let path = self.path(name);
        self.in_folder_of(&path, |folder| {
            let temporary = folder.join(format!(".{:016x}{TEMPORARY_SUFFIX}", random_u64()));
            let result = write_durably(&temporary, content).and_then(|()| link(&temporary, &path));
            // A left-over is harmless: no listing shows it, and the collector removes it.
            let _ = fs::remove_file(&temporary);
            let is_created = result?;
            // Also where it existed: the answer must not rest on what a power cut takes back.
            sync_folder(folder)?;
            Ok(is_created)
        })
    }

    /// The content of a name, if it is there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Bytes>> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("read", path.display(), error)),
        }
    }

    /// The length of a name's content, if it is there.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>> {
        let path = self.path(name);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("read", path.display(), error)),
        }
    }

    /// A part of a name's content.
    pub(crate) fn read_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(name);
        let length = usize::try_from(range.end - range.start)
            .map_err(|_| StorageError::damaged(path.display(), "a part of it is over-long"))?;
        let mut content = vec![0; length];
        let result =
            File::open(&path).and_then(|file| file.read_exact_at(&mut content, range.start));
        match result {
            Ok(()) => Ok(content.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StorageError::Missing {
                location: path.display().to_string(),
            }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let problem = format!("it ends before byte {}", range.end);
                Err(StorageError::damaged(path.display(), problem))
            }
            Err(error) => Err(StorageError::io("read", path.display(), error)),
        }
    }

    /// The names of all files below a folder, at any depth; empty where the folder is absent.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.visit(folder, &mut |_, _, found| {
            names.extend(found);
            Ok(true)
        })?;
        Ok(names)
    }

    /// Shows the names of the files directly in each folder, at any depth, folder by folder, as
    /// long as `see` says so.
    pub(crate) fn visit(
        &self,
        folder: &str,
        see: &mut impl FnMut(&Self, &str, Vec<String>) -> Result<bool>,
    ) -> Result<()> {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let mut names = Vec::new();
            for entry in self.entries(&folder)? {
                let name = join(&folder, &entry.name);
                if entry.is_folder {
                    folders.push(name);
                } else if !entry.name.ends_with(TEMPORARY_SUFFIX) {
                    names.push(name);
                }
            }
            if !see(self, &folder, names)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Deletes a name; `false` where it is gone already.
    pub(crate) fn delete(&self, name: &str) -> Result<bool> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StorageError::io("delete", path.display(), error)),
        }
    }

    /// Makes earlier deletions in a folder durable.
    pub(crate) fn sync(&self, folder: &str) -> Result<()> {
        let path = self.path(folder);
        if path.exists() {
            sync_folder(&path)
        } else {
            Ok(())
        }
    }

    /// Removes a folder if it is there and empty.
    pub(crate) fn remove_if_empty(&self, folder: &str) -> Result<()> {
        use io::ErrorKind as Kind;
        let path = self.path(folder);
        self.forget_folders(&path);
        match fs::remove_dir(&path) {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::DirectoryNotEmpty) => {
                Ok(())
            }
            Err(error) => Err(StorageError::io("remove", path.display(), error)),
        }
    }

    /// Removes temporary files in a folder that are older than this.
    pub(crate) fn remove_left_overs(&self, folder: &str, age_min: Duration) -> Result<()> {
        for entry in self.entries(folder)? {
            if !entry.name.ends_with(TEMPORARY_SUFFIX) || entry.is_folder {
                continue;
            }
            let path = self.path(&join(folder, &entry.name));
            let age = fs::metadata(&path)
                .and_then(|metadata| metadata.modified())
                .map(|modified| modified.elapsed().unwrap_or_default());
            if age.is_ok_and(|age| age >= age_min) {
                // Another collector may be faster.
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }

    /// Removes empty folders `<folder>/<outer>/<inner>` that `is_removable` says so of, and their
    /// parents where that leaves them empty.
    pub(crate) fn remove_empty_folders(
        &self,
        folder: &str,
        is_removable: impl Fn(&str, &str) -> bool,
    ) -> Result<()> {
        for outer in self.folders(folder)? {
            let outer_folder = join(folder, &outer);
            for inner in self.folders(&outer_folder)? {
                if is_removable(&outer, &inner) {
                    self.remove_if_empty(&join(&outer_folder, &inner))?;
                    self.remove_if_empty(&outer_folder)?;
                }
            }
        }
        Ok(())
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let entries = self.entries(folder)?;
        let folders = entries.into_iter().filter(|entry| entry.is_folder);
        Ok(folders.map(|entry| entry.name).collect())
    }

    /// Opens a new file for writing, its folder included; an older one of that name is unlinked
    /// first, so that a process that still reads it is not disturbed.
    pub(crate) fn create_file(&self, name: &str) -> Result<File> {
        let path = self.path(name);
        self.in_folder_of(&path, |_| {
            self.delete(name)?;
            let opened = OpenOptions::new().write(true).create_new(true).open(&path);
            opened.map_err(|error| StorageError::io("create", path.display(), error))
        })
    }

    /// Makes a written file and its name durable.
    pub(crate) fn finish_file(&self, name: &str, file: &File) -> Result<()> {
        let path = self.path(name);
        file.sync_all()
            .map_err(|error| StorageError::io("write", path.display(), error))?;
        sync_folder(parent(&path))
    }

    fn entries(&self, folder: &str) -> Result<Vec<FolderEntry>> {
        let path = self.path(folder);
        let listed = match fs::read_dir(&path) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StorageError::io("list", path.display(), error)),
        };
        let mut entries = Vec::new();
        for entry in listed {
            let entry = entry.map_err(|error| StorageError::io("list", path.display(), error))?;
            // Names that are not UTF-8 are not ours.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            entries.push(FolderEntry { name, is_folder });
        }
        Ok(entries)
    }

    /// Does work that creates a name in a path's folder, and makes the folder durable; once more
    /// where another process removed the folder meanwhile, because it was empty.
    fn in_folder_of<T>(&self, path: &Path, work: impl Fn(&Path) -> Result<T>) -> Result<T> {
        let folder = parent(path);
        let mut attempt = 1;
        loop {
            let result = self.make_folder(folder).and_then(|()| {
                let made = work(folder)?;
                // After the work: a folder that is not empty is not removed.
                self.make_durable(folder)?;
                Ok(made)
            });
            match result {
                Err(StorageError::Failed {
                    fault: Fault::NotFound,
                    ..
                }) if attempt < CREATE_ATTEMPTS_MAX => {
                    // Whoever removed it may have removed those above it too.
                    self.lock_folders().clear();
                }
                result => return result,
            }
            attempt += 1;
        }
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        if self.is_known(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder)
            .map_err(|error| StorageError::io("create", folder.display(), error))
    }

    /// Makes a folder's name durable, and those of the folders above it, as far as this process has
    /// not done so before.
    fn make_durable(&self, folder: &Path) -> Result<()> {
        let levels: Vec<_> = folder
            .ancestors()
            .take_while(|level| !self.is_known(level))
            .collect();
        // From the top, so that no durable folder hangs in one that is not.
        for level in levels.into_iter().rev() {
            match sync_folder(parent(level)) {
                // What the root lies in may be closed to this user, and is not ours to vouch for.
                Err(_) if self.root.starts_with(level) => {}
                result => result?,
            }
            self.lock_folders().insert(level.to_owned());
        }
        Ok(())
    }

    fn is_known(&self, folder: &Path) -> bool {
        self.lock_folders().contains(folder)
    }

    fn forget_folders(&self, removed: &Path) {
        self.lock_folders()
            .retain(|folder| !folder.starts_with(removed));
    }

    fn lock_folders(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        // A set of paths is whole whatever panicked beside it.
        self.durable_folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

struct FolderEntry {
    name: String,
    is_folder: bool,
}

fn join(folder: &str, name: &str) -> String {
    crate::location::join_key(folder, name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn write_durably(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error| StorageError::io("write", path.display(), error))
}

/// Gives a file a further name; `false` where that name exists.
fn link(from: &Path, to: &Path) -> Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => {
            // FAT, SMB and most FUSE file systems answer with one of these.
            const EPERM: i32 = 1;
            let is_unsupported = error.raw_os_error() == Some(EPERM)
                || matches!(error.kind(), io::ErrorKind::Unsupported)
                || error.raw_os_error() == Some(95)
                || error.raw_os_error() == Some(38);
            let fault = if is_unsupported {
                Fault::NoHardLinks
            } else {
                Fault::of_io(&error)
            };
            Err(StorageError::Failed {
                action: "create",
                location: to.display().to_string(),
                fault,
                source: error.into(),
            })
        }
    }
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| StorageError::io("synchronise", path.display(), error))
}
