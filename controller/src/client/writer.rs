//! Every write to the API server goes through here: only while this controller leads, within a
//! limit of time, counted, and with errors that say what to do next.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_api::labels::FIELD_MANAGER;

use super::ApiError;
use crate::leader::Leadership;
use crate::metrics::{Metrics, Verb};

/// A request that takes longer has failed; it may have been carried out.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// Writes to the API server.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
    metrics: Arc<Metrics>,
}

impl Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// What can be written: a kind whose objects live in namespaces.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

impl Writer {
    /// Writes while `leadership` is held.
    pub fn new(client: Client, leadership: Leadership, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            leadership,
            metrics,
        }
    }

    /// The client, for reads.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Creates an object; one of its name that is there is an error.
    ///
    /// # Errors
    /// As [`ApiError`] has them.
    pub async fn create<K: Kind>(&self, namespace: &str, object: &K) -> Result<K, ApiError> {
        let name = object.meta().name.clone().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let request = api.create(&parameters, object);
        self.send::<K, _>(Verb::Create, &name, request).await
    }

    /// Makes the fields of `object` so, and takes back those that were made so before and are not
    /// in it any more.
    ///
    /// # Errors
    /// As [`ApiError`] has them.
    pub async fn apply<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<K, ApiError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(object);
        let request = api.patch(name, &parameters, &patch);
        self.send::<K, _>(Verb::Apply, name, request).await
    }

    /// Sets the fields of `change`, and takes back those that are null in it, if the object still
    /// is what its `metadata.resourceVersion` or `metadata.uid` say.
    ///
    /// # Errors
    /// As [`ApiError`] has them.
    pub async fn merge<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        change: &Value,
    ) -> Result<K, ApiError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(change);
        let parameters = changes();
        let request = api.patch(name, &parameters, &patch);
        self.send::<K, _>(Verb::Patch, name, request).await
    }

    /// The same for the status.
    ///
    /// # Errors
    /// As [`ApiError`] has them.
    pub async fn merge_status<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        change: &Value,
    ) -> Result<K, ApiError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(change);
        let parameters = changes();
        let request = api.patch_status(name, &parameters, &patch);
        self.send::<K, _>(Verb::Status, name, request).await
    }

    /// Deletes the object of this unique id, and in the background what it owns. One that is gone,
    /// or has made room for another, is no error.
    ///
    /// # Errors
    /// As [`ApiError`] has them, without `NotFound` and `Conflict`.
    pub async fn delete<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), ApiError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let parameters = DeleteParams::background().preconditions(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        });
        let request = api.delete(name, &parameters);
        match self.send::<K, _>(Verb::Delete, name, request).await {
            Ok(_) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn send<K: Kind, T>(
        &self,
        verb: Verb,
        name: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ApiError> {
        let kind = K::kind(&());
        let action = format!("{} {kind} {name}", verb.as_str());
        if !self.leadership.is_held() {
            return Err(ApiError::NotLeading { action });
        }
        let answer = tokio::time::timeout(REQUEST_LIMIT, request).await;
        let result = match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(ApiError::new(action, error)),
            Err(_) => Err(ApiError::NoAnswer {
                action,
                source: None,
            }),
        };
        let word = result
            .as_ref()
            .map_or_else(ApiError::category, |_| "Success");
        self.metrics.count_write(&kind, verb, word);
        result
    }
}

fn changes() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
