//! Objects of one kind, by the job that they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Tracked;
use super::removals::Removals;
use crate::queue::JobKey;

/// Where an object is: its namespace and name.
pub(super) type Place = (String, String);

/// Objects of one kind, by the job that they belong to. Lookups of a job cost what it has.
///
/// # Invariants
/// - An object never makes room for an older version of itself, so that what this controller wrote
///   stays known while a watch lags behind: see `an_older_version_changes_nothing`.
/// - What the server deleted does not come back with what is told of it too late: see
///   `what_was_deleted_does_not_come_back_with_a_late_answer`.
#[derive(Debug)]
pub struct Store<K> {
    inner: RwLock<Inner<K>>,
}

#[derive(Debug)]
struct Inner<K> {
    jobs: HashMap<JobKey, BTreeMap<String, Arc<K>>>,
    /// The job that each object is kept under.
    owners: HashMap<Place, JobKey>,
    removals: Removals,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self {
            inner: RwLock::new(Inner {
                jobs: HashMap::new(),
                owners: HashMap::new(),
                removals: Removals::default(),
            }),
        }
    }
}

impl<K: Tracked> Store<K> {
    /// The objects of a job, by name.
    pub fn of(&self, job: &JobKey) -> Vec<Arc<K>> {
        let inner = self.read();
        let objects = inner.jobs.get(job);
        objects
            .map(|objects| objects.values().cloned().collect())
            .unwrap_or_default()
    }

    /// An object, whatever job it belongs to.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let inner = self.read();
        let owner = inner.owners.get(&(namespace.to_owned(), name.to_owned()))?;
        inner.jobs.get(owner)?.get(name).cloned()
    }

    /// The jobs that something is kept of.
    pub fn keys(&self) -> Vec<JobKey> {
        self.read().jobs.keys().cloned().collect()
    }

    /// Every object.
    pub fn all(&self) -> Vec<Arc<K>> {
        let inner = self.read();
        inner
            .jobs
            .values()
            .flat_map(|objects| objects.values().cloned())
            .collect()
    }

    /// Keeps an object, unless a newer version is kept or went already. Gives the jobs that this
    /// concerns: none if nothing changed, two if it went from one to another.
    pub fn upsert(&self, object: K) -> Vec<JobKey> {
        let Some(place) = place(&object) else {
            return Vec::new();
        };
        let job = job(&object, &place);
        let mut inner = self.write();
        if inner.is_late(&place, version(&object)) {
            return Vec::new();
        }
        let mut concerned: Vec<JobKey> = inner.remove(&place).into_iter().collect();
        if let Some(job) = job {
            let name = place.1.clone();
            inner.owners.insert(place, job.clone());
            inner
                .jobs
                .entry(job.clone())
                .or_default()
                .insert(name, Arc::new(object));
            if !concerned.contains(&job) {
                concerned.push(job);
            }
        } else if !concerned.is_empty() {
            inner.remember(place, version(&object));
        }
        concerned
    }

    /// Drops an object that the server deleted, unless another of its name was made since. Gives
    /// the job that this concerns, also where the object was dropped before.
    pub fn remove(&self, object: &K) -> Option<JobKey> {
        let place = place(object)?;
        let mut inner = self.write();
        let kept = inner.get(&place).and_then(version);
        if kept > version(object) {
            return None;
        }
        let owner = inner.remove(&place).or_else(|| job(object, &place));
        inner.remember(place, version(object));
        owner
    }

    /// Drops what a list of a namespace (or of all) did not have. That is no removal to remember:
    /// the list may be older than what it lacks.
    pub(super) fn retain(&self, namespace: Option<&str>, listed: &BTreeSet<Place>) -> Vec<JobKey> {
        let mut inner = self.write();
        let is_gone = |place: &&Place| {
            namespace.is_none_or(|namespace| namespace == place.0) && !listed.contains(*place)
        };
        let gone: Vec<Place> = inner.owners.keys().filter(is_gone).cloned().collect();
        gone.iter()
            .filter_map(|place| inner.remove(place))
            .collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<K>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<K>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Tracked> Inner<K> {
    fn get(&self, place: &Place) -> Option<&K> {
        let owner = self.owners.get(place)?;
        self.jobs.get(owner)?.get(&place.1).map(Arc::as_ref)
    }

    /// Whether what is known of a place is as new as this version.
    fn is_late(&self, place: &Place, version: Option<u64>) -> bool {
        let is_kept = self
            .get(place)
            .is_some_and(|old| self::version(old) >= version);
        let removed = self.removals.version(place);
        is_kept || removed.is_some_and(|removed| Some(removed) >= version)
    }

    fn remember(&mut self, place: Place, version: Option<u64>) {
        if let Some(version) = version {
            self.removals.add(place, version);
        }
    }

    fn remove(&mut self, place: &Place) -> Option<JobKey> {
        let owner = self.owners.remove(place)?;
        if let Some(objects) = self.jobs.get_mut(&owner) {
            objects.remove(&place.1);
            if objects.is_empty() {
                self.jobs.remove(&owner);
            }
        }
        Some(owner)
    }
}

/// The job that an object at this place belongs to.
fn job<K: Tracked>(object: &K, (namespace, _): &Place) -> Option<JobKey> {
    let name = object.job_name()?;
    Some(JobKey {
        namespace: namespace.clone(),
        name,
    })
}

/// The namespace and name of an object.
pub(super) fn place<K: Tracked>(object: &K) -> Option<Place> {
    let metadata = object.meta();
    Some((metadata.namespace.clone()?, metadata.name.clone()?))
}

/// Resource versions are numbers that grow, as Kubernetes 1.35 has it documented and etcd always
/// had it.
fn version<K: Tracked>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::ObjectMeta;
    use tidegate_api::labels::LABEL_JOB;

    use super::*;

    fn pod(name: &str, job: Option<&str>, version: u64) -> Pod {
        let labels = job.map(|job| [(LABEL_JOB.to_owned(), job.to_owned())].into());
        Pod {
            metadata: ObjectMeta {
                namespace: Some("shop".to_owned()),
                name: Some(name.to_owned()),
                resource_version: Some(version.to_string()),
                labels,
                ..ObjectMeta::default()
            },
            ..Pod::default()
        }
    }

    fn key(name: &str) -> JobKey {
        JobKey {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn an_older_version_changes_nothing() {
        let store = Store::default();
        assert_eq!(store.upsert(pod("a", Some("orders"), 10)), [key("orders")]);
        assert_eq!(store.upsert(pod("a", Some("orders"), 9)), []);
        assert_eq!(
            store.upsert(pod("a", Some("orders"), 10)),
            [],
            "our own write comes back"
        );
        assert_eq!(
            store.remove(&pod("a", Some("orders"), 8)),
            None,
            "another of its name"
        );
        assert_eq!(store.of(&key("orders")).len(), 1);
        assert_eq!(
            store.remove(&pod("a", Some("orders"), 11)),
            Some(key("orders"))
        );
        assert!(store.get("shop", "a").is_none() && store.keys().is_empty());
    }

    #[test]
    fn what_was_deleted_does_not_come_back_with_a_late_answer() {
        let store = Store::default();
        store.upsert(pod("a", Some("orders"), 10));
        assert_eq!(
            store.remove(&pod("a", Some("orders"), 12)),
            Some(key("orders"))
        );
        for late in [10, 11, 12] {
            assert_eq!(store.upsert(pod("a", Some("orders"), late)), []);
        }
        assert!(store.all().is_empty() && store.keys().is_empty());
        assert_eq!(
            store.upsert(pod("a", Some("orders"), 13)),
            [key("orders")],
            "another of its name"
        );
        assert_eq!(store.of(&key("orders")).len(), 1);
    }

    #[test]
    fn a_deletion_is_told_also_where_the_object_was_dropped_before() {
        let store = Store::default();
        store.upsert(pod("a", Some("orders"), 10));
        store.remove(&pod("a", Some("orders"), 10));
        assert_eq!(
            store.remove(&pod("a", Some("orders"), 11)),
            Some(key("orders"))
        );
    }

    #[test]
    fn an_object_that_changes_its_job_concerns_both() {
        let store = Store::default();
        store.upsert(pod("a", Some("orders"), 1));
        assert_eq!(
            store.upsert(pod("a", Some("bills"), 2)),
            [key("orders"), key("bills")]
        );
        assert_eq!(store.of(&key("orders")).len(), 0);
        assert_eq!(store.upsert(pod("a", None, 3)), [key("bills")]);
        assert!(store.all().is_empty());
        assert_eq!(store.upsert(pod("a", Some("bills"), 2)), [], "it is late");
    }

    #[test]
    fn a_list_drops_what_it_does_not_have_in_its_namespace_only() {
        let store = Store::default();
        store.upsert(pod("a", Some("orders"), 1));
        store.upsert(pod("b", Some("bills"), 2));
        let listed = [("shop".to_owned(), "a".to_owned())].into();
        assert_eq!(store.retain(Some("other"), &listed), []);
        assert_eq!(store.retain(Some("shop"), &listed), [key("bills")]);
        assert_eq!(store.retain(None, &BTreeSet::new()), [key("orders")]);
        // The list was older than what it lacked.
        assert_eq!(store.upsert(pod("a", Some("orders"), 1)), [key("orders")]);
    }
}
