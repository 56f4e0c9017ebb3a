//! `startFrom`: what state a job starts from when it is created.

use crate::job_config::{StartPoint, job_folder};

/// What `startFrom` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// The newest checkpoint in the job's own folder, or no state when there is none.
    Latest,
    /// No state.
    Empty,
    /// A checkpoint by the name of its object, `<job>-<number>` unless a user named it.
    Name(String),
    /// A job's folder, with the checkpoint's number after a hash sign unless the newest is meant.
    Url {
        /// The folder, without a slash at the end.
        folder: String,
        /// The checkpoint's number.
        checkpoint_id: Option<u64>,
    },
}

/// Why `startFrom` cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartFromError {
    /// Neither a word, a name nor a URL.
    #[error(
        "{text:?} is neither Latest, nor Empty, nor a checkpoint's name, nor the URL of a job's \
         folder"
    )]
    Unknown {
        /// What was given.
        text: String,
    },
    /// A URL whose part after the hash sign is no number from 1.
    #[error("{fragment:?} after the hash sign is no checkpoint's number")]
    Number {
        /// What stands after the hash sign.
        fragment: String,
    },
    /// A name that does not tell its job and number.
    #[error("the checkpoint name {name:?} does not end in a hyphen and the checkpoint's number")]
    Name {
        /// The name.
        name: String,
    },
}

impl StartFrom {
    /// Reads `startFrom`'s text.
    ///
    /// # Errors
    /// Text that has none of the four forms.
    pub fn parse(text: &str) -> Result<Self, StartFromError> {
        let unknown = || StartFromError::Unknown {
            text: text.to_owned(),
        };
        match text {
            "Latest" => Ok(Self::Latest),
            "Empty" => Ok(Self::Empty),
            _ if is_location(text) => {
                let (folder, fragment) = match text.rsplit_once('#') {
                    Some((folder, fragment)) => (folder, Some(fragment)),
                    None => (text, None),
                };
                let folder = folder.trim_end_matches('/');
                if folder.is_empty() || folder.ends_with(':') {
                    return Err(unknown());
                }
                let checkpoint_id = fragment.map(parse_number).transpose()?;
                Ok(Self::Url {
                    folder: folder.to_owned(),
                    checkpoint_id,
                })
            }
            // A checkpoint may bear these names, but who writes them means the words.
            _ if ["latest", "empty"].contains(&text.to_ascii_lowercase().as_str()) => {
                Err(unknown())
            }
            _ if is_object_name(text) => Ok(Self::Name(text.to_owned())),
            _ => Err(unknown()),
        }
    }

    /// What it means to a job process. A name is resolved without a cluster, as a checkpoint of a
    /// job in the same namespace and storage.
    ///
    /// # Errors
    /// A name that does not tell its job and number.
    pub fn resolve(
        &self,
        storage_url: &str,
        namespace: &str,
    ) -> Result<StartPoint, StartFromError> {
        match self {
            Self::Latest => Ok(StartPoint::Latest),
            Self::Empty => Ok(StartPoint::Empty),
            Self::Url {
                folder,
                checkpoint_id,
            } => Ok(StartPoint::Checkpoint {
                folder: folder.clone(),
                checkpoint_id: *checkpoint_id,
            }),
            Self::Name(name) => {
                let unclear = || StartFromError::Name { name: name.clone() };
                let (job, number) = name.rsplit_once('-').ok_or_else(unclear)?;
                let number = parse_number(number).map_err(|_| unclear())?;
                Ok(StartPoint::Checkpoint {
                    folder: job_folder(storage_url, namespace, job),
                    checkpoint_id: Some(number),
                })
            }
        }
    }
}

/// Whether a text can only be meant as a path, but does not begin as one, so that
/// [`StartFrom::parse`] does not take it for one.
pub fn is_bare_path(text: &str) -> bool {
    text.contains('/') && !text.contains(':') && !text.starts_with(['/', '.'])
}

fn parse_number(text: &str) -> Result<u64, StartFromError> {
    let wrong = || StartFromError::Number {
        fragment: text.to_owned(),
    };
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_digits && number > 0 => Ok(number),
        _ => Err(wrong()),
    }
}

/// A path, or a URL with a scheme.
fn is_location(text: &str) -> bool {
    text.starts_with(['/', '.']) || text.contains("://") || text.starts_with("file:/")
}

/// An object's name in Kubernetes: dot-separated labels, at most 253 characters.
fn is_object_name(text: &str) -> bool {
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(is_edge)
            && bytes.last().copied().is_some_and(is_edge)
            && bytes.iter().all(|&byte| is_edge(byte) || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn url(folder: &str, checkpoint_id: Option<u64>) -> StartFrom {
        StartFrom::Url {
            folder: folder.to_owned(),
            checkpoint_id,
        }
    }

    #[rstest]
    #[case("Latest", StartFrom::Latest)]
    #[case("Empty", StartFrom::Empty)]
    #[case("word-count-42", StartFrom::Name("word-count-42".to_owned()))]
    #[case("before.upgrade", StartFrom::Name("before.upgrade".to_owned()))]
    #[case(
        "s3://bucket/x/default/word-count#42",
        url("s3://bucket/x/default/word-count", Some(42))
    )]
    #[case(
        "s3://bucket/x/default/word-count/",
        url("s3://bucket/x/default/word-count", None)
    )]
    #[case("/data/default/word-count#7", url("/data/default/word-count", Some(7)))]
    #[case("./data/default/word-count", url("./data/default/word-count", None))]
    #[case("file:///data/a/b#1", url("file:///data/a/b", Some(1)))]
    fn each_form_is_understood(#[case] text: &str, #[case] expected: StartFrom) {
        assert_eq!(StartFrom::parse(text), Ok(expected));
    }

    #[rstest]
    #[case("latest!")]
    #[case("Newest")]
    #[case("latest")]
    #[case("EMPTY")]
    #[case("")]
    #[case("-x")]
    #[case("s3://")]
    #[case("s3://bucket/job#")]
    #[case("s3://bucket/job#0")]
    #[case("s3://bucket/job#newest")]
    #[case("s3://bucket/job#+1")]
    fn other_text_is_refused(#[case] text: &str) {
        assert!(StartFrom::parse(text).is_err(), "{text}");
    }

    #[test]
    fn a_name_is_resolved_to_a_folder_beside_the_jobs_own() {
        let start = StartFrom::Name("other-job-7".to_owned());
        let expected = StartPoint::Checkpoint {
            folder: "s3://bucket/p/default/other-job".to_owned(),
            checkpoint_id: Some(7),
        };
        assert_eq!(start.resolve("s3://bucket/p/", "default"), Ok(expected));
    }

    #[test]
    fn a_name_without_a_number_cannot_be_resolved_without_a_cluster() {
        let start = StartFrom::Name("before-upgrade".to_owned());
        let error = start.resolve("/data", "default").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the checkpoint name \"before-upgrade\" does not end in a hyphen and the checkpoint's \
             number"
        );
    }
}
