//! Takes the Lease, keeps it, and gives it back.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Leadership;
use super::election::{Election, Seen, Step};

/// A request about the Lease that takes longer has failed.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How often a Lease that another holds is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Why the Lease is no longer held.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// Another controller holds it.
    #[error("lease {name} was taken by {holder}: this controller ends, and waits anew")]
    Taken {
        /// The Lease.
        name: String,
        /// Who holds it.
        holder: String,
    },
    /// It could not be renewed in time.
    #[error("lease {name} could not be renewed in time: is the API server reachable?")]
    Expired {
        /// The Lease.
        name: String,
    },
}

/// Keeps a Lease.
#[derive(Debug)]
pub struct Keeper {
    leases: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    election: Election,
    leadership: Leadership,
    /// The Lease as it was read or written last.
    lease: Option<Lease>,
}

impl Keeper {
    /// A keeper of the Lease `name` for a controller that calls itself `identity`.
    pub fn new(
        client: Client,
        (namespace, name): (&str, &str),
        identity: String,
        duration: Duration,
        leadership: Leadership,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            election: Election::new(identity.clone(), duration),
            identity,
            duration,
            leadership,
            lease: None,
        }
    }

    /// Waits until the Lease is held. Trouble with the API server is logged and waited out.
    pub async fn acquire(&mut self) {
        loop {
            match self.step().await {
                Ok(true) => return self.leadership.set(true),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "the lease cannot be had yet");
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Renews the Lease until `stop`.
    ///
    /// # Errors
    /// It was lost; nothing may be written any more.
    pub async fn keep(&mut self, stop: &CancellationToken) -> Result<(), LeaderError> {
        let mut pause = self.duration / 3;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.step().await {
                Ok(true) => self.duration / 3,
                Ok(false) => {
                    self.leadership.set(false);
                    let holder = self.lease.as_ref().and_then(holder).unwrap_or_default();
                    let name = self.name.clone();
                    return Err(LeaderError::Taken { name, holder });
                }
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "the lease could not be renewed");
                    LOOK.min(self.duration / 6)
                }
            };
            if !self.election.may_write(Instant::now()) {
                self.leadership.set(false);
                let name = self.name.clone();
                return Err(LeaderError::Expired { name });
            }
        }
    }

    /// Gives the Lease back, so that another controller need not wait for it to expire.
    pub async fn release(&mut self) {
        self.leadership.set(false);
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        let parameters = PostParams::default();
        let request = self.leases.replace(&self.name, &parameters, &lease);
        match tokio::time::timeout(REQUEST_LIMIT, request).await {
            Ok(Ok(_)) => tracing::info!(lease = self.name, "the lease was given back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, %error, "the lease was not given back");
            }
            Err(_) => tracing::warn!(lease = self.name, "the lease was not given back in time"),
        }
    }

    /// Reads the Lease and takes or renews it if it may be; tells whether it is held now.
    async fn step(&mut self) -> Result<bool, kube::Error> {
        let began = Instant::now();
        // While it is held, what was written last is current, or the write meets a conflict.
        let known = self.lease.take().filter(|_| self.election.may_write(began));
        let lease = match known {
            Some(lease) => Some(lease),
            None => limited(self.leases.get_opt(&self.name)).await?,
        };
        let step = self.election.read(lease.as_ref().map(seen), began);
        if step == Step::Wait {
            self.lease = lease;
            self.election.lost();
            return Ok(false);
        }
        let wanted = self.wanted(lease.as_ref());
        let parameters = PostParams::default();
        let written = match &lease {
            Some(_) => limited(self.leases.replace(&self.name, &parameters, &wanted)).await,
            None => limited(self.leases.create(&parameters, &wanted)).await,
        };
        match written {
            Ok(lease) => {
                self.election.renewed(began);
                self.lease = Some(lease);
                Ok(true)
            }
            // Somebody else wrote it, or an answer of ours was lost: the next read tells.
            Err(error) => Err(error),
        }
    }

    fn wanted(&self, old: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let mut lease = old.cloned().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(self.duration.as_secs()).ok();
        spec.renew_time = Some(now);
        lease
    }
}

async fn limited<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(REQUEST_LIMIT, request).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(kube::Error::Service(elapsed.into())),
    }
}

fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone()
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    Seen {
        holder: spec.holder_identity,
        renewed: spec.renew_time.map(|time| time.0.to_string()),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
    }
}
