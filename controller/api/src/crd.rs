//! The custom resource definitions, generated from the types and the rules.

mod rules;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::checkpoint::Checkpoint;
use crate::spec::StreamJob;

/// The definition of `StreamJob`.
pub fn stream_job() -> CustomResourceDefinition {
    let mut definition = StreamJob::crd();
    rules::add_to_stream_job(&mut definition);
    definition
}

/// The definition of `Checkpoint`, without a status subresource: see [`crate::checkpoint`].
pub fn checkpoint() -> CustomResourceDefinition {
    let mut definition = Checkpoint::crd();
    for version in &mut definition.spec.versions {
        version.subresources = None;
    }
    rules::add_to_checkpoint(&mut definition);
    definition
}

#[cfg(test)]
mod tests;
