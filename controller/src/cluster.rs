//! What the API server holds of our kinds, kept up to date by watches.
//!
//! ```text
//! API server ─ watch ─▶ trim ─▶ Store, by job ─▶ observe
//!                                  └─ touched jobs ─▶ queue
//! writes of our own ─ note ─▶ Store, so that the next pass does not see what was before
//! ```

mod coverage;
mod kinds;
mod removals;
mod store;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use tidegate_api::{Checkpoint, StreamJob};
use tokio::task::JoinSet;

use crate::queue::{JobKey, Queue};

use coverage::Coverage;
pub use kinds::Tracked;
pub use store::Store;

/// A kind of which only the metadata is kept.
pub type Meta<K> = PartialObjectMeta<K>;

/// Everything that is watched.
#[derive(Debug, Default)]
pub struct Cluster {
    /// The jobs.
    pub jobs: Store<StreamJob>,
    /// The checkpoints, of all jobs that they name.
    pub checkpoints: Store<Checkpoint>,
    /// The revisions' Deployments.
    pub deployments: Store<Deployment>,
    /// The jobs' pods, those that remove files included.
    pub pods: Store<Pod>,
    /// The revisions' settings.
    pub config_maps: Store<Meta<ConfigMap>>,
    /// Who may talk to the jobs' pods.
    pub network_policies: Store<Meta<NetworkPolicy>>,
    /// How many pods a drain may take.
    pub disruption_budgets: Store<Meta<PodDisruptionBudget>>,
    /// How far the watches are.
    coverage: Coverage,
}

/// A kind of which each [`Cluster`] has a store.
pub trait Held: Tracked {
    /// The store of this kind.
    fn store(cluster: &Cluster) -> &Store<Self>;
}

macro_rules! held {
    ($($kind:ty => $field:ident),* $(,)?) => {
        $(impl Held for $kind {
            fn store(cluster: &Cluster) -> &Store<Self> {
                &cluster.$field
            }
        })*
    };
}

held! {
    StreamJob => jobs,
    Checkpoint => checkpoints,
    Deployment => deployments,
    Pod => pods,
    Meta<ConfigMap> => config_maps,
    Meta<NetworkPolicy> => network_policies,
    Meta<PodDisruptionBudget> => disruption_budgets,
}

impl Cluster {
    /// Starts to watch these namespaces, or all if none is given, and adds the jobs that change to
    /// the queue. The watches end with the set.
    pub fn watch(client: &Client, namespaces: &[String], queue: &Arc<Queue>) -> Watching {
        let cluster = Arc::new(Self::default());
        let scopes: Vec<Option<String>> = match namespaces {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        };
        let mut watching = Watching {
            cluster,
            tasks: JoinSet::new(),
        };
        for scope in &scopes {
            watching.guarded::<StreamJob>(client, scope.as_deref(), queue);
            watching.guarded::<Checkpoint>(client, scope.as_deref(), queue);
            watching.whole::<Deployment>(client, scope.as_deref(), queue);
            watching.whole::<Pod>(client, scope.as_deref(), queue);
            watching.whole::<Meta<ConfigMap>>(client, scope.as_deref(), queue);
            watching.whole::<Meta<NetworkPolicy>>(client, scope.as_deref(), queue);
            watching.whole::<Meta<PodDisruptionBudget>>(client, scope.as_deref(), queue);
        }
        watching
    }

    /// Whether every watch has listed.
    pub fn is_synced(&self) -> bool {
        self.coverage.is_whole()
    }

    /// Whether there is something to act on: a namespace that the API server forbids, since it was
    /// deleted, does not hold up the others.
    pub fn is_usable(&self) -> bool {
        self.coverage.is_usable()
    }

    /// Whether every watch of this namespace has listed, so that what is not in a store is not
    /// there.
    pub fn knows(&self, namespace: &str) -> bool {
        self.coverage.knows(namespace)
    }

    /// Takes note of what a write of our own gave, so that the next pass knows it. A write that
    /// took the last finalizer off what was being deleted gives what is not there any more.
    pub fn note<K: Held>(&self, mut object: K) {
        if is_gone(object.meta()) {
            K::store(self).remove(&object);
            return;
        }
        object.trim();
        K::store(self).upsert(object);
    }

    /// The jobs that there are, and those that something is left of.
    pub fn keys(&self) -> BTreeSet<JobKey> {
        let mut keys: BTreeSet<JobKey> = self.jobs.keys().into_iter().collect();
        keys.extend(self.checkpoints.keys());
        keys
    }
}

/// Whether nothing keeps an object any more: it was deleted, and neither a finalizer nor a pod's
/// time to end in peace holds it.
fn is_gone(metadata: &ObjectMeta) -> bool {
    let has_finalizers = metadata.finalizers.iter().flatten().next().is_some();
    let has_time = metadata
        .deletion_grace_period_seconds
        .is_some_and(|seconds| seconds > 0);
    metadata.deletion_timestamp.is_some() && !has_finalizers && !has_time
}

/// A cluster and the watches that keep it up to date.
#[derive(Debug)]
pub struct Watching {
    /// What is known.
    pub cluster: Arc<Cluster>,
    tasks: JoinSet<()>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(version: &str, finalizers: &[&str], deleted: Option<&str>) -> StreamJob {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob",
            "metadata": {
                "namespace": "shop", "name": "orders", "uid": "a", "resourceVersion": version,
                "finalizers": finalizers, "deletionTimestamp": deleted,
            },
            "spec": {"sql": "SELECT 1"},
        }))
        .unwrap()
    }

    const DELETED: Option<&str> = Some("2026-11-24T12:00:00Z");

    #[test]
    fn a_job_that_lost_its_last_finalizer_is_gone_with_the_answer() {
        let cluster = Cluster::default();
        cluster.note(job("10", &["ours", "theirs"], DELETED));
        cluster.note(job("11", &["theirs"], DELETED));
        assert_eq!(cluster.keys().len(), 1, "others still hold it");
        cluster.note(job("11", &[], DELETED));
        assert!(cluster.keys().is_empty());
        // An answer that was under way meanwhile.
        cluster.note(job("11", &["theirs"], DELETED));
        assert!(cluster.keys().is_empty());
        cluster.note(job("13", &[], None));
        assert_eq!(cluster.keys().len(), 1, "another of its name");
    }

    #[test]
    fn a_pod_that_ends_in_peace_is_still_there() {
        let pod = |seconds: Value| -> Pod {
            serde_json::from_value(json!({"metadata": {
                "namespace": "shop", "name": "orders-1", "resourceVersion": "10",
                "labels": {"tidegate.dev/job": "orders"},
                "deletionTimestamp": DELETED, "deletionGracePeriodSeconds": seconds,
            }}))
            .unwrap()
        };
        let cluster = Cluster::default();
        cluster.note(pod(json!(30)));
        assert_eq!(cluster.pods.all().len(), 1);
        cluster.note(pod(json!(0)));
        assert!(cluster.pods.all().is_empty());
    }
}
