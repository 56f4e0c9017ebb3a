//! Puts back what somebody has changed or deleted of what a revision consists of.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Resource;
use serde::Serialize;
use tidegate_api::job_config::JobConfig;
use tidegate_api::labels::ANNOTATION_APPLIED;
use tidegate_api::pod::revision_name;
use tidegate_api::status::Reason;

use super::draft::Draft;
use super::standing::Standing;
use crate::build;
use crate::observed::{RevisionFacts, Writers};
use crate::plan::{Child, EventNote, EventReason};

impl Draft<'_> {
    /// Puts back what differs from the pod template that was made, once for each field: what
    /// changes one at every write, such as a webhook, is left its way, whatever it writes there.
    /// True if the rest is applied already.
    pub(super) fn put_back(&mut self, facts: &RevisionFacts, hash: &str) -> bool {
        let spec = facts.deployment.spec.as_ref();
        let (Some(made), Some(spec)) = (build::made_template(&facts.deployment), spec) else {
            return false;
        };
        let Some(path) = build::first_edit(&made, &spec.template) else {
            return false;
        };
        let tried = build::applied_hash(&[&hash, &path, &made]);
        if facts.applied.as_ref() == Some(&tried) {
            return true;
        }
        if facts.applied.as_deref() != Some(hash) {
            return false;
        }
        let name = revision_name(self.job_name(), &facts.revision);
        let message = format!(
            "{path} of Deployment {name} differs from what was made, and is put back; change the \
             StreamJob instead"
        );
        self.events.push(EventNote {
            is_warning: true,
            reason: EventReason::Changed,
            message,
        });
        self.apply.push(Child::Template {
            name,
            template: build::restoring_patch(&made, &spec.template),
            annotations: [(ANNOTATION_APPLIED.to_owned(), tried)].into(),
        });
        self.soon();
        true
    }

    /// Puts back what stands around the Deployment that the spec asks for.
    pub(super) fn mend(
        &mut self,
        writers: &Writers,
        (config_map, policy, budget): (ConfigMap, NetworkPolicy, PodDisruptionBudget),
    ) {
        if self.is_taken(&config_map, &writers.config_map) || is_another(&config_map, writers) {
            self.apply.push(Child::ConfigMap(Box::new(config_map)));
        }
        if self.is_taken(&policy, &writers.policy) {
            self.apply.push(Child::NetworkPolicy(Box::new(policy)));
        }
        if self.is_taken(&budget, &writers.budget) {
            self.apply
                .push(Child::PodDisruptionBudget(Box::new(budget)));
        }
        if self.lacks_mounts(&self.wanted.revision) {
            let certificate = self.certificate(&self.wanted.revision, &self.wanted.certificate);
            self.apply.push(certificate);
        }
    }

    /// Puts back what stands around a Deployment whose spec is not at hand.
    pub(super) fn mend_other(&mut self, facts: &RevisionFacts, config: &JobConfig) {
        let job = self.job().as_ref();
        let policy = build::network_policy(job, &self.settings.own_namespace);
        let budget = build::disruption_budget(job);
        let config_map = build::config_map(job, &facts.revision, config);
        let is_taken = facts.writers.as_ref().is_none_or(|writers| {
            self.is_taken(&config_map, &writers.config_map) || is_another(&config_map, writers)
        });
        if is_taken || facts.config.as_deref() != Some(config) {
            self.apply.push(Child::ConfigMap(Box::new(config_map)));
        }
        if facts.writers.is_none() {
            self.apply.push(Child::NetworkPolicy(Box::new(policy)));
            self.apply
                .push(Child::PodDisruptionBudget(Box::new(budget)));
        }
        let spec = facts.deployment.spec.as_ref();
        let certificate = spec.and_then(|spec| build::mounted_certificate(&spec.template));
        if let Some(certificate) = certificate
            && (facts.writers.is_none() || self.lacks_mounts(&facts.revision))
        {
            let certificate = self.certificate(&facts.revision, certificate);
            self.apply.push(certificate);
        }
    }

    /// The certificate of a revision, under a name.
    pub(super) fn certificate(&self, revision: &str, name: &str) -> Child {
        Child::Certificate {
            name: name.to_owned(),
            config_map: revision_name(self.job_name(), revision),
        }
    }

    /// Whether a pod cannot be set up: somebody may have deleted its certificate, and nobody
    /// watches that.
    fn lacks_mounts(&self, revision: &str) -> bool {
        matches!(
            self.standing(revision),
            Standing::Troubled(_, trouble) if trouble.reason == Reason::PodNotStarting
        )
    }

    /// Whether somebody else has written a field of ours, which is told.
    fn is_taken<K>(&mut self, object: &K, writers: &[ManagedFieldsEntry]) -> bool
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let Some(taken) = build::taken_field(object, writers) else {
            return false;
        };
        let name = object.meta().name.as_deref().unwrap_or_default();
        let message = format!(
            "{} of {} {name} was changed by {}, and is put back; change the StreamJob instead",
            taken.path,
            K::kind(&()),
            taken.by
        );
        self.events.push(EventNote {
            is_warning: true,
            reason: EventReason::Changed,
            message,
        });
        true
    }
}

/// Whether a ConfigMap has what another plan wanted, one that came no further than that.
fn is_another(config_map: &ConfigMap, writers: &Writers) -> bool {
    let wanted = || build::applied_hash(&[config_map]);
    let applied = writers.applied_config.as_ref();
    applied.is_some_and(|applied| *applied != wanted())
}
