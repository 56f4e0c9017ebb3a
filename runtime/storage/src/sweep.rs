//! Deleting whatever a rule says below a folder, without ever holding all its names.

use std::time::Duration;

use crate::Result;
use crate::Store;
use crate::local::LocalStore;
use crate::store::{Backend, blocking};

/// How many names are looked at before those of them that go are deleted.
pub(crate) const PAGE_LENGTH: usize = 1_000;

impl Store {
    /// Deletes each name below a folder that `is_garbage` says so of, page by page; tells how many.
    /// A name is asked about once. Memory does not grow with the number of names of a bucket.
    pub(crate) async fn delete_where(
        &self,
        folder: &str,
        is_garbage: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<u64> {
        match self.backend().clone() {
            Backend::Local(store) => {
                let folder = folder.to_owned();
                blocking(move || store.delete_where(&folder, &is_garbage)).await
            }
            Backend::Object(store) => {
                let mut deleted_count = 0;
                let mut after = None;
                loop {
                    let page = store.page(folder, after.as_deref(), PAGE_LENGTH).await?;
                    let Some(last) = page.last().cloned() else {
                        return Ok(deleted_count);
                    };
                    let garbage = page.into_iter().filter(|name| is_garbage(name)).collect();
                    deleted_count += store.delete(garbage).await?;
                    after = Some(last);
                }
            }
        }
    }

    /// Some names below a folder, at any depth: as many as asked for, or all there are.
    pub(crate) async fn first_names(&self, folder: &str, count: usize) -> Result<Vec<String>> {
        match self.backend().clone() {
            Backend::Local(store) => {
                let folder = folder.to_owned();
                blocking(move || store.first_names(&folder, count)).await
            }
            Backend::Object(store) => store.page(folder, None, count).await,
        }
    }

    /// Removes the temporary files directly in a folder, where the store has any: no process that
    /// counts writes there any more.
    pub(crate) async fn remove_temporary(&self, folder: &str) -> Result<()> {
        match self.backend().clone() {
            Backend::Local(store) => {
                let folder = folder.to_owned();
                blocking(move || store.remove_left_overs(&folder, Duration::ZERO)).await
            }
            Backend::Object(_) => Ok(()),
        }
    }
}

impl LocalStore {
    fn delete_where(&self, folder: &str, is_garbage: &dyn Fn(&str) -> bool) -> Result<u64> {
        let mut deleted_count = 0;
        self.visit(folder, &mut |store, folder, names| {
            let before = deleted_count;
            for name in names.iter().filter(|name| is_garbage(name)) {
                deleted_count += u64::from(store.delete(name)?);
            }
            if deleted_count > before {
                store.sync(folder)?;
            }
            Ok(true)
        })?;
        Ok(deleted_count)
    }

    fn first_names(&self, folder: &str, count: usize) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.visit(folder, &mut |_, _, names| {
            found.extend(names);
            Ok(found.len() < count)
        })?;
        found.truncate(count);
        Ok(found)
    }
}
