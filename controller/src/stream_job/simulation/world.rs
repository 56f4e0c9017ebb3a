//! A small cluster that does what it is told, late, and sometimes loses things.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tidegate_api::StreamJob;
use tidegate_api::checkpoint::CheckpointKind;
use tidegate_api::job_config::JobConfig;
use tidegate_api::labels::{
    ANNOTATION_JOB_CONFIG, ANNOTATION_START_GENERATION, FINALIZER_JOB, LABEL_REVISION,
};
use tidegate_api::pod::CONFIG_FILE;
use tidegate_api::status::Reason;

use super::process::{Kind, Log, Process};
use super::random::Random;
use crate::build::{applied_hash, mounted_certificate};
use crate::job_api::Phase;
use crate::observed::{
    ApiFacts, CleanupFacts, CleanupState, Observed, PodFacts, PodTrouble, RevisionFacts, Writers,
};
use crate::plan::{Child, ChildName, Plan};
use crate::stream_job::fixtures::{AUTHORITY, NOON_MS, facts_of, job};

#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) revision: String,
    pub(super) kind: Kind,
    /// The Secret that it mounts.
    pub(super) certificate: String,
    pub(super) created_ms: i64,
    pub(super) deleting_ms: Option<i64>,
    /// A pod on a lost node stays, though it is being deleted.
    pub(super) is_lost: bool,
    pub(super) silent_until_ms: i64,
    pub(super) silent_since_ms: i64,
    pub(super) process: Option<Process>,
    pub(super) restart_count: i32,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now_ms: i64,
    /// The job, while it exists.
    pub(super) job: Option<StreamJob>,
    pub(super) deployments: BTreeMap<String, Deployment>,
    pub(super) configs: BTreeMap<String, ConfigMap>,
    pub(super) secrets: BTreeSet<String>,
    pub(super) pods: Vec<Pod>,
    pub(super) log: Log,
    pub(super) purge: Option<(i64, u64)>,
    pub(super) storage_down_until_ms: i64,
    history: VecDeque<Vec<PodFacts>>,
    pod_count: u64,
}

/// How far a plan comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    /// After so many steps the controller dies.
    pub(super) steps: usize,
    /// Whether job processes hear nothing.
    pub(super) is_deaf: bool,
}

impl Fate {
    pub(super) const WHOLE: Self = Self {
        steps: usize::MAX,
        is_deaf: false,
    };
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now_ms: NOON_MS,
            job: Some(job("good:1")),
            deployments: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeSet::new(),
            pods: Vec::new(),
            log: Log::default(),
            purge: None,
            storage_down_until_ms: 0,
            history: VecDeque::new(),
            pod_count: 0,
        }
    }

    /// Time goes on, and everybody does their work.
    pub(super) fn tick(&mut self, by_ms: i64) {
        self.now_ms += by_ms;
        let gone = self.job.as_ref().is_some_and(|job| {
            let finalizers = job.metadata.finalizers.as_deref().unwrap_or_default();
            job.metadata.deletion_timestamp.is_some() && finalizers.is_empty()
        });
        if gone {
            self.job = None;
            self.deployments.clear();
            self.configs.clear();
            self.secrets.clear();
            self.purge = None;
        }
        self.control_pods();
        self.end_pods();
        self.run_pods();
        let facts = self.pod_facts();
        self.history.push_front(facts);
        self.history.truncate(4);
    }

    fn control_pods(&mut self) {
        let now_ms = self.now_ms;
        for pod in &mut self.pods {
            let wanted = self
                .deployments
                .values()
                .find(|d| revision(d) == pod.revision);
            let replicas = wanted.and_then(|d| d.spec.as_ref()?.replicas);
            if replicas.unwrap_or(0) == 0 {
                pod.deleting_ms.get_or_insert(now_ms);
            }
        }
        for deployment in self.deployments.values() {
            let spec = deployment.spec.as_ref().unwrap();
            let revision = revision(deployment);
            let is_live = |pod: &Pod| pod.revision == revision && pod.deleting_ms.is_none();
            if spec.replicas == Some(0) || self.pods.iter().any(is_live) {
                continue;
            }
            self.pod_count += 1;
            let image = spec.template.spec.as_ref().unwrap().containers[0]
                .image
                .clone();
            self.pods.push(Pod {
                name: format!("orders-{revision}-{}", self.pod_count),
                revision,
                kind: Kind::of(&image.unwrap()),
                certificate: mounted_certificate(&spec.template).unwrap().to_owned(),
                created_ms: now_ms,
                deleting_ms: None,
                is_lost: false,
                silent_until_ms: 0,
                silent_since_ms: 0,
                process: None,
                restart_count: 0,
            });
        }
    }

    /// A pod that is told to end takes a last checkpoint if it can.
    fn end_pods(&mut self) {
        let now_ms = self.now_ms;
        let log = &mut self.log;
        self.pods.retain_mut(|pod| {
            let Some(deleting_ms) = pod.deleting_ms else {
                return true;
            };
            let grace_ms = if pod.is_lost { 90_000 } else { 1500 };
            if now_ms - deleting_ms < grace_ms {
                return true;
            }
            if let Some(process) = &mut pod.process
                && process.phase == Phase::Running
                && process.attempt == Some(log.attempt)
                && matches!(process.kind, Kind::Good)
            {
                process.checkpoint(log, CheckpointKind::Checkpoint, now_ms);
            }
            false
        });
    }

    fn run_pods(&mut self) {
        let now_ms = self.now_ms;
        let is_storage_down = now_ms < self.storage_down_until_ms;
        for pod in &mut self.pods {
            if pod.is_lost {
                pod.process = None;
                continue;
            }
            match &mut pod.process {
                Some(process) => process.step(&mut self.log, is_storage_down, now_ms),
                None if now_ms - pod.created_ms > 800 && pod.kind != Kind::Missing => {
                    let name = format!("orders-{}", pod.revision);
                    let has_secret = self.secrets.contains(&pod.certificate);
                    if let Some(config) = self.configs.get(&name).filter(|_| has_secret) {
                        pod.process = Some(Process::start(config_of(config), pod.kind, now_ms));
                    }
                }
                None => {}
            }
        }
    }

    fn pod_facts(&self) -> Vec<PodFacts> {
        self.pods.iter().map(|pod| self.facts(pod)).collect()
    }

    fn facts(&self, pod: &Pod) -> PodFacts {
        let is_silent = self.now_ms < pod.silent_until_ms;
        let api = match &pod.process {
            None => ApiFacts::NotRunning,
            Some(_) if is_silent => ApiFacts::Silent {
                error: "connection refused".to_owned(),
                since_ms: pod.silent_since_ms,
            },
            Some(process) => ApiFacts::Answers {
                job: Box::new(process.view(&self.log)),
                checkpoints: self
                    .log
                    .checkpoints
                    .iter()
                    .rev()
                    .take(3)
                    .rev()
                    .cloned()
                    .collect(),
            },
        };
        let age_ms = self.now_ms - pod.created_ms;
        let trouble = match (&pod.process, pod.kind) {
            (None, Kind::Missing) if age_ms > 1000 => Some(PodTrouble::new(
                Reason::ImagePullFailed,
                "the image is not there",
            )),
            (None, _) if age_ms > 30_000 && !pod.is_lost => Some(PodTrouble::new(
                Reason::PodNotStarting,
                "a volume cannot be mounted",
            )),
            _ => None,
        };
        PodFacts {
            name: pod.name.clone(),
            uid: pod.name.clone(),
            revision: pod.revision.clone(),
            ip: Some("10.0.0.1".to_owned()),
            created_ms: pod.created_ms,
            is_deleting: pod.deleting_ms.is_some(),
            is_over: false,
            restart_count: pod.restart_count,
            trouble,
            api,
        }
    }

    /// The revisions that have a ConfigMap.
    pub(super) fn config_maps(&self) -> Vec<String> {
        let revision = |name: &String| name.strip_prefix("orders-").map(str::to_owned);
        self.configs.keys().filter_map(revision).collect()
    }

    /// What the controller sees: of pods, what was so some moments ago, and not the Deployment that
    /// a list is too old for.
    pub(super) fn observe(&self, staleness: usize, unseen: Option<&str>) -> Option<Observed> {
        let job = self.job.clone()?;
        let writers = |config: &ConfigMap| Writers {
            applied_config: Some(applied_hash(&[config])),
            ..Writers::default()
        };
        let facts = |(name, deployment): (&String, &Deployment)| RevisionFacts {
            writers: self.configs.get(name).map(writers),
            ..facts_of(deployment)
        };
        let deployments = self.deployments.iter();
        let seen = deployments.filter(|(name, _)| Some(name.as_str()) != unseen);
        let mut revisions: Vec<RevisionFacts> = seen.map(facts).collect();
        revisions.sort_by_key(|revision| revision.start_generation);
        let pods = self.history.get(staleness).or(self.history.back()).cloned();
        let purge = self.purge.map(|(created_ms, outcome)| CleanupFacts {
            name: "orders-purge".to_owned(),
            created_ms,
            state: match outcome {
                0 => CleanupState::Stuck {
                    message: "no image".to_owned(),
                },
                _ if self.now_ms - created_ms < 2000 => CleanupState::Working,
                1 => CleanupState::Failed {
                    message: "denied".to_owned(),
                },
                _ => CleanupState::Succeeded,
            },
            may_be_slow: false,
        });
        Some(Observed {
            job: Arc::new(job),
            now_ms: self.now_ms,
            authority: AUTHORITY.to_owned(),
            revisions,
            config_maps: self.config_maps(),
            pods: pods.unwrap_or_default(),
            checkpoints: Vec::new(),
            start_checkpoint: None,
            purge,
            is_namespace_terminating: false,
            refused_write: None,
        })
    }

    /// Carries a plan out as far as its fate lets it come; whether that was to its end.
    pub(super) fn carry_out(
        &mut self,
        observed: &Observed,
        plan: &Plan,
        fate: Fate,
        random: &mut Random,
    ) -> bool {
        let mut steps = fate.steps;
        let mut step = || {
            let is_alive = steps > 0;
            steps = steps.saturating_sub(1);
            is_alive
        };
        if plan.finalizer && !step() {
            return false;
        }
        if plan.finalizer {
            self.set_finalizer(true);
        }
        if plan
            .apply
            .iter()
            .any(|child| self.is_unseen(observed, child))
        {
            return false;
        }
        for child in &plan.apply {
            if !step() || !self.apply(child, random) {
                return false;
            }
        }
        let mut is_heard = true;
        for ask in &plan.ask {
            if !step() {
                return false;
            }
            let now_ms = self.now_ms;
            let pod = self.pods.iter_mut().find(|pod| pod.name == ask.pod);
            match pod.filter(|pod| !fate.is_deaf && now_ms >= pod.silent_until_ms) {
                Some(pod) => {
                    if let Some(process) = &mut pod.process {
                        process.obey(&ask.command, &mut self.log, now_ms);
                    }
                }
                None => is_heard = false,
            }
        }
        for name in plan.delete.iter().filter(|_| is_heard) {
            if !step() {
                return false;
            }
            self.delete(name);
        }
        if !step() {
            return false;
        }
        if let Some(job) = &mut self.job {
            job.status = Some(plan.status.clone());
        }
        if !plan.finalizer && is_heard && step() {
            self.set_finalizer(false);
        }
        is_heard
    }

    fn set_finalizer(&mut self, is_wanted: bool) {
        if let Some(job) = &mut self.job {
            job.metadata.finalizers = is_wanted.then(|| vec![FINALIZER_JOB.to_owned()]);
        }
    }

    /// Whether it would make a Deployment that is there already.
    fn is_unseen(&self, observed: &Observed, child: &Child) -> bool {
        let Child::Deployment(deployment) = child else {
            return false;
        };
        let revision = revision(deployment);
        let was_seen = observed.revisions.iter().any(|r| r.revision == revision);
        let name = deployment.metadata.name.as_ref().unwrap();
        !was_seen && self.deployments.contains_key(name)
    }

    /// Whether the API server takes it.
    fn apply(&mut self, child: &Child, random: &mut Random) -> bool {
        match child {
            Child::ConfigMap(map) => {
                self.configs
                    .insert(map.metadata.name.clone().unwrap(), map.as_ref().clone());
            }
            Child::Certificate { name, config_map } => {
                assert!(
                    self.configs.contains_key(config_map),
                    "nobody owns the certificate"
                );
                self.secrets.insert(name.clone());
            }
            Child::Deployment(deployment) => {
                let name = deployment.metadata.name.clone().unwrap();
                self.deployments.insert(name, deployment.as_ref().clone());
            }
            Child::Scale {
                name,
                replicas,
                annotations,
            } => {
                let Some(deployment) = self.deployments.get_mut(name) else {
                    return false;
                };
                deployment.spec.as_mut().unwrap().replicas = Some(*replicas);
                let own = deployment.metadata.annotations.as_mut().unwrap();
                own.extend(annotations.clone());
                assert_eq!(
                    annotations.contains_key(ANNOTATION_JOB_CONFIG),
                    annotations.contains_key(ANNOTATION_START_GENERATION)
                );
            }
            Child::Template { .. } => panic!("nobody edits Deployments here"),
            Child::CleanupPod(_) => {
                let outcome = random.below(12);
                self.purge.get_or_insert((self.now_ms, outcome));
            }
            Child::NetworkPolicy(_) | Child::PodDisruptionBudget(_) => {}
        }
        true
    }

    pub(super) fn delete(&mut self, name: &ChildName) {
        match name {
            ChildName::ConfigMap(name) => {
                self.configs.remove(name);
                self.secrets
                    .retain(|secret| !secret.starts_with(name.as_str()));
            }
            ChildName::Deployment(name) => {
                self.deployments.remove(name);
            }
            ChildName::Pod { name, .. } => {
                let now_ms = self.now_ms;
                for pod in self.pods.iter_mut().filter(|pod| pod.name == *name) {
                    pod.deleting_ms.get_or_insert(now_ms);
                }
            }
        }
    }

    pub(super) fn start_deletion(&mut self) {
        if let Some(job) = &mut self.job {
            let now = Timestamp::from_millisecond(self.now_ms).unwrap();
            job.metadata.deletion_timestamp = Some(Time(now));
        }
    }

    pub(super) fn generations(&self) -> BTreeMap<String, u64> {
        let pairs = self.deployments.values().map(|deployment| {
            let facts = facts_of(deployment);
            (facts.revision, facts.start_generation)
        });
        pairs.collect()
    }
}

fn revision(deployment: &Deployment) -> String {
    deployment.metadata.labels.as_ref().unwrap()[LABEL_REVISION].clone()
}

/// What a ConfigMap tells the processes that mount it.
pub(super) fn config_of(map: &ConfigMap) -> JobConfig {
    let text = &map.data.as_ref().unwrap()[CONFIG_FILE];
    JobConfig::from_json(text).unwrap()
}
