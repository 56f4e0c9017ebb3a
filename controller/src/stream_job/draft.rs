//! A plan under way: what is decided so far, and how objects get into it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use tidegate_api::StreamJob;
use tidegate_api::job_config::{JobConfig, StartPoint};
use tidegate_api::labels::{ANNOTATION_APPLIED, ANNOTATION_POD_TEMPLATE};
use tidegate_api::pod::revision_name;
use tidegate_api::status::{ConditionStatus, Reason, StreamJobStatus, UpgradeStatus};

use super::standing::{Standing, standing};
use super::wanted::Wanted;
use crate::build::{self, Start, StartState};
use crate::job_api::JobCommand;
use crate::observed::{Observed, RevisionFacts};
use crate::plan::{Ask, Child, ChildName, Decision, EventNote, EventReason, LookAgain};
use crate::settings::Settings;

/// What a condition will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: ConditionStatus,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Verdict {
    pub(super) fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::True, reason, message)
    }

    pub(super) fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::False, reason, message)
    }

    pub(super) fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::Unknown, reason, message)
    }

    fn new(status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }
}

/// A plan under way.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) observed: &'a Observed,
    pub(super) settings: &'a Settings,
    pub(super) wanted: &'a Wanted,
    pub(super) decision: Decision,
    pub(super) apply: Vec<Child>,
    pub(super) ask: Vec<Ask>,
    pub(super) delete: Vec<ChildName>,
    pub(super) events: Vec<EventNote>,
    /// The revision that owns the job, for the status.
    pub(super) revision: Option<String>,
    pub(super) upgrade: Option<UpgradeStatus>,
    pub(super) up_to_date: Verdict,
    /// What Ready says, where that does not follow from the pods.
    pub(super) ready: Option<Verdict>,
    pub(super) look_again: LookAgain,
}

impl<'a> Draft<'a> {
    pub(super) fn new(observed: &'a Observed, settings: &'a Settings, wanted: &'a Wanted) -> Self {
        let status = observed.job.status.as_ref();
        Self {
            observed,
            settings,
            wanted,
            decision: Decision::Steady,
            apply: Vec::new(),
            ask: Vec::new(),
            delete: Vec::new(),
            events: Vec::new(),
            revision: status.and_then(|status| status.revision.clone()),
            upgrade: status.and_then(|status| status.upgrade.clone()),
            up_to_date: Verdict::yes(
                Reason::Stable,
                "the revision is the one that the spec asks for",
            ),
            ready: None,
            look_again: LookAgain::Later,
        }
    }

    pub(super) fn job(&self) -> &'a Arc<StreamJob> {
        &self.observed.job
    }

    pub(super) fn job_name(&self) -> &'a str {
        self.observed
            .job
            .metadata
            .name
            .as_deref()
            .unwrap_or_default()
    }

    /// The status that was reported last.
    pub(super) fn reported(&self) -> Option<&'a StreamJobStatus> {
        self.observed.job.status.as_ref()
    }

    pub(super) fn standing(&self, revision: &str) -> Standing<'a> {
        standing(self.observed, revision)
    }

    /// Now, later than the start generation of every revision that is known.
    pub(super) fn next_generation(&self) -> u64 {
        let now = u64::try_from(self.observed.now_ms).unwrap_or_default();
        let revisions = self.observed.revisions.iter();
        let newest = revisions.map(|revision| revision.start_generation).max();
        newest.map_or(now, |newest| now.max(newest.saturating_add(1)))
    }

    pub(super) fn soon(&mut self) {
        self.look_again = LookAgain::Soon;
    }

    pub(super) fn ask(&mut self, pod: &str, command: JobCommand) {
        let pod = pod.to_owned();
        self.ask.push(Ask { pod, command });
        self.soon();
    }

    /// Has the revision that the spec asks for exist as it should, with so many pods.
    pub(super) fn ensure(&mut self, facts: Option<&RevisionFacts>, start: Start, replicas: i32) {
        let wanted = self.wanted;
        let config = build::job_config(&wanted.job, wanted.storage.clone(), start);
        let job = self.job().as_ref();
        let policy = build::network_policy(job, &self.settings.own_namespace);
        let budget = build::disruption_budget(job);
        let config_map = build::config_map(job, &wanted.revision, &config);
        let mut deployment = build::deployment(build::Revision {
            job,
            name: &wanted.revision,
            config: &config,
            replicas,
            template: PodTemplateSpec::default(),
        });
        // Everything in a template but the certificate follows from the revision.
        let objects: [&dyn build::ErasedObject; 5] = [
            &policy,
            &budget,
            &config_map,
            &deployment,
            &wanted.certificate,
        ];
        let hash = build::applied_hash(&objects);
        if let Some(facts) = facts
            && let Some(writers) = &facts.writers
            && facts.replicas == replicas
            && (self.put_back(facts, &hash) || facts.applied.as_ref() == Some(&hash))
        {
            self.mend(writers, (config_map, policy, budget));
            return;
        }
        let annotations = deployment.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_APPLIED.to_owned(), hash);
        self.apply.push(Child::NetworkPolicy(Box::new(policy)));
        self.apply
            .push(Child::PodDisruptionBudget(Box::new(budget)));
        self.apply.push(Child::ConfigMap(Box::new(config_map)));
        let standing = facts.and_then(made).filter(|template| {
            build::mounted_certificate(template) == Some(wanted.certificate.as_str())
        });
        if standing.is_none() {
            let certificate = self.certificate(&wanted.revision, &wanted.certificate);
            self.apply.push(certificate);
        }
        // A new version of the controller may make another template of the same spec. It is for
        // the next revision: no job restarts because the controller was upgraded.
        let template = standing.unwrap_or_else(|| wanted.template.clone());
        let text = build::ErasedObject::canonical(&template);
        annotations.insert(ANNOTATION_POD_TEMPLATE.to_owned(), text);
        if let Some(spec) = &mut deployment.spec {
            spec.template = template;
        }
        match facts {
            None => {
                let message = format!("revision {} is made", wanted.revision);
                self.tell(EventReason::RevisionCreated, message);
            }
            Some(facts) => self.tell_live_changes(facts, &config),
        }
        self.apply.push(Child::Deployment(Box::new(deployment)));
        self.soon();
    }

    /// Has a revision whose spec is not at hand exist with this configuration and so many pods.
    pub(super) fn ensure_other(&mut self, facts: &RevisionFacts, config: JobConfig, replicas: i32) {
        let is_configured = facts.config.as_deref() == Some(&config);
        let name = revision_name(self.job_name(), &facts.revision);
        self.mend_other(facts, &config);
        if !is_configured {
            self.tell_live_changes(facts, &config);
        }
        if !is_configured || facts.replicas != replicas {
            let mut annotations = BTreeMap::new();
            if !is_configured {
                annotations = build::start_annotations(&config);
                // What was applied is not what stands there, should the spec ask for it again.
                annotations.insert(ANNOTATION_APPLIED.to_owned(), String::new());
            }
            self.apply.push(Child::Scale {
                name,
                replicas,
                annotations,
            });
            self.soon();
        }
    }

    /// Has a revision, whichever, exist with so many pods: it owns the job, so it need not be held.
    pub(super) fn ensure_current(&mut self, facts: &RevisionFacts, replicas: i32) {
        if facts.revision == self.wanted.revision {
            let start = Start {
                hold: false,
                ..start_of(facts)
            };
            self.ensure(Some(facts), start, replicas);
        } else {
            match &facts.config {
                Some(config) => {
                    let mut config = build::with_live_fields(config, &self.wanted.job);
                    config.hold = false;
                    self.ensure_other(facts, config, replicas);
                }
                None => self.scale(facts, replicas),
            }
        }
    }

    /// Has a revision have so many pods, and leaves the rest as it is.
    pub(super) fn scale(&mut self, facts: &RevisionFacts, replicas: i32) {
        if facts.replicas != replicas {
            self.apply.push(Child::Scale {
                name: revision_name(self.job_name(), &facts.revision),
                replicas,
                annotations: Default::default(),
            });
            self.soon();
        }
    }

    /// Removes a revision: its pods now, and once its Deployment is gone, what is left of it.
    pub(super) fn remove(&mut self, facts: &RevisionFacts) {
        let name = revision_name(self.job_name(), &facts.revision);
        self.delete.push(ChildName::Deployment(name));
        self.soon();
    }

    pub(super) fn tell(&mut self, reason: EventReason, message: String) {
        self.events.push(EventNote {
            is_warning: false,
            reason,
            message,
        });
    }

    fn tell_live_changes(&mut self, facts: &RevisionFacts, config: &JobConfig) {
        let Some(old) = &facts.config else { return };
        let mut changes = Vec::new();
        if old.checkpoint.interval_ms != config.checkpoint.interval_ms {
            changes.push(match config.checkpoint.interval_ms {
                Some(interval_ms) => format!("the checkpoint interval is {interval_ms} ms now"),
                None => "only savepoints are taken now".to_owned(),
            });
        }
        if old.checkpoint.retained_count != config.checkpoint.retained_count {
            let count = config.checkpoint.retained_count;
            changes.push(format!("the newest {count} checkpoints are kept now"));
        }
        if old.log_level != config.log_level {
            changes.push(format!(
                "the log level is {} now",
                config.log_level.as_str()
            ));
        }
        if old.parallelism != config.parallelism {
            let (old, new) = (old.parallelism, config.parallelism);
            changes.push(format!("parallelism goes from {old} to {new}"));
        }
        if !changes.is_empty() {
            self.tell(EventReason::Changed, changes.join(", "));
        }
    }
}

/// The pod template that a revision was made with; as it stands, where that is not known.
fn made(facts: &RevisionFacts) -> Option<PodTemplateSpec> {
    let standing = || Some(facts.deployment.spec.as_ref()?.template.clone());
    build::made_template(&facts.deployment).or_else(standing)
}

/// How a revision that exists starts.
pub(super) fn start_of(facts: &RevisionFacts) -> Start {
    let config = facts.config.as_ref();
    Start {
        generation: facts.start_generation,
        from: StartState {
            point: config.map_or(StartPoint::Latest, |config| config.start_from.clone()),
            asked: config.and_then(|config| config.start_from_generation),
        },
        hold: config.is_none_or(|config| config.hold),
    }
}
