//! What is wrong with a manifest, with the place where it was written.

use std::fmt;

use crate::path::FieldPath;
use crate::yaml::{Node, Origin, YamlError};

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where it was written; the file as a whole when absent.
    pub(crate) origin: Option<Origin>,
    /// The field's path; empty when it is about no field.
    pub(crate) path: String,
    /// What is wrong and what to do.
    pub(crate) text: String,
}

impl Problem {
    /// A problem of the file as a whole.
    pub(crate) fn of_file(text: impl Into<String>) -> Self {
        Self {
            origin: None,
            path: String::new(),
            text: text.into(),
        }
    }

    /// A problem of a field.
    pub(crate) fn at(origin: Origin, path: &FieldPath, text: impl Into<String>) -> Self {
        Self {
            origin: Some(origin),
            path: path.to_string(),
            text: text.into(),
        }
    }

    /// A problem of a field that is known by its path only.
    pub(crate) fn in_document(document: &Node, path: &str, text: impl Into<String>) -> Self {
        let origin = match FieldPath::parse(path) {
            Ok(path) => document.origin_of(&path),
            Err(_) => document.origin,
        };
        Self {
            origin: Some(origin),
            path: path.to_owned(),
            text: text.into(),
        }
    }

    /// The problem with the name of its file or option before it.
    pub(crate) fn render<'a>(&'a self, file: &'a str, sets: &'a [String]) -> impl fmt::Display {
        let place = match self.origin {
            Some(Origin::File(position)) => format!("{file}:{position}: "),
            Some(Origin::Set(index)) => match sets.get(index) {
                Some(set) => format!("--set {set}: "),
                None => String::new(),
            },
            None => format!("{file}: "),
        };
        let separator = if self.path.is_empty() { "" } else { ": " };
        format!("{place}{}{separator}{}", self.path, self.text)
    }
}

impl From<YamlError> for Problem {
    fn from(error: YamlError) -> Self {
        // Its text begins with its place, and so goes on from the file's name.
        let text = error.to_string();
        match error.position() {
            Some(position) => {
                let prefix = format!("{position}: ");
                let text = text.strip_prefix(&prefix).unwrap_or(&text).to_owned();
                Self {
                    origin: Some(Origin::File(position)),
                    path: String::new(),
                    text,
                }
            }
            None => Self::of_file(text),
        }
    }
}

/// The best of some known words for one that is not known, when one is near.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const NEAR: f64 = 0.8;
    let closeness = |candidate: &str| {
        strsim::jaro_winkler(&word.to_ascii_lowercase(), &candidate.to_ascii_lowercase())
    };
    known
        .iter()
        .map(|candidate| (closeness(candidate), *candidate))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("paralelism", Some("parallelism"))]
    #[case("max_parallelism", Some("maxParallelism"))]
    #[case("Program", Some("program"))]
    #[case("volumes", None)]
    fn a_misspelt_word_is_recognised(#[case] word: &str, #[case] expected: Option<&str>) {
        let known = [
            "parallelism",
            "maxParallelism",
            "program",
            "sql",
            "checkpoint",
        ];
        assert_eq!(nearest(word, &known), expected);
    }
}
