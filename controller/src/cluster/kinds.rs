//! What is kept of each kind, and to which job an object belongs.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use tidegate_api::labels::LABEL_JOB;
use tidegate_api::{Checkpoint, StreamJob};

use crate::build::CONTENT;

/// A kind whose objects are kept.
pub trait Tracked: Resource<DynamicType = ()> + Clone + Send + Sync + 'static {
    /// The name of the job that it belongs to.
    fn job_name(&self) -> Option<String> {
        self.labels().get(LABEL_JOB).cloned()
    }

    /// Whether a change of it concerns the job's Checkpoint objects, too.
    const CONCERNS_CHECKPOINTS: bool = false;

    /// Drops what nobody looks at.
    fn trim(&mut self) {
        self.managed_fields_mut().clear();
    }
}

impl Tracked for StreamJob {
    const CONCERNS_CHECKPOINTS: bool = true;

    fn job_name(&self) -> Option<String> {
        Some(self.name_any())
    }

    fn trim(&mut self) {
        self.managed_fields_mut().clear();
        self.annotations_mut()
            .remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

impl Tracked for Checkpoint {
    const CONCERNS_CHECKPOINTS: bool = true;

    fn job_name(&self) -> Option<String> {
        Some(self.spec.job_name.clone())
    }
}

impl Tracked for Deployment {
    fn trim(&mut self) {
        self.managed_fields_mut().clear();
        self.spec = self.spec.take().map(|spec| DeploymentSpec {
            replicas: spec.replicas,
            // It stays as it is while its revision does.
            template: spec.template,
            ..DeploymentSpec::default()
        });
        self.status = self.status.take().map(|status| DeploymentStatus {
            conditions: status.conditions,
            ready_replicas: status.ready_replicas,
            ..DeploymentStatus::default()
        });
    }
}

impl Tracked for Pod {
    const CONCERNS_CHECKPOINTS: bool = true;

    fn trim(&mut self) {
        self.managed_fields_mut().clear();
        self.annotations_mut().clear();
        self.spec = self.spec.take().map(|spec| PodSpec {
            containers: spec.containers.into_iter().map(limits_only).collect(),
            volumes: spec.volumes,
            ..PodSpec::default()
        });
        self.status = self.status.take().map(|status| PodStatus {
            conditions: status.conditions,
            container_statuses: status.container_statuses,
            init_container_statuses: status.init_container_statuses,
            message: status.message,
            phase: status.phase,
            pod_ip: status.pod_ip,
            reason: status.reason,
            ..PodStatus::default()
        });
    }
}

impl<K> Tracked for PartialObjectMeta<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    Self: Resource<DynamicType = ()>,
{
    /// Keeps who has written which part of its content.
    fn trim(&mut self) {
        for entry in self.managed_fields_mut() {
            let FieldsV1(fields) = entry.fields_v1.get_or_insert_default();
            if let Some(fields) = fields.as_object_mut() {
                let is_content = |name: &str| CONTENT.contains(&name);
                fields.retain(|member, _| member.strip_prefix("f:").is_some_and(is_content));
            }
        }
    }
}

fn limits_only(container: Container) -> Container {
    Container {
        name: container.name,
        resources: container.resources,
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    #[test]
    fn who_has_written_which_content_is_kept() {
        let written = json!({"f:data": {"f:config.json": {}}, "f:metadata": {"f:labels": {}}});
        let mut object: PartialObjectMeta<ConfigMap> = serde_json::from_value(json!({
            "metadata": {"name": "orders", "managedFields": [
                {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": written},
            ]},
        }))
        .unwrap();
        object.trim();
        let [entry] = object.managed_fields() else {
            panic!("{:?}", object.managed_fields());
        };
        assert_eq!(entry.manager.as_deref(), Some("kubectl-edit"));
        let kept = json!({"f:data": {"f:config.json": {}}});
        assert_eq!(entry.fields_v1, Some(FieldsV1(kept)));
    }
}
