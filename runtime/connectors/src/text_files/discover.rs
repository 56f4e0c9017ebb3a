//! From paths and patterns to splits.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tidegate_engine::{PermanentError, Result, Split, SplitState};

use super::walk::{Found, Walk};
use super::{FileRange, range_of};

/// Files named by the patterns, cut into splits; files that a checkpoint knows are not cut again,
/// however they are spelt now.
pub(crate) fn discover(
    patterns: &[String],
    split_bytes: u64,
    known: &[SplitState],
) -> Result<Vec<Split>> {
    let (splits, outgrown) = find_new(patterns, split_bytes, known)?;
    for (path, change) in outgrown {
        tracing::warn!(
            file = %path.display(),
            change,
            "an input file changed after it was read; what was added or changed is not read: put \
             new data into a new file"
        );
    }
    Ok(splits)
}

/// Files that were read to their end and have changed since, each with how.
type Outgrown = Vec<(PathBuf, String)>;

/// The splits of new files, and the files of old ones that are not read again though they changed.
fn find_new(
    patterns: &[String],
    split_bytes: u64,
    known: &[SplitState],
) -> Result<(Vec<Split>, Outgrown)> {
    let known_paths = known_paths(known)?;
    let mut files = BTreeMap::new();
    for pattern in patterns {
        let found = find(pattern)?;
        if found.is_empty() && known.is_empty() {
            return Err(why_none(pattern).into());
        }
        for Found { path, is_gzip } in found {
            *files.entry(path).or_insert(false) |= is_gzip;
        }
    }
    let mut splits = Vec::new();
    let mut outgrown = Vec::new();
    for (path, is_gzip) in files {
        match known_paths.get(&path) {
            None => {
                let step = if is_gzip { u64::MAX } else { split_bytes };
                cut(&path, is_gzip, step, &mut splits)?;
            }
            Some(Some(change)) => outgrown.push((path, change.clone())),
            Some(None) => {}
        }
    }
    Ok((splits, outgrown))
}

/// The paths of the files that a checkpoint knows: as it names them, and what these lead to now.
/// Each with how the file changed since.
///
/// # Errors
/// A file that is not read to its end, and changed.
fn known_paths(known: &[SplitState]) -> Result<HashMap<PathBuf, Option<String>>> {
    let mut paths = HashMap::new();
    for state in known {
        let range = range_of(state)?;
        if !state.is_ended {
            check_unchanged(&range)?;
        }
        if paths.contains_key(&range.path) {
            continue;
        }
        // Paths in older checkpoints have links, and folders may have become links since. Where
        // another file is behind it by now, that one was not read.
        let now = stat(&range.path).ok().map(|look| change(&range, look));
        if let Ok(real) = range.path.canonicalize()
            && now == Some(None)
        {
            paths.insert(real, None);
        }
        paths.insert(range.path, now.flatten());
    }
    Ok(paths)
}

/// The files that a path, a folder or a pattern names.
fn find(pattern: &str) -> Result<Vec<Found>> {
    let path = Path::new(pattern);
    if path.is_file() {
        return Ok(Found::at(path)?.into_iter().collect());
    }
    match path.is_dir() {
        true => Walk::of_folder(pattern)?.run(),
        false => Walk::of_pattern(pattern)?.run(),
    }
}

/// What is the case where nothing is found.
fn why_none(pattern: &str) -> PermanentError {
    let path = Path::new(pattern);
    let message = if let Ok(metadata) = fs::metadata(path) {
        let kind = metadata.file_type();
        if kind.is_dir() {
            format!(
                "the folder `{pattern}` has no file to read; folders in it are read by a pattern \
                 such as `{}/**/*`, names that begin with a dot by one that has that dot",
                pattern.trim_end_matches('/')
            )
        } else {
            let kind = match kind {
                kind if kind.is_fifo() => "a named pipe",
                kind if kind.is_socket() => "a socket",
                _ => "a device",
            };
            format!(
                "`{pattern}` is {kind}, which cannot be read again from where a job left off; \
                 copy what it gives to a file, or send it through a connection to `SocketLines`"
            )
        }
    } else if let Ok(target) = fs::read_link(path) {
        let target = target.display();
        format!("`{pattern}` is a link to `{target}`, which leads to no file; mend the link")
    } else if pattern.ends_with("**") {
        format!("`{pattern}` names folders only; write `{pattern}/*` for the files in them")
    } else {
        let folder = std::env::current_dir().unwrap_or_default();
        let folder = folder.display();
        let hidden = match pattern.contains(['*', '?', '[']) {
            true => "; only a dot matches the dot that a name begins with",
            false => "",
        };
        format!(
            "no file matches `{pattern}` (seen from {folder}); check the path or pattern{hidden}"
        )
    };
    PermanentError::new(message)
}

pub(super) fn unreadable(path: &Path, error: std::io::Error) -> PermanentError {
    let message = format!(
        "cannot read `{}`; check that it exists and that this process may read it",
        path.display()
    );
    PermanentError::with_source(message, error)
}

/// The size and the time of modification in milliseconds since the epoch.
fn look_of(metadata: &fs::Metadata) -> std::io::Result<(u64, u64)> {
    let modified = metadata.modified()?;
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified_ms = u64::try_from(modified.as_millis()).unwrap_or(u64::MAX);
    Ok((metadata.len(), modified_ms))
}

fn stat(path: &Path) -> Result<(u64, u64)> {
    let look = fs::metadata(path).and_then(|metadata| look_of(&metadata));
    Ok(look.map_err(|error| unreadable(path, error))?)
}

fn cut(path: &Path, is_gzip: bool, step: u64, splits: &mut Vec<Split>) -> Result<()> {
    let (file_bytes, modified_ms) = stat(path)?;
    if path.to_str().is_none() {
        let message = format!("the name of {path:?} is no UTF-8; rename the file or its folder");
        return Err(PermanentError::new(message).into());
    }
    let mut start = 0;
    while start < file_bytes {
        let end = file_bytes.min(start.saturating_add(step));
        let range = FileRange {
            path: path.to_owned(),
            start,
            end: (!is_gzip).then_some(end),
            file_bytes,
            modified_ms,
            is_gzip,
        };
        splits.push(Split {
            id: format!("{}@{start}", path.display()),
            weight: end - start,
            spec: serde_json::to_value(range)?,
        });
        start = end;
    }
    Ok(())
}

/// How a file differs from what it was when the range was cut.
fn change(range: &FileRange, (file_bytes, modified_ms): (u64, u64)) -> Option<String> {
    if file_bytes != range.file_bytes {
        let before = range.file_bytes;
        Some(format!("it had {before} bytes and has {file_bytes} now"))
    } else if modified_ms != range.modified_ms {
        Some("it was written to since".to_owned())
    } else {
        None
    }
}

fn check_unchanged(range: &FileRange) -> Result<()> {
    match change(range, stat(&range.path)?) {
        Some(change) => Err(changed(range, &change).into()),
        None => Ok(()),
    }
}

/// Checks a file that is open, before it is read and after: a file cut short looks like its end.
pub(crate) fn check_open(range: &FileRange, file: &fs::File) -> Result<(), PermanentError> {
    let look = file.metadata().and_then(|metadata| look_of(&metadata));
    let look = look.map_err(|error| unreadable(&range.path, error))?;
    match change(range, look) {
        Some(change) => Err(changed(range, &change)),
        None => Ok(()),
    }
}

fn changed(range: &FileRange, change: &str) -> PermanentError {
    let path = range.path.display();
    PermanentError::new(format!(
        "`{path}` changed while the job was reading it ({change}), so its position means nothing \
         any more; restore the file as it was, or start the job from empty"
    ))
}

#[cfg(test)]
mod tests;
