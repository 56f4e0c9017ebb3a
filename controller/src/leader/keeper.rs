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
///
/// # Invariants
/// What another holds is never given back: see
/// `a_standby_that_is_stopped_leaves_the_lease_with_its_holder`.
#[derive(Debug)]
pub struct Keeper {
    leases: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    election: Election,
    leadership: Leadership,
    /// The Lease as this controller wrote it last; nothing when another may have written it since.
    own: Option<Lease>,
}

/// Who holds the Lease after a step.
#[derive(Debug)]
enum Holder {
    Us,
    Another(String),
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
            own: None,
        }
    }

    /// Waits until the Lease is held. Trouble with the API server is logged and waited out.
    pub async fn acquire(&mut self) {
        loop {
            match self.step().await {
                Ok(Holder::Us) => return,
                Ok(Holder::Another(_)) => {}
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
                Ok(Holder::Us) => self.duration / 3,
                Ok(Holder::Another(holder)) => {
                    let name = self.name.clone();
                    return Err(LeaderError::Taken { name, holder });
                }
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "the lease could not be renewed");
                    LOOK.min(self.duration / 6)
                }
            };
            if !self.election.may_write(Instant::now()) {
                let name = self.name.clone();
                return Err(LeaderError::Expired { name });
            }
        }
    }

    /// Gives the Lease back if this controller holds it, so that another need not wait for it to
    /// expire.
    pub async fn release(&mut self) {
        self.lose();
        match self.give_back().await {
            Ok(true) => tracing::info!(lease = self.name, "the lease was given back"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "the lease was not given back");
            }
        }
    }

    /// Tells whether there was something to give back.
    async fn give_back(&mut self) -> Result<bool, kube::Error> {
        let lease = match self.own.take() {
            Some(own) => Some(own),
            // The answer to a write may have been lost: the server knows whose it is.
            None => limited(self.leases.get_opt(&self.name)).await?,
        };
        let is_own = |lease: &Lease| holder(lease).as_ref() == Some(&self.identity);
        let Some(mut lease) = lease.filter(is_own) else {
            return Ok(false);
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        let parameters = PostParams::default();
        // Should another have taken it since, its version is another and nothing is written.
        limited(self.leases.replace(&self.name, &parameters, &lease)).await?;
        Ok(true)
    }

    /// Reads the Lease and takes or renews it if it may be; tells who holds it now.
    async fn step(&mut self) -> Result<Holder, kube::Error> {
        let began = Instant::now();
        // While it is held, what was written last is current, or the write meets a conflict.
        let known = self.own.take().filter(|_| self.election.may_write(began));
        let lease = match known {
            Some(lease) => Some(lease),
            None => limited(self.leases.get_opt(&self.name)).await?,
        };
        let step = self.election.read(lease.as_ref().map(seen), began);
        if step == Step::Wait {
            self.lose();
            let another = lease.as_ref().and_then(holder).unwrap_or_default();
            return Ok(Holder::Another(another));
        }
        let wanted = self.wanted(lease.as_ref());
        let parameters = PostParams::default();
        let written = match &lease {
            Some(_) => limited(self.leases.replace(&self.name, &parameters, &wanted)).await,
            None => limited(self.leases.create(&parameters, &wanted)).await,
        };
        // Else somebody else wrote it, or an answer of ours was lost: the next read tells.
        self.own = Some(written?);
        self.election.renewed(began);
        self.leadership.end_at(self.election.writes_until());
        Ok(Holder::Us)
    }

    fn lose(&mut self) {
        self.election.lost();
        self.leadership.end_at(None);
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

#[cfg(test)]
mod tests;
