//! Where built programs live: outside the clone, one folder for each name and version.
//!
//! # Invariants
//! A folder with its final name is complete: it is filled under a temporary name and renamed.
//! Held by `a_failed_build_leaves_no_folder`. A file lock makes parallel tests build once: held
//! by `parallel_callers_build_once`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The cache's folder: `$TIDEGATE_CACHE`, else `$XDG_CACHE_HOME/tidegate`, else
/// `~/.cache/tidegate`.
pub(crate) fn folder() -> Result<PathBuf> {
    folder_from(&|name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

fn folder_from(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let own = variable("TIDEGATE_CACHE").map(PathBuf::from);
    let desktop = || variable("XDG_CACHE_HOME").map(|base| Path::new(&base).join("tidegate"));
    let home = || variable("HOME").map(|base| Path::new(&base).join(".cache/tidegate"));
    own.or_else(desktop)
        .or_else(home)
        .ok_or(Error::NoCacheFolder)
}

/// Whether `key` is built.
pub(crate) fn has(root: &Path, key: &str) -> bool {
    root.join("programs").join(key).is_dir()
}

/// The folder `key` under `root`, filled by `build` if it is not there yet.
///
/// # Errors
/// Whatever `build` returns, or a file error of the cache itself. A failed build leaves nothing
/// behind under the final name.
pub(crate) fn get_or_build(
    root: &Path,
    key: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let done = root.join("programs").join(key);
    if done.is_dir() {
        return Ok(done);
    }
    let _lock = lock(root, key)?;
    if done.is_dir() {
        return Ok(done);
    }
    let partial = root.join("programs").join(format!(".{key}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|e| Error::file("remove", &partial, e))?;
    }
    fs::create_dir_all(&partial).map_err(|e| Error::file("create", &partial, e))?;
    build(&partial)?;
    fs::rename(&partial, &done).map_err(|e| Error::file("rename", &partial, e))?;
    Ok(done)
}

/// Waits until no other process builds `key`.
pub(crate) fn lock(root: &Path, key: &str) -> Result<File> {
    let folder = root.join("locks");
    fs::create_dir_all(&folder).map_err(|e| Error::file("create", &folder, e))?;
    let path = folder.join(key);
    let file = File::create(&path).map_err(|e| Error::file("create", &path, e))?;
    file.lock().map_err(|e| Error::file("lock", &path, e))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn variables(set: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        }
    }

    #[test]
    fn the_own_variable_wins_over_the_desktops_and_home() {
        let all = &[
            ("TIDEGATE_CACHE", "/a"),
            ("XDG_CACHE_HOME", "/b"),
            ("HOME", "/c"),
        ];
        assert_eq!(folder_from(&variables(all)).unwrap(), Path::new("/a"));
        assert_eq!(
            folder_from(&variables(&all[1..])).unwrap(),
            Path::new("/b/tidegate")
        );
        assert_eq!(
            folder_from(&variables(&all[2..])).unwrap(),
            Path::new("/c/.cache/tidegate")
        );
        assert!(matches!(
            folder_from(&variables(&[])),
            Err(Error::NoCacheFolder)
        ));
    }

    #[test]
    fn parallel_callers_build_once() {
        let root = tempfile::tempdir().unwrap();
        let builds = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let found = get_or_build(root.path(), "server-1", |folder| {
                        builds.fetch_add(1, Ordering::SeqCst);
                        fs::write(folder.join("binary"), "x").unwrap();
                        Ok(())
                    });
                    assert!(found.unwrap().join("binary").is_file());
                });
            }
        });
        assert_eq!(builds.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_build_leaves_no_folder_and_can_be_tried_again() {
        let root = tempfile::tempdir().unwrap();
        let failed = get_or_build(root.path(), "server-1", |folder| {
            fs::write(folder.join("half"), "x").unwrap();
            Err(Error::NoCacheFolder)
        });
        assert!(failed.is_err());
        let done = get_or_build(root.path(), "server-1", |_| Ok(())).unwrap();
        assert!(!done.join("half").exists());
    }
}
