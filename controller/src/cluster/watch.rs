//! Keeps a store up to date.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::watcher as watch;
use kube::runtime::watcher::{self, Config, Event};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tidegate_api::labels::{LABEL_MANAGED_BY, MANAGED_BY};

use super::coverage::Scope;
use super::store::{Place, place};
use super::{Cluster, Held, Watching};
use crate::queue::{Backoff, Queue, Work, jitter};

/// "Unprocessable": the request is not understood.
const INVALID: u16 = 422;

impl Watching {
    /// Watches objects as people write them: one that cannot be understood is passed over.
    pub(super) fn guarded<K>(&mut self, client: &Client, scope: Option<&str>, queue: &Arc<Queue>)
    where
        K: Held + Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Debug,
    {
        let api = api::<DeserializeGuard<K>>(client, scope);
        self.spawn::<K, _, _>(scope, queue, move |how| {
            watch(api.clone(), config(how)).filter_map(|event| ready(understood(event)))
        });
    }

    /// Watches objects of ours; of some kinds only their metadata is asked for.
    pub(super) fn whole<K>(&mut self, client: &Client, scope: Option<&str>, queue: &Arc<Queue>)
    where
        K: Held + Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Debug,
    {
        let api = api::<K>(client, scope);
        self.spawn::<K, _, _>(scope, queue, move |how| {
            watch(api.clone(), ours(config(how)))
        });
    }

    fn spawn<K, S, F>(&mut self, scope: Option<&str>, queue: &Arc<Queue>, open: F)
    where
        K: Held,
        S: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        F: Fn(Listing) -> S + Send + 'static,
    {
        let scope = scope.map(str::to_owned);
        self.cluster.coverage.expect(&scope);
        let watch = Watch::<K> {
            cluster: Arc::clone(&self.cluster),
            queue: Arc::clone(queue),
            scope,
            listed: BTreeSet::new(),
            is_synced: false,
            is_forbidden: false,
            kind: std::marker::PhantomData,
        };
        self.tasks.spawn(watch.run(open));
    }
}

/// How the objects that there are get here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// As the first events of the watch.
    Streamed,
    /// In pages, before the watch: for servers that cannot stream.
    Paged,
}

fn api<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn config(how: Listing) -> Config {
    match how {
        Listing::Streamed => Config::default().streaming_lists(),
        Listing::Paged => Config::default(),
    }
}

fn ours(config: Config) -> Config {
    config.labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"))
}

fn understood<K: Resource<DynamicType = ()>>(
    event: watcher::Result<Event<DeserializeGuard<K>>>,
) -> Option<watcher::Result<Event<K>>> {
    let object = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            tracing::error!(
                kind = %K::kind(&()),
                namespace = invalid.metadata.namespace,
                name = invalid.metadata.name,
                error = invalid.error,
                "an object cannot be understood; are the resource definitions newer than this \
                 controller?"
            );
            None
        }
    };
    match event {
        Ok(Event::Apply(guard)) => object(guard).map(|object| Ok(Event::Apply(object))),
        Ok(Event::Delete(guard)) => object(guard).map(|object| Ok(Event::Delete(object))),
        Ok(Event::InitApply(guard)) => object(guard).map(|object| Ok(Event::InitApply(object))),
        Ok(Event::Init) => Some(Ok(Event::Init)),
        Ok(Event::InitDone) => Some(Ok(Event::InitDone)),
        Err(error) => Some(Err(error)),
    }
}

struct Watch<K> {
    cluster: Arc<Cluster>,
    queue: Arc<Queue>,
    scope: Scope,
    /// What the list under way has had so far.
    listed: BTreeSet<Place>,
    is_synced: bool,
    is_forbidden: bool,
    kind: std::marker::PhantomData<K>,
}

impl<K: Held> Watch<K> {
    async fn run<S, F>(mut self, open: F)
    where
        S: Stream<Item = watcher::Result<Event<K>>> + Send,
        F: Fn(Listing) -> S + Send,
    {
        let mut how = Listing::Streamed;
        let mut backoff = Backoff::default();
        loop {
            let mut events = pin!(open(how));
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        // The beginning of a list is no success yet.
                        if !matches!(event, Event::Init | Event::InitApply(_)) {
                            backoff = Backoff::default();
                            if std::mem::take(&mut self.is_forbidden) {
                                self.cluster.coverage.allowed(&self.scope);
                            }
                        }
                        self.take(event);
                    }
                    Err(error) if how == Listing::Streamed && is_invalid(&error) => break,
                    // The watch goes on from where it was, or with a new list if it cannot.
                    Err(error) => {
                        self.report(&error);
                        tokio::time::sleep(backoff.next(jitter())).await;
                    }
                }
            }
            how = Listing::Paged;
        }
    }

    fn take(&mut self, event: Event<K>) {
        let store = K::store(&self.cluster);
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(mut object) => {
                self.listed.extend(place(&object));
                object.trim();
                self.tell(&store.upsert(object));
            }
            Event::InitDone => {
                let gone = store.retain(self.scope.as_deref(), &std::mem::take(&mut self.listed));
                self.tell(&gone);
                if !self.is_synced {
                    self.is_synced = true;
                    if self.cluster.coverage.listed(&self.scope) {
                        // Nobody worked on what was told before.
                        self.tell_all();
                    }
                }
            }
            Event::Apply(mut object) => {
                object.trim();
                self.tell(&store.upsert(object));
            }
            Event::Delete(object) => {
                let gone: Vec<_> = store.remove(&object).into_iter().collect();
                self.tell(&gone);
            }
        }
    }

    fn tell(&self, jobs: &[crate::queue::JobKey]) {
        for job in jobs {
            self.queue.add(Work::Job(job.clone()));
            if K::CONCERNS_CHECKPOINTS {
                self.queue.add(Work::Checkpoints(job.clone()));
            }
        }
    }

    fn tell_all(&self) {
        let keys = self.cluster.keys();
        let is_ours = |namespace: &str| self.scope.as_deref().is_none_or(|own| own == namespace);
        for key in keys.iter().filter(|key| is_ours(&key.namespace)) {
            self.queue.add_job(key);
        }
    }

    fn report(&mut self, error: &watcher::Error) {
        let kind = K::kind(&());
        let namespace = self.scope.as_deref().unwrap_or("(all)");
        if status_code(error) == Some(403) {
            if !std::mem::replace(&mut self.is_forbidden, true) {
                self.cluster.coverage.forbidden(&self.scope);
            }
            tracing::error!(
                %kind, namespace, %error,
                "the controller may not watch, so that it leaves these jobs alone: its role, or \
                 its list of namespaces, does not fit, or the namespace is gone"
            );
        } else if status_code(error) == Some(404) {
            tracing::error!(
                %kind, namespace, %error,
                "there is nothing to watch: are the resource definitions installed?"
            );
        } else {
            tracing::warn!(%kind, namespace, %error, "a watch failed and begins anew");
        }
    }
}

fn status_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// What the server answers when it does not know how to send a list as a stream.
fn is_invalid(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(_)) && status_code(error) == Some(INVALID)
}
