//! Removes what is left of revisions that are gone: who removed one, or began to make it, may have
//! been cut short.

use tidegate_api::pod::revision_name;

use super::draft::Draft;
use super::roles::indispensable;
use crate::plan::{Child, ChildName};

impl Draft<'_> {
    /// Removes each ConfigMap whose revision has no Deployment and is not being made; its
    /// certificate goes along. Comes last, when it is decided what is made.
    ///
    /// A revision that the status names keeps its own: Deployments may be seen as they were before
    /// it.
    pub(super) fn remove_leftovers(&mut self) {
        let job = self.job_name();
        let observed = self.observed;
        let leftovers = observed.config_maps.iter().filter(|revision| {
            let mut standing = observed.revisions.iter();
            !standing.any(|it| it.revision == **revision) && !self.is_named(revision)
        });
        let names = leftovers.map(|revision| revision_name(job, revision));
        let names: Vec<String> = names.filter(|name| !self.is_made(name)).collect();
        if !names.is_empty() {
            self.delete
                .extend(names.into_iter().map(ChildName::ConfigMap));
            self.soon();
        }
    }

    /// Whether the status has the revision own the job, or be the way back of an upgrade that is
    /// open. The one that takes over is made again where it is not seen.
    fn is_named(&self, revision: &str) -> bool {
        indispensable(self.revision.as_deref(), self.upgrade.as_ref()).any(|it| it == revision)
    }

    fn is_made(&self, name: &str) -> bool {
        self.apply.iter().any(|child| {
            matches!(child, Child::ConfigMap(map) if map.metadata.name.as_deref() == Some(name))
        })
    }
}
