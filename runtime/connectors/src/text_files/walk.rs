//! From a pattern to the files that match it.
//!
//! Unlike a shell this lists no folder twice for one part of a pattern: links to folders above
//! neither repeat files nor multiply the work.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, PatternError};
use tidegate_engine::{PermanentError, Result};

use super::discover::unreadable;
use crate::file_sink::PENDING_FOLDER;

/// As in a shell: `*` stays in its folder and matches no name that begins with a dot.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Absolute and without links, but for those of a mounted ConfigMap: the same file has the same
    /// one, however it is spelt and from wherever it is named.
    pub(super) path: PathBuf,
    /// Whether its name says so, or the name of a link to it.
    pub(super) is_gzip: bool,
}

impl Found {
    /// The file of a path; `None` where there is none.
    pub(super) fn at(path: &Path) -> Result<Option<Self>> {
        let is_gzip = |path: &Path| path.extension().is_some_and(|extension| extension == "gz");
        let found = resolve(path)?.filter(|real| real.is_file());
        Ok(found.map(|real| Self {
            is_gzip: is_gzip(path) || is_gzip(&real),
            path: mounted(real),
        }))
    }
}

/// The path that a mounted ConfigMap or Secret shows for a file, whose real one has a folder such
/// as `..2026_11_29_06_03_09.1574` in it, another one after each change and in each pod.
fn mounted(real: PathBuf) -> PathBuf {
    let is_version = |name: &OsStr| name.as_encoded_bytes().starts_with(b"..");
    if !real.iter().any(is_version) {
        return real;
    }
    let shown: PathBuf = real.iter().filter(|name| !is_version(name)).collect();
    let is_same = shown.canonicalize().is_ok_and(|shown| shown == real);
    if is_same { shown } else { real }
}

/// What stands between two slashes of a pattern.
#[derive(Debug)]
enum Part {
    Name(String),
    Matching(Pattern),
    /// `**`: this folder and those below.
    Folders,
}

impl Part {
    fn parse(text: &str) -> Result<Self, PatternError> {
        Ok(match text {
            "**" => Self::Folders,
            _ if text.contains(['*', '?', '[']) => Self::Matching(Pattern::new(text)?),
            _ => Self::Name(text.to_owned()),
        })
    }
}

/// A search under way.
///
/// # Invariants
/// A folder is listed at most once for each part of the pattern, so that the work is bounded by
/// their numbers (`links_to_folders_above_neither_repeat_a_file_nor_take_for_ever`).
#[derive(Debug)]
pub(super) struct Walk {
    parts: Vec<Part>,
    /// Whether the pattern itself names the folder of what a file sink has not committed.
    names_pending: bool,
    /// Paths, each with how many parts it matches.
    todo: Vec<(PathBuf, usize)>,
    /// Folders listed, without links, each with the part that they were listed for.
    listed: HashSet<(PathBuf, usize)>,
    found: Vec<Found>,
}

impl Walk {
    /// The files in a folder.
    pub(super) fn of_folder(folder: &str) -> Result<Self> {
        Self::new(folder, folder.into(), "*")
    }

    /// The files that match a pattern.
    pub(super) fn of_pattern(pattern: &str) -> Result<Self> {
        let base = if pattern.starts_with('/') { "/" } else { "." };
        Self::new(pattern, base.into(), pattern.trim_start_matches('/'))
    }

    fn new(named: &str, base: PathBuf, pattern: &str) -> Result<Self> {
        let parts = pattern.split('/').map(Part::parse);
        let parts = parts.collect::<Result<_, _>>().map_err(|error| {
            PermanentError::with_source(format!("`{named}` is no pattern of file names"), error)
        })?;
        let is_pending = |name: &str| {
            let matches = |it: Pattern| it.matches_with(PENDING_FOLDER, OPTIONS);
            name == PENDING_FOLDER || Pattern::new(name).is_ok_and(matches)
        };
        Ok(Self {
            parts,
            names_pending: named.split('/').any(is_pending),
            todo: vec![(base, 0)],
            listed: HashSet::new(),
            found: Vec::new(),
        })
    }

    /// The files, in no order; one that has several links several times.
    ///
    /// # Errors
    /// A folder that cannot be listed, or a path that cannot be followed.
    pub(super) fn run(mut self) -> Result<Vec<Found>> {
        while let Some((path, matched)) = self.todo.pop() {
            match self.parts.get(matched) {
                None => self.add(&path)?,
                Some(Part::Name(name)) => self.todo.push((path.join(name), matched + 1)),
                Some(Part::Matching(_) | Part::Folders) => self.list(&path, matched)?,
            }
        }
        Ok(self.found)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let is_pending = |it: &Found| it.path.iter().any(|name| name == PENDING_FOLDER);
        let found = Found::at(path)?;
        // A link may lead where the pattern does not: what a sink has not committed is no input.
        self.found
            .extend(found.filter(|it| self.names_pending || !is_pending(it)));
        Ok(())
    }

    /// Goes on with what is in a folder, if it is one and new.
    fn list(&mut self, path: &Path, matched: usize) -> Result<()> {
        let Some(real) = resolve(path)?.filter(|real| real.is_dir()) else {
            return Ok(());
        };
        if !self.listed.insert((real, matched)) {
            return Ok(());
        }
        let unlisted = |error| {
            let message = format!(
                "cannot list the folder `{}`; let this process read it, or choose a pattern that \
                 leaves it out",
                path.display()
            );
            PermanentError::with_source(message, error)
        };
        if matches!(self.parts[matched], Part::Folders) {
            self.todo.push((path.to_owned(), matched + 1));
        }
        for entry in fs::read_dir(path).map_err(unlisted)? {
            let entry = entry.map_err(unlisted)?;
            let name = entry.file_name();
            // A name that is no UTF-8 is matched as it is shown, so that a file that would be read
            // is found and refused by name, not passed over.
            let name = &*name.to_string_lossy();
            match &self.parts[matched] {
                // A folder may not know what its entries are; what it calls a file is one.
                Part::Folders
                    if !name.starts_with('.')
                        && !entry.file_type().is_ok_and(|kind| kind.is_file()) =>
                {
                    self.todo.push((entry.path(), matched));
                }
                Part::Matching(pattern) if pattern.matches_with(name, OPTIONS) => {
                    self.todo.push((entry.path(), matched + 1));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A path made absolute and without links; `None` where it leads nowhere.
fn resolve(path: &Path) -> Result<Option<PathBuf>> {
    match path.canonicalize() {
        Ok(real) => Ok(Some(real)),
        Err(error) if leads_nowhere(&error) => Ok(None),
        Err(error) => Err(unreadable(path, error).into()),
    }
}

fn leads_nowhere(error: &Error) -> bool {
    // ELOOP, a link to itself, has no stable `ErrorKind`.
    const ELOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(ELOOP)
}
