//! A controller that can be killed, stopped and asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::{Client, Config};
use tidegate_controller::run::run;
use tidegate_controller::settings::Settings;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::proxy::{FORBIDDEN, Proxy};

/// The Lease by which controllers of a world elect their leader.
pub(crate) const LEASE: &str = "controller";
/// Where controllers work, and how long the Lease there lasts.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) lease: Duration,
}

/// It runs in a runtime of its own, so that it can be killed.
pub(crate) struct Controller {
    runtime: Runtime,
    life: JoinHandle<()>,
    stop: CancellationToken,
    /// Where it serves, once it does.
    address: Arc<Mutex<Option<SocketAddr>>>,
}

impl Controller {
    pub(crate) fn start(proxy: &Proxy, place: &Place, identity: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url = format!("http://{}", proxy.address).parse().unwrap();
        let config = config(place, identity);
        let stop = CancellationToken::new();
        let address = Arc::new(Mutex::new(None));
        let (stopped, told) = (stop.clone(), Arc::clone(&address));
        let life = runtime.spawn(async move {
            let client = Client::try_from(Config::new(url)).unwrap();
            // What the proxy does to its first requests may end it; Kubernetes would start it anew.
            while !stopped.is_cancelled() {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                *told.lock().unwrap() = Some(listener.local_addr().unwrap());
                let ended = run(config.clone(), client.clone(), listener, stopped.clone()).await;
                if let Err(error) = ended {
                    println!("a controller ended: {error}");
                }
            }
        });
        Self {
            runtime,
            life,
            stop,
            address,
        }
    }

    pub(crate) fn kill(self) {
        self.runtime.shutdown_background();
    }

    /// Ends it as Kubernetes ends a pod, and waits until it is gone.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.life.await.unwrap();
        self.runtime.shutdown_background();
    }

    /// Where it serves, once it does.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap()
    }
}

fn config(place: &Place, identity: &str) -> tidegate_controller::config::Config {
    let namespace = &place.namespace;
    tidegate_controller::config::Config {
        settings: Settings {
            runtime_image: "example/tidegate:1".to_owned(),
            default_storage: None,
            own_namespace: namespace.clone(),
        },
        namespaces: vec![namespace.clone(), FORBIDDEN.to_owned()],
        lease_name: LEASE.to_owned(),
        lease: place.lease,
        identity: identity.to_owned(),
        ca_secret: "ca".to_owned(),
        mirror_writes_per_minute: 60,
        concurrency: 4,
    }
}
