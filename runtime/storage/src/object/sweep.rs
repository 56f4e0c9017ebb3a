//! Listings page by page.

use futures::TryStreamExt;

use super::fault::Answer;
use super::store::ObjectStore;
use crate::{Result, StorageError};

/// Whether a server told by name that it has no such bucket, as nothing in between would.
pub(crate) fn is_bucket_gone(error: &StorageError) -> bool {
    let StorageError::Failed { source, .. } = error else {
        return false;
    };
    let answer = source.downcast_ref::<Answer>();
    answer.is_some_and(Answer::names_missing_bucket)
}

impl ObjectStore {
    /// The next names below a folder after this one, ascending; at most `count`.
    pub(crate) async fn page(
        &self,
        folder: &str,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<String>> {
        let prefix = &format!("{folder}/");
        let listed = self.retried("list", prefix, |operator| async move {
            let mut lister = operator.lister_with(prefix).recursive(true).limit(count);
            if let Some(after) = after {
                lister = lister.start_after(after);
            }
            let mut lister = lister.await?;
            let mut names = Vec::with_capacity(count);
            while names.len() < count
                && let Some(entry) = lister.try_next().await?
            {
                // Some servers list the prefix itself.
                if !entry.path().ends_with('/') {
                    names.push(entry.path().to_owned());
                }
            }
            Ok(names)
        });
        listed.await
    }
}
