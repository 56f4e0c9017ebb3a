//! An entry as bytes: one line of JSON that ends with a checksum over everything before it.
//!
//! Checked at write and again at read, so that a truncated, flipped or misplaced entry ends in an
//! error that names it and never in a wrong restore.

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Base, Entry, EntryBody, FORMAT_VERSION, LogNumber, Manifest, OperatorState};

/// `,"checksum":"` + 16 hexadecimal digits + `"}` + newline.
const TRAILER_START: &str = ",\"checksum\":\"";
const TRAILER_END: &str = "\"}\n";
const DIGIT_COUNT: usize = 16;
const TRAILER_LENGTH: usize = TRAILER_START.len() + DIGIT_COUNT + TRAILER_END.len();

/// Why bytes are no entry that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Written by a later major version.
    #[error(
        "log entry {number} has format {format}, but this version reads formats up to \
         {FORMAT_VERSION}; use the version that wrote it, or a newer one"
    )]
    Newer {
        /// The entry asked for.
        number: LogNumber,
        /// The format found.
        format: u32,
    },
    /// The bytes are not those that were written.
    #[error(
        "log entry {number} is damaged: {reason}; restore the object from a backup or an older \
         version of it"
    )]
    Damaged {
        /// The entry asked for.
        number: LogNumber,
        /// What does not fit.
        reason: String,
    },
    /// A copy of another entry.
    #[error("the object of log entry {expected} holds entry {found}; it was copied or renamed")]
    Misplaced {
        /// The entry asked for.
        expected: LogNumber,
        /// The number it states.
        found: LogNumber,
    },
    /// The checksum fits, but this is no entry of format 1.
    #[error("log entry {number} is not valid")]
    Json {
        /// The entry asked for.
        number: LogNumber,
        /// Where the JSON is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A field contradicts another.
    #[error("log entry {number} is not valid: {reason}")]
    Invalid {
        /// The entry asked for.
        number: LogNumber,
        /// The field, and what is wrong with it.
        reason: String,
    },
}

impl Entry {
    /// The bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("entries hold only string keys");
        // The trailer takes the closing brace's place.
        bytes.pop();
        let digits = format!("{:016x}", xxh3_64(&bytes));
        bytes.extend_from_slice(TRAILER_START.as_bytes());
        bytes.extend_from_slice(digits.as_bytes());
        bytes.extend_from_slice(TRAILER_END.as_bytes());
        bytes
    }

    /// Reads what [`Entry::to_bytes`] wrote under this number, in this version or an older one.
    ///
    /// # Errors
    /// Refuses damaged bytes, a newer format, another entry's copy and contradictory fields.
    pub fn parse(bytes: &[u8], expected: LogNumber) -> Result<Self, EntryError> {
        let number = expected;
        let invalid = |source| EntryError::Json { number, source };
        let body = checked_body(bytes).map_err(|reason| {
            // A newer format may end otherwise, and its name helps more than "damaged".
            match format_of(bytes) {
                Some(format) if format > FORMAT_VERSION => EntryError::Newer { number, format },
                _ => EntryError::Damaged { number, reason },
            }
        })?;
        let Format { format } = serde_json::from_slice(&body).map_err(invalid)?;
        if format > FORMAT_VERSION {
            return Err(EntryError::Newer { number, format });
        }
        let entry: Self = serde_json::from_slice(&body).map_err(invalid)?;
        if entry.number != expected {
            let found = entry.number;
            return Err(EntryError::Misplaced { expected, found });
        }
        match entry.contradiction() {
            Some(reason) => Err(EntryError::Invalid { number, reason }),
            None => Ok(entry),
        }
    }

    /// The first field that contradicts another, if any.
    fn contradiction(&self) -> Option<String> {
        if self.format == 0 {
            return Some("format is 0".to_owned());
        }
        if !self.retained.is_sorted_by(|left, right| left < right) {
            return Some("retained is not ascending".to_owned());
        }
        if self.retained.last().is_some_and(|last| *last > self.number) {
            return Some("retained names an entry that comes later".to_owned());
        }
        let is_retained = self.retained.contains(&self.number);
        match &self.body {
            EntryBody::Checkpoint(_) if !is_retained => {
                Some("retained lacks the checkpoint itself".to_owned())
            }
            EntryBody::Checkpoint(manifest) if manifest.attempt.get() >= self.number.get() => {
                Some("attempt is not older than the entry".to_owned())
            }
            EntryBody::Checkpoint(manifest) => manifest_contradiction(manifest),
            EntryBody::Fence { .. } | EntryBody::Release { .. } if is_retained => {
                Some("retained names the entry itself, which is no checkpoint".to_owned())
            }
            EntryBody::Fence { base, .. } | EntryBody::Release { base, .. } => match base {
                Base::Checkpoint(base) if !self.retained.contains(base) => {
                    Some(format!("base is entry {base}, which is not retained"))
                }
                Base::Foreign(manifest) => manifest_contradiction(manifest),
                Base::Checkpoint(_) | Base::Empty => None,
            },
        }
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn format_of(bytes: &[u8]) -> Option<u32> {
    let found: Format = serde_json::from_slice(bytes).ok()?;
    Some(found.format)
}

/// The JSON without its trailer, if the checksum fits.
fn checked_body(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let start = bytes.len().checked_sub(TRAILER_LENGTH);
    let Some((body, trailer)) = start.map(|start| bytes.split_at(start)) else {
        return Err(format!("it has only {} bytes", bytes.len()));
    };
    let expected = format!("{TRAILER_START}{:016x}{TRAILER_END}", xxh3_64(body));
    if !trailer.starts_with(TRAILER_START.as_bytes()) {
        return Err("it does not end with a checksum".to_owned());
    }
    if trailer != expected.as_bytes() {
        return Err("its checksum does not fit its content".to_owned());
    }
    Ok([body, b"}"].concat())
}

fn manifest_contradiction(manifest: &Manifest) -> Option<String> {
    if manifest.parallelism.get() > manifest.max_parallelism.get() {
        return Some("parallelism is greater than maxParallelism".to_owned());
    }
    let mut operators: Vec<_> = manifest
        .operators
        .iter()
        .map(|state| &state.operator)
        .collect();
    operators.sort_unstable();
    if let Some(twice) = operators.windows(2).find(|pair| pair[0] == pair[1]) {
        return Some(format!("operator `{}` stands there twice", twice[0]));
    }
    let max = manifest.max_parallelism.get();
    manifest
        .operators
        .iter()
        .find_map(|state| operator_contradiction(state, max))
}

fn operator_contradiction(state: &OperatorState, max_parallelism: u32) -> Option<String> {
    let operator = &state.operator;
    let is_range = |range: &crate::KeyGroupRange| {
        range.start <= range.end && u32::from(range.end) <= max_parallelism
    };
    for (index, subtask) in state.subtasks.iter().enumerate() {
        if subtask.subtask.0 as usize != index {
            return Some(format!("the subtasks of operator `{operator}` have a gap"));
        }
        if !is_range(&subtask.key_groups) {
            return Some(format!(
                "a key group range of operator `{operator}` is out of bounds"
            ));
        }
        for file in &subtask.files {
            let path = &file.path;
            if path.is_empty() {
                return Some(format!("a file of operator `{operator}` has no path"));
            }
            if !is_range(&file.key_groups) {
                return Some(format!("the key groups of file `{path}` are out of bounds"));
            }
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if file.checksum.len() != DIGIT_COUNT || !file.checksum.bytes().all(is_hex) {
                return Some(format!(
                    "the checksum of file `{path}` is not 16 hexadecimal digits"
                ));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
