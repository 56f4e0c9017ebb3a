//! Paths of fields: `spec.program.env[0].value`.

use std::fmt;

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A map's member.
    Key(String),
    /// A list's element, counted from 0.
    Index(usize),
}

/// The path of a field, from the document's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldPath(Vec<Segment>);

/// Why a text is no path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no field's path; write it as in spec.parallelism, spec.program.args[0] or \
     spec.podTemplate.metadata.labels[\"app.kubernetes.io/name\"]"
)]
pub(crate) struct PathError {
    text: String,
}

impl FieldPath {
    /// Reads keys separated by dots, indices in brackets, and quoted keys in brackets.
    ///
    /// # Errors
    /// Text of another form.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        let wrong = || PathError {
            text: text.to_owned(),
        };
        let mut segments = Vec::new();
        let mut rest = text;
        loop {
            if let Some(bracketed) = rest.strip_prefix('[') {
                let (segment, after) = bracket(bracketed).ok_or_else(wrong)?;
                segments.push(segment);
                rest = after;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let key = &rest[..end];
                if key.is_empty() || key.contains([']', '"', ' ']) {
                    return Err(wrong());
                }
                segments.push(Segment::Key(key.to_owned()));
                rest = &rest[end..];
            }
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None if rest.is_empty() => return Ok(Self(segments)),
                None if rest.starts_with('[') => {}
                None => return Err(wrong()),
            }
        }
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The path of a member.
    pub(crate) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// The path of an element.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

/// What stands in brackets, and what follows them.
fn bracket(text: &str) -> Option<(Segment, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (key, after) = quoted.split_once("\"]")?;
        return Some((Segment::Key(key.to_owned()), after));
    }
    let (digits, after) = text.split_once(']')?;
    let is_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let index = is_digits.then(|| digits.parse().ok()).flatten()?;
    Some((Segment::Index(index), after))
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if key.contains(['.', '[', ' ']) => write!(f, "[\"{key}\"]")?,
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("spec")]
    #[case("spec.parallelism")]
    #[case("spec.program.args[0]")]
    #[case("spec.program.env[12].value")]
    #[case("spec.podTemplate.metadata.labels[\"app.kubernetes.io/name\"]")]
    #[case("a[0][1].b")]
    fn a_path_is_printed_as_it_was_read(#[case] text: &str) {
        assert_eq!(FieldPath::parse(text).unwrap().to_string(), text);
    }

    #[rstest]
    #[case("")]
    #[case(".spec")]
    #[case("spec.")]
    #[case("spec..x")]
    #[case("spec[x]")]
    #[case("spec[0")]
    #[case("spec[-1]")]
    #[case("spec[0]x")]
    #[case("spec[\"x]")]
    #[case("spec x")]
    fn other_text_is_no_path(#[case] text: &str) {
        assert!(FieldPath::parse(text).is_err(), "{text}");
    }
}
