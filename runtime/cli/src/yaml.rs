//! YAML as a tree whose every node knows where it was written.
//!
//! A manifest's mistakes are found late, by its fields' types or by rules between fields; with the
//! tree each of them still names its line. Scalars mean what `kubectl` takes them for, so that a
//! file that runs here is read alike by a cluster.

mod build;
mod scalar;

use std::fmt;

pub(crate) use build::{LENGTH_LIMIT, YamlError, parse_documents};
pub(crate) use scalar::plain_scalar;

use crate::path::{FieldPath, Segment};

/// A place in a file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Where a node was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the file.
    File(Position),
    /// By one of the `--set` options, counted from 0.
    Set(usize),
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A member of a map.
///
/// # Invariants
/// Keys of one map differ. Test: `a_key_given_twice_is_refused_with_both_places`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_origin: Origin,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// The member of a map; `None` for other values and absent members.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The text of a text member of a map.
    pub(crate) fn get_text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where the field at a path was written, or the nearest field around it that exists.
    pub(crate) fn origin_of(&self, path: &FieldPath) -> Origin {
        let mut node = self;
        for segment in path.segments() {
            let member = match (segment, &node.value) {
                (Segment::Key(key), Value::Map(_)) => node.get(key),
                (Segment::Index(index), Value::List(items)) => items.get(*index),
                _ => None,
            };
            match member {
                Some(member) => node = member,
                None => break,
            }
        }
        node.origin
    }
}

impl Value {
    /// What the value is, for a person who wrote something else than was expected.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Integer(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(text) if text.chars().count() > 40 => "a long text".to_owned(),
            Self::Text(text) => format!("the text {text:?}"),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}
