//! What a commit needs to know of a file, as it stands in a checkpoint.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_engine::{PermanentError, Result};
use tidegate_storage::S3Url;

use super::local::Folders;
use super::place::Place;

/// A file that is whole and durable, and not visible yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transaction {
    /// The sink's place when it was written, which may have another one by now: an absolute
    /// `file:///` or an `s3://` URL. Absent: the folder of the sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
    /// The job that wrote it, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<String>,
    /// Its name in the pending folder.
    pub(super) pending: String,
    /// Its name once it is committed.
    pub(super) file: String,
    pub(super) size_bytes: u64,
}

/// Transactions by where they are to be committed.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    pub(super) folders: Vec<(Folders, Vec<Transaction>)>,
    pub(super) buckets: Vec<(S3Url, Vec<Transaction>)>,
}

impl Transaction {
    /// Whether another job than this one wrote it.
    pub(super) fn is_of_another(&self, job: &str) -> bool {
        self.job.as_ref().is_some_and(|writer| writer != job)
    }

    pub(super) fn parse_all(values: Vec<Value>) -> Result<Vec<Self>> {
        let parse = |value: Value| {
            serde_json::from_value(value).map_err(|error| {
                let message = "a transaction in the checkpoint is none of a file sink; the sink of \
                               this id was another one when it was taken";
                PermanentError::with_source(message, error).into()
            })
        };
        values.into_iter().map(parse).collect()
    }
}

impl Grouped {
    /// Where each is to be committed, given where the sink writes now: a folder may have been
    /// moved together with what is pending in it, and a bucket may have another server's name.
    pub(super) fn of(own: &Place, transactions: Vec<Transaction>) -> Result<Self> {
        let mut grouped = Self::default();
        for transaction in transactions {
            let written = transaction.place.as_deref().map(Place::parse).transpose()?;
            let folders = match (written, own) {
                (None, Place::Folder(own)) => Folders::only(own.clone()),
                (Some(Place::Folder(written)), Place::Folder(own)) => Folders::of(written, own),
                (Some(Place::Folder(written)), Place::Bucket(_)) => Folders::only(written),
                (None, Place::Bucket(_)) => {
                    let message = "the checkpoint has files of a folder that it does not name; \
                                   let the sink write to that folder again";
                    return Err(PermanentError::new(message).into());
                }
                (Some(Place::Bucket(url)), own) => {
                    let url = own.same_bucket(&url).unwrap_or(&url).clone();
                    add(&mut grouped.buckets, &url, transaction);
                    continue;
                }
            };
            add(&mut grouped.folders, &folders, transaction);
        }
        Ok(grouped)
    }
}

/// Adds a transaction to those of its place.
pub(super) fn add<P: PartialEq + Clone>(
    groups: &mut Vec<(P, Vec<Transaction>)>,
    place: &P,
    transaction: Transaction,
) {
    match groups.iter_mut().find(|(other, _)| other == place) {
        Some((_, group)) => group.push(transaction),
        None => groups.push((place.clone(), vec![transaction])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written_to(place: Option<&str>) -> Transaction {
        Transaction {
            place: place.map(str::to_owned),
            job: None,
            pending: "p".into(),
            file: "f".into(),
            size_bytes: 1,
        }
    }

    #[test]
    fn a_sink_that_has_moved_commits_where_it_wrote() {
        let own = Place::parse("s3://bucket/new?endpoint=http://b:1").unwrap();
        let all = [
            "s3://bucket/old",
            "s3://bucket/new?endpoint=http://a:1",
            "file:///out",
        ];
        let all = all.map(|place| written_to(Some(place))).to_vec();
        let grouped = Grouped::of(&own, all).unwrap();
        let buckets: Vec<_> = grouped
            .buckets
            .iter()
            .map(|(url, _)| url.to_string())
            .collect();
        assert_eq!(
            buckets,
            ["s3://bucket/old", "s3://bucket/new?endpoint=http://b:1"]
        );
        assert_eq!(grouped.folders[0].0, Folders::only("/out".into()));
    }

    #[test]
    fn a_folder_s_files_are_where_they_were_written_or_where_the_folder_is_now() {
        let own = Place::parse("here").unwrap();
        let here = std::path::absolute("here").unwrap();
        let all = [
            None,
            Some(here.to_str().unwrap()),
            Some("here"),
            Some("file:///there"),
        ];
        let grouped = Grouped::of(&own, all.map(written_to).to_vec()).unwrap();
        let folders: Vec<_> = grouped
            .folders
            .iter()
            .map(|(folders, transactions)| (folders.clone(), transactions.len()))
            .collect();
        let there = Folders::of("/there".into(), "here".as_ref());
        assert_eq!(folders, [(Folders::only("here".into()), 3), (there, 1)]);
    }
}
