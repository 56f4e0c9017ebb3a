//! Puts the parts together and runs them.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::certificates::{Authority, CaError, load_or_create};
use crate::client::{JobApiError, JobClient};
use crate::cluster::{Cluster, Watching};
use crate::config::Config;
use crate::leader::{Keeper, LeaderError, Leadership};
use crate::queue::{Backoff, Queue, dispatch, jitter};
use crate::reconcile::reconcile;
use crate::server::{Told, serve};
use crate::shared::Shared;

/// Why the controller ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There are no certificates for job processes.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// They cannot be used.
    #[error(transparent)]
    JobApi(#[from] JobApiError),
    /// The controller's own certificate cannot be issued.
    #[error(transparent)]
    Certificate(#[from] crate::certificates::CertificateError),
    /// The Lease was lost.
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// The metrics cannot be served any more.
    #[error("/metrics is no longer served")]
    Serve(#[source] std::io::Error),
}

/// Runs the controller until `stop`: waits for its Lease, then reconciles; finishes what is under
/// way and gives the Lease back.
///
/// # Errors
/// What keeps it from running. It is then best started anew.
pub async fn run(
    config: Config,
    client: Client,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let leadership = Leadership::default();
    let mut keeper = keeper(&config, &client, leadership.clone());
    let told = Told::default();
    let serving = serve(listener, Arc::clone(&told), stop.clone());
    let leading = async {
        let prepared = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            prepared = prepare(config, client, leadership) => prepared?,
        };
        let (shared, _watches) = prepared;
        let shared = told.get_or_init(|| shared);
        Ok(lead(Arc::clone(shared), &mut keeper, stop.clone()).await?)
    };
    let result = tokio::select! {
        // Both end at `stop`, the one that reconciles only when it is done.
        biased;
        result = leading => result,
        result = serve_forever(serving, &stop) => result,
    };
    keeper.release().await;
    result
}

async fn serve_forever(
    serving: impl Future<Output = std::io::Result<()>>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    serving.await.map_err(RunError::Serve)?;
    stop.cancelled().await;
    std::future::pending().await
}

async fn lead(
    shared: Arc<Shared>,
    keeper: &mut Keeper,
    stop: CancellationToken,
) -> Result<(), LeaderError> {
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = keeper.acquire() => {}
    }
    tracing::info!(lease = shared.config.lease_name, "this controller leads");
    let mut usable = tokio::time::interval(std::time::Duration::from_millis(50));
    while !shared.cluster.is_usable() && !stop.is_cancelled() {
        usable.tick().await;
    }
    for key in shared.cluster.keys() {
        shared.queue.add_job(&key);
    }
    // Work ends before the Lease does: whoever takes over finds nothing half done.
    let lost = stop.child_token();
    let limit = shared.config.concurrency;
    let work = dispatch(Arc::clone(&shared.queue), limit, lost.clone(), |work| {
        reconcile(Arc::clone(&shared), work)
    });
    let keeping = CancellationToken::new();
    let keep = keeper.keep(&keeping);
    tokio::pin!(work, keep);
    tokio::select! {
        () = &mut work => {
            keeping.cancel();
            keep.await
        }
        result = &mut keep => {
            // Nothing can be written any more; what runs finds out at its next write.
            lost.cancel();
            work.await;
            result
        }
    }
}

fn keeper(config: &Config, client: &Client, leadership: Leadership) -> Keeper {
    let lease = (
        config.settings.own_namespace.as_str(),
        config.lease_name.as_str(),
    );
    Keeper::new(
        client.clone(),
        lease,
        config.identity.clone(),
        config.lease,
        leadership,
    )
}

/// The authority, as soon as the API server can be reached: to end in an outage would only make
/// Kubernetes wait longer and longer before it starts the controller again.
async fn authority(client: &Client, namespace: &str, name: &str) -> Result<Authority, CaError> {
    let mut backoff = Backoff::default();
    loop {
        match load_or_create(client, namespace, name).await {
            Err(error) if error.may_pass() => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, "it is tried again");
                tokio::time::sleep(backoff.next(jitter())).await;
            }
            result => return result,
        }
    }
}

async fn prepare(
    config: Config,
    client: Client,
    leadership: Leadership,
) -> Result<(Arc<Shared>, Watching), RunError> {
    let namespace = &config.settings.own_namespace;
    let authority = authority(&client, namespace, &config.ca_secret).await?;
    let own = authority.issue_client(Timestamp::now())?;
    let jobs = Arc::new(JobClient::new(&authority, &own)?);
    let queue = Arc::new(Queue::default());
    let watching = Cluster::watch(&client, &config.namespaces, &queue);
    let watched = (Arc::clone(&watching.cluster), queue);
    let shared = Shared::new(config, (client, leadership), (jobs, authority), watched);
    Ok((Arc::new(shared), watching))
}
