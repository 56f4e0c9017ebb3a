//! Plays the Deployment controller, kubelet and the garbage collector of one namespace.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tidegate_api::job_config::JobConfig;
use tidegate_api::labels::{LABEL_REVISION, LABEL_ROLE};
use tidegate_api::pod::{CA_FILE, CERTIFICATE_FILE, CONFIG_FILE, KEY_FILE};
use tidegate_api::{Checkpoint, StreamJob};

use super::log::SharedLog;
use super::process::{Certificates, Process};

const TICK: Duration = Duration::from_millis(60);

/// Addresses for pods, each used once in a process.
static NEXT_ADDRESS: AtomicU32 = AtomicU32::new(1);

pub(crate) struct Actor {
    client: Client,
    namespace: String,
    log: SharedLog,
    /// By pod uid.
    processes: HashMap<String, Process>,
    pod_count: u32,
}

impl Actor {
    pub(crate) fn new(client: Client, namespace: &str, log: SharedLog) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            log,
            processes: HashMap::new(),
            pod_count: 0,
        }
    }

    /// Acts until the task is dropped. What the API server does not answer is tried again.
    pub(crate) async fn run(mut self) {
        for tick in 0_u64.. {
            if let Err(error) = self.tick(tick).await {
                println!("the actor of {} tries again: {error}", self.namespace);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    async fn tick(&mut self, tick: u64) -> kube::Result<()> {
        self.act().await?;
        if tick.is_multiple_of(4) {
            self.collect_garbage().await?;
        }
        Ok(())
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn list<K>(&self) -> kube::Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let list = self.api::<K>().list(&ListParams::default()).await?;
        Ok(list.items)
    }

    async fn act(&mut self) -> kube::Result<()> {
        let pods: Vec<Pod> = self.list().await?;
        let alive: BTreeSet<String> = pods.iter().filter_map(ResourceExt::uid).collect();
        self.processes.retain(|uid, _| alive.contains(uid));
        for pod in &pods {
            if pod.labels().get(LABEL_ROLE).map(String::as_str) == Some("cleanup") {
                self.clean_up(pod).await?;
            } else if !self.processes.contains_key(&pod.uid().unwrap()) {
                self.start(pod).await?;
            }
        }
        for deployment in self.list::<Deployment>().await? {
            self.scale(&deployment, &pods).await?;
        }
        Ok(())
    }

    async fn scale(&mut self, deployment: &Deployment, pods: &[Pod]) -> kube::Result<()> {
        let revision = &deployment.labels()[LABEL_REVISION];
        let mine = pods
            .iter()
            .filter(|pod| pod.labels().get(LABEL_REVISION) == Some(revision));
        let mine: Vec<&Pod> = mine.collect();
        let spec = deployment.spec.as_ref().unwrap();
        if spec.replicas == Some(0) {
            for pod in mine {
                self.delete(pod).await?;
            }
        } else if mine.is_empty() {
            self.pod_count += 1;
            let mut pod = Pod {
                metadata: spec.template.metadata.clone().unwrap(),
                spec: spec.template.spec.clone(),
                status: None,
            };
            pod.metadata.name = Some(format!("{}-{}", deployment.name_any(), self.pod_count));
            pod.metadata.owner_references = Some(vec![deployment.owner_ref(&()).unwrap()]);
            let pods = self.api::<Pod>();
            pods.create(&PostParams::default(), &pod).await?;
        }
        Ok(())
    }

    /// As kubelet: once what the pod mounts is there, its container runs.
    async fn start(&mut self, pod: &Pod) -> kube::Result<()> {
        let volumes = pod.spec.as_ref().unwrap().volumes.iter().flatten();
        let mut config = None;
        let mut certificates = None;
        for volume in volumes {
            if let Some(source) = &volume.config_map {
                config = self.config(&source.name).await?;
            }
            let secret = volume
                .secret
                .as_ref()
                .and_then(|source| source.secret_name.as_ref());
            if let Some(name) = secret.filter(|_| volume.name == "tidegate-tls") {
                certificates = self.certificates(name).await?;
            }
        }
        let (Some(config), Some(certificates)) = (config, certificates) else {
            return Ok(());
        };
        let number = NEXT_ADDRESS.fetch_add(1, Ordering::SeqCst);
        let byte = |number: u32| u8::try_from(number).unwrap();
        let second = byte(10 + std::process::id() % 200);
        let (third, fourth) = (byte(number / 250), byte(number % 250 + 1));
        let ip = IpAddr::V4(Ipv4Addr::new(127, second, third, fourth));
        let process = Process::start(ip, &certificates, config, self.log.clone()).await;
        let status = json!({"status": {
            "phase": "Running", "podIP": ip.to_string(), "podIPs": [{"ip": ip.to_string()}],
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{
                "name": "job", "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-11-24T12:00:00Z"}},
            }],
        }});
        self.set_status(pod, &status).await?;
        self.processes.insert(pod.uid().unwrap(), process);
        Ok(())
    }

    async fn config(&self, name: &str) -> kube::Result<Option<JobConfig>> {
        let map = self.api::<ConfigMap>().get_opt(name).await?;
        let parsed = |map: ConfigMap| serde_json::from_str(&map.data.unwrap()[CONFIG_FILE]);
        Ok(map.map(|map| parsed(map).unwrap()))
    }

    async fn certificates(&self, name: &str) -> kube::Result<Option<Certificates>> {
        let secret = self.api::<Secret>().get_opt(name).await?;
        Ok(secret.map(|secret| {
            let data = secret.data.unwrap();
            let file = |name: &str| data[name].0.clone();
            Certificates {
                ca: file(CA_FILE),
                certificate: file(CERTIFICATE_FILE),
                key: file(KEY_FILE),
            }
        }))
    }

    async fn clean_up(&mut self, pod: &Pod) -> kube::Result<()> {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if phase == Some("Succeeded") {
            return Ok(());
        }
        let args = pod.spec.as_ref().unwrap().containers[0]
            .args
            .clone()
            .unwrap();
        match args[1].as_str() {
            "purge" => self.log.lock().purge(),
            "release" => {
                let id: u64 = args[3].parse().unwrap();
                self.log.lock().entries.retain(|entry| entry.id != id);
            }
            other => panic!("clean-up pod with {other}"),
        }
        self.set_status(pod, &json!({"status": {"phase": "Succeeded"}}))
            .await
    }

    async fn set_status(&self, pod: &Pod, status: &serde_json::Value) -> kube::Result<()> {
        let (pods, name) = (self.api::<Pod>(), pod.name_any());
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(status));
        unless_gone(pods.patch_status(&name, &parameters, &patch).await)
    }

    async fn delete<K>(&self, object: &K) -> kube::Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let (api, name) = (self.api::<K>(), object.name_any());
        let parameters = DeleteParams::background().grace_period(0);
        unless_gone(api.delete(&name, &parameters).await)
    }

    /// Deletes what has owners of which none is there any more.
    async fn collect_garbage(&self) -> kube::Result<()> {
        // Dependents are listed before their owners, so that what is new is no orphan.
        let secrets: Vec<Secret> = self.list().await?;
        let pods: Vec<Pod> = self.list().await?;
        let policies: Vec<NetworkPolicy> = self.list().await?;
        let budgets: Vec<PodDisruptionBudget> = self.list().await?;
        let maps: Vec<ConfigMap> = self.list().await?;
        let deployments: Vec<Deployment> = self.list().await?;
        let checkpoints: Vec<Checkpoint> = self.list().await?;
        let jobs: Vec<StreamJob> = self.list().await?;
        let mut uids: BTreeSet<String> = jobs.iter().filter_map(ResourceExt::uid).collect();
        uids.extend(checkpoints.iter().filter_map(ResourceExt::uid));
        uids.extend(maps.iter().filter_map(ResourceExt::uid));
        uids.extend(deployments.iter().filter_map(ResourceExt::uid));
        self.collect(secrets, &uids).await?;
        self.collect(pods, &uids).await?;
        self.collect(policies, &uids).await?;
        self.collect(budgets, &uids).await?;
        self.collect(maps, &uids).await?;
        self.collect(deployments, &uids).await
    }

    async fn collect<K>(&self, objects: Vec<K>, uids: &BTreeSet<String>) -> kube::Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        for object in objects {
            if is_orphan(object.meta(), uids) {
                self.delete(&object).await?;
            }
        }
        Ok(())
    }
}

/// What happens to an object, which may have been deleted meanwhile.
fn unless_gone<T>(answer: kube::Result<T>) -> kube::Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        answer => answer.map(drop),
    }
}

fn is_orphan(metadata: &ObjectMeta, uids: &BTreeSet<String>) -> bool {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    !owners.is_empty() && owners.iter().all(|owner| !uids.contains(&owner.uid))
}
