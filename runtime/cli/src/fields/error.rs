//! Why a value is none of a type, in words for those who wrote it.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::path::FieldPath;
use crate::problem::{Problem, nearest};
use crate::yaml::{Node, Origin};

/// Why a value is none of a type; its place is added on the way up.
#[derive(Debug)]
pub(super) struct FieldError {
    text: String,
    /// A field below the place that is meant, though it is not there.
    missing: Option<&'static str>,
    place: Option<(Origin, FieldPath)>,
}

impl FieldError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            missing: None,
            place: None,
        }
    }

    /// The error with a place, unless it has a closer one.
    pub(super) fn located(mut self, origin: Origin, path: &FieldPath) -> Self {
        self.place.get_or_insert_with(|| {
            let path = match self.missing {
                Some(field) => path.key(field),
                None => path.clone(),
            };
            (origin, path)
        });
        self
    }

    pub(super) fn into_problem(self, node: &Node, path: &FieldPath) -> Problem {
        match self.located(node.origin, path) {
            Self {
                text,
                place: Some((origin, path)),
                ..
            } => Problem::at(origin, &path, text),
            Self {
                text, place: None, ..
            } => Problem::of_file(text),
        }
    }
}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let is_scalar = !matches!(
            unexpected,
            Unexpected::Seq | Unexpected::Map | Unexpected::Unit
        );
        let wanted = wanted(&expected.to_string());
        if let Unexpected::Str(text) = unexpected
            && wanted == "a whole number"
            && is_over_long(text)
        {
            return Self::new(format!("the number {text} is out of range"));
        }
        let quotes = if is_scalar && wanted == "text" {
            "; put it in quotes"
        } else {
            ""
        };
        Self::new(format!(
            "expected {wanted}, found {}{quotes}",
            found(unexpected)
        ))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match unexpected {
            Unexpected::Signed(number) => Self::new(format!("the number {number} is out of range")),
            other => Self::new(format!("expected {expected}, found {}", found(other))),
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let choices = expected.join(", ");
        Self::new(match (nearest(variant, expected), expected) {
            (Some(near), _) => format!("there is no {variant:?}; did you mean {near}?"),
            (None, [only]) => format!("there is no {variant:?}; there is {only} only"),
            (None, _) => format!("there is no {variant:?}; there are {choices}"),
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            missing: Some(field),
            ..Self::new("it is missing; give it")
        }
    }
}

/// Whether a text is a whole number of too many digits, which YAML leaves as text.
fn is_over_long(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number && text.parse::<i64>().is_err() && text.len() - digits.len() <= 1
}

/// What serde expects, in a manifest's words.
fn wanted(expected: &str) -> String {
    let words = match expected {
        "a string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" => "a whole number",
        _ if expected.starts_with("struct ") || expected == "a map" => "a map",
        _ => return expected.to_owned(),
    };
    words.to_owned()
}

fn found(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => format!("the boolean {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(text) if text.chars().count() > 40 => "a long text".to_owned(),
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        Unexpected::Unit => "nothing".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl std::error::Error for FieldError {}
