//! What all parts of the controller share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, Client};
use tidegate_api::labels::LABEL_JOB;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::certificates::Authority;
use crate::client::{ApiError, JobClient, Writer};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::leader::Leadership;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::observed::Observed;
use crate::peek::Peeks;
use crate::plan::Plan;
use crate::queue::{JobKey, Queue};

/// What all parts share.
#[derive(Debug)]
pub struct Shared {
    /// What the controller works with.
    pub config: Config,
    /// What the API server holds.
    pub cluster: Arc<Cluster>,
    /// What there is to do.
    pub queue: Arc<Queue>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether this controller may write.
    pub leadership: Leadership,
    /// Writes to the API server.
    pub writer: Writer,
    /// Talks to job processes.
    pub jobs: Arc<JobClient>,
    /// Looks at running jobs.
    pub peeks: Peeks,
    /// Issues certificates.
    pub authority: Authority,
    /// What is remembered of each job.
    pub memory: Memory,
    /// What mirroring may still write.
    pub budget: Mutex<Budget>,
}

impl Shared {
    /// Nothing is remembered or counted yet.
    pub fn new(
        config: Config,
        (client, leadership): (Client, Leadership),
        (jobs, authority): (Arc<JobClient>, Authority),
        (cluster, queue): (Arc<Cluster>, Arc<Queue>),
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let budget = Budget::new(config.mirror_writes_per_minute, Instant::now());
        Self {
            peeks: Peeks::new(Arc::clone(&jobs), Arc::clone(&queue)),
            writer: Writer::new(client, leadership.clone(), Arc::clone(&metrics)),
            memory: Memory::default(),
            budget: Mutex::new(budget),
            config,
            cluster,
            queue,
            metrics,
            leadership,
            jobs,
            authority,
        }
    }

    /// The budget of mirroring writes, for this caller alone.
    pub fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the API server itself for a job's Deployments, and keeps what it has: a watch may lag,
    /// or have been told by an old list. A list, since that right is there for the watch.
    ///
    /// # Errors
    /// As [`ApiError`] has them.
    pub async fn look_up_deployments(&self, key: &JobKey) -> Result<(), ApiError> {
        let client = self.writer.client().clone();
        let deployments: Api<Deployment> = Api::namespaced(client, &key.namespace);
        let own = ListParams::default().labels(&format!("{LABEL_JOB}={}", key.name));
        let found = deployments.list(&own).await;
        let action = || format!("list the Deployments of job {}", key.name);
        let found = found.map_err(|error| ApiError::new(action(), error))?;
        for deployment in found.items {
            self.cluster.note(deployment);
        }
        Ok(())
    }

    /// What is decided about a job.
    pub fn plan(&self, observed: &Observed) -> Plan {
        crate::stream_job::plan(observed, &self.config.settings)
    }

    /// Forgets a job that is gone.
    pub fn forget(&self, key: &JobKey) {
        self.memory.forget(key);
        self.peeks.forget(key);
        self.jobs.forget(key);
        self.budget().forget(key);
    }
}
