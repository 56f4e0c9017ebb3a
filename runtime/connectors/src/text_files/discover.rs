//! From paths and patterns to splits.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tidegate_engine::{PermanentError, Result, Split, SplitState};

use super::{FileRange, range_of};

/// Files named by the patterns, cut into splits; files that a checkpoint knows are not cut again.
pub(crate) fn discover(
    patterns: &[String],
    split_bytes: u64,
    known: &[SplitState],
) -> Result<Vec<Split>> {
    let mut known_paths = HashSet::new();
    for state in known {
        let range = range_of(state)?;
        if !state.is_ended {
            check_unchanged(&range)?;
        }
        known_paths.insert(range.path);
    }
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        let found = find(pattern)?;
        if found.is_empty() && known.is_empty() {
            let folder = std::env::current_dir().unwrap_or_default();
            return Err(PermanentError::new(format!(
                "no file matches `{pattern}` (seen from {}); check the path or pattern",
                folder.display()
            ))
            .into());
        }
        paths.extend(found);
    }
    let mut splits = Vec::new();
    for path in paths.into_iter().filter(|path| !known_paths.contains(path)) {
        cut(&path, split_bytes, &mut splits)?;
    }
    Ok(splits)
}

/// The files that one pattern names, absolute: a position must mean the same from any folder.
fn find(pattern: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    if path.is_file() {
        return Ok(vec![absolute(path)?]);
    }
    let pattern = match path.is_dir() {
        true => format!("{}/*", glob::Pattern::escape(pattern.trim_end_matches('/'))),
        false => pattern.to_owned(),
    };
    let matches = glob::glob(&pattern).map_err(|error| {
        PermanentError::with_source(format!("`{pattern}` is no pattern of file names"), error)
    })?;
    let mut files = Vec::new();
    for file in matches {
        let file = file.map_err(|error| {
            let path = error.path().display().to_string();
            PermanentError::with_source(format!("cannot list `{path}`"), error)
        })?;
        if file.is_file() {
            files.push(absolute(&file)?);
        }
    }
    Ok(files)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| unreadable(path, error).into())
}

fn unreadable(path: &Path, error: std::io::Error) -> PermanentError {
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

fn cut(path: &Path, split_bytes: u64, splits: &mut Vec<Split>) -> Result<()> {
    let (file_bytes, modified_ms) = stat(path)?;
    let is_gzip = path.extension().is_some_and(|extension| extension == "gz");
    let step = if is_gzip { u64::MAX } else { split_bytes };
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
