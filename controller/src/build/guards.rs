//! What stands around a job's pods: who may talk to them, and how many a drain may take.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tidegate_api::StreamJob;
use tidegate_api::pod::{JOB_API_PORT, METRICS_PORT};

use super::metadata::{child_metadata, guard_name, match_labels, to_map};

/// The label with a namespace's name, which every namespace has.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// The label by which the chart names the controller's pods.
const CONTROLLER_LABEL: (&str, &str) = ("app.kubernetes.io/name", "tidegate");

/// The job API is for the job's own pods and the controller, metrics and health are for all.
pub fn network_policy(job: &StreamJob, own_namespace: &str) -> NetworkPolicy {
    let name = job.metadata.name.clone().unwrap_or_default();
    let own_pods = NetworkPolicyPeer {
        pod_selector: Some(selector(&name)),
        ..NetworkPolicyPeer::default()
    };
    let controller = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(to_map(&[(NAMESPACE_LABEL, own_namespace)])),
            ..LabelSelector::default()
        }),
        pod_selector: Some(LabelSelector {
            match_labels: Some(to_map(&[CONTROLLER_LABEL])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    let job_api = NetworkPolicyIngressRule {
        from: Some(vec![own_pods, controller]),
        ports: Some(vec![port(JOB_API_PORT)]),
    };
    let metrics = NetworkPolicyIngressRule {
        from: None,
        ports: Some(vec![port(METRICS_PORT)]),
    };
    NetworkPolicy {
        metadata: child_metadata(job, guard_name(&name), None),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(&name)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![job_api, metrics]),
            egress: None,
        }),
    }
}

/// A drain takes one pod at a time. A job of one pod lets it go, since it comes back elsewhere from
/// its checkpoint and nobody wants a node that cannot be drained.
pub fn disruption_budget(job: &StreamJob) -> PodDisruptionBudget {
    let name = job.metadata.name.clone().unwrap_or_default();
    PodDisruptionBudget {
        metadata: child_metadata(job, guard_name(&name), None),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(&name)),
            // A pod that is not ready, such as a held or a finished one, is not worth a wait.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

fn selector(job: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(match_labels(job)),
        ..LabelSelector::default()
    }
}

fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number.into())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}
