//! Identifiers as newtypes: what can be mixed up has a type of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a value is no valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Numbered things count from one.
    #[error("{what} must be at least 1")]
    Zero {
        /// What was given.
        what: &'static str,
    },
    /// A parallelism outside its bounds.
    #[error("{what} is {value}, but must be from 1 to {max}")]
    OutOfBounds {
        /// What was given.
        what: &'static str,
        /// The value given.
        value: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// An operator id with other characters than file names of every store allow.
    #[error(
        "operator id `{id}` must be 1 to 63 lower-case letters, digits or dashes, \
         starting with a letter or digit"
    )]
    OperatorId {
        /// The id given.
        id: String,
    },
}

macro_rules! counted_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name(u64);

        impl $name {
            /// The first one: they count from 1.
            pub const FIRST: Self = Self(1);

            /// Takes a number.
            ///
            /// # Errors
            /// Zero is refused.
            pub fn new(value: u64) -> Result<Self, IdError> {
                if value == 0 { Err(IdError::Zero { what: $what }) } else { Ok(Self(value)) }
            }

            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one that follows; the greatest follows itself.
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl TryFrom<u64> for $name {
            type Error = IdError;
            fn try_from(value: u64) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> u64 {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counted_id!(
    /// A checkpoint of a job, counted from 1 over all attempts. An id that was triggered but never
    /// completed may be used again by a later attempt; only a manifest gives it meaning.
    CheckpointId,
    "checkpoint id"
);
counted_id!(
    /// The position of an entry in the checkpoint log, counted from 1.
    LogNumber,
    "log number"
);
counted_id!(
    /// One life of a job, from its fence to the next. Its number is its fence's [`LogNumber`].
    Attempt,
    "attempt"
);
counted_id!(
    /// A process that runs subtasks; the leader numbers them as they join.
    WorkerId,
    "worker id"
);

impl Attempt {
    /// The attempt that a fence at this position of the log begins.
    pub const fn of_fence(number: LogNumber) -> Self {
        Self(number.0)
    }
}

impl LogNumber {
    /// The entry's file name: zero-padded, so that names sort as numbers do.
    pub fn file_name(self) -> String {
        format!("{:020}.json", self.0)
    }

    /// Reads a name made by [`LogNumber::file_name`]; anything else is `None`.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".json")?;
        let is_padded = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let value = if is_padded {
            digits.parse().ok()?
        } else {
            return None;
        };
        Self::new(value).ok()
    }
}

macro_rules! bounded_count {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name(u32);

        impl $name {
            /// The largest value allowed.
            pub const MAX: u32 = $max;

            /// Takes a count.
            ///
            /// # Errors
            /// A count outside `1..=MAX` is refused.
            pub fn new(value: u32) -> Result<Self, IdError> {
                if (1..=$max).contains(&value) {
                    Ok(Self(value))
                } else {
                    let (value, max) = (u64::from(value), $max);
                    Err(IdError::OutOfBounds { what: $what, value, max })
                }
            }

            /// The plain count.
            pub const fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = IdError;
            fn try_from(value: u32) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl From<$name> for u32 {
            fn from(count: $name) -> u32 {
                count.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

bounded_count!(
    /// How many subtasks each chain of a job has.
    Parallelism,
    "parallelism",
    32_768
);
bounded_count!(
    /// How many key groups a job's keys are spread over; fixed for the job's life.
    MaxParallelism,
    "max parallelism",
    32_768
);

impl Default for MaxParallelism {
    fn default() -> Self {
        Self(128)
    }
}

/// A chain of operators without an exchange between them, by its position in the plan, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub u32);

/// Which of a chain's subtasks, from 0 to parallelism - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubtaskIndex(pub u32);

/// One parallel instance of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubtaskId {
    /// The chain.
    pub chain: ChainId,
    /// Which of its subtasks.
    pub index: SubtaskIndex,
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.chain.0, self.index.0)
    }
}

/// The stable name of an operator, under which its state is found again after an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperatorId(String);

impl OperatorId {
    /// Takes an id.
    ///
    /// # Errors
    /// Refuses what is not 1 to 63 lower-case letters, digits or dashes.
    pub fn new(id: impl Into<String>) -> Result<Self, IdError> {
        let id = id.into();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = id.as_bytes();
        let is_valid = (1..=63).contains(&bytes.len())
            && allowed(bytes[0])
            && bytes.iter().all(|byte| allowed(*byte) || *byte == b'-');
        if is_valid {
            Ok(Self(id))
        } else {
            Err(IdError::OperatorId { id })
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OperatorId {
    type Error = IdError;
    fn try_from(id: String) -> Result<Self, IdError> {
        Self::new(id)
    }
}

impl From<OperatorId> for String {
    fn from(id: OperatorId) -> String {
        id.0
    }
}

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
