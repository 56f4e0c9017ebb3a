//! One namespace with everything in it, and the life of a job there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidegate_api::checkpoint::CheckpointState;
use tidegate_api::labels::{LABEL_JOB, LABEL_MANAGED_BY, LABEL_REVISION, MANAGED_BY};
use tidegate_api::pod::revision_name;
use tidegate_api::spec::LogLevel;
use tidegate_api::status::{ConditionStatus, ConditionType, StreamJobStatus, UpgradePhase};
use tidegate_api::{Checkpoint, StreamJob};
use tidegate_controller::config::LogFormat;
use tidegate_controller::logging;
use tidegate_testkit::cluster::ControlPlane;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Summary;
use super::actor::Actor;
use super::controller::{Controller, LEASE, Place};
use super::log::SharedLog;
use super::proxy::{Proxy, Reads, Writes};

/// By then anything has happened that will; failures back off up to 15 s.
const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
const JOB: &str = "orders";
/// The name of what stands around the job's pods.
const GUARD: &str = "orders-tidegate";
/// Short, so that a test need not wait long for a second controller.
const SHORT_LEASE: Duration = Duration::from_secs(6);
/// Longer than a machine stands still: nobody loses it because it was not renewed.
const LONG_LEASE: Duration = Duration::from_secs(600);
const FIRST: &str = "controller-0";
const SECOND: &str = "controller-1";

static NAMESPACE_COUNT: AtomicU32 = AtomicU32::new(0);

/// The API server that all tests of this process use.
pub(crate) fn control_plane() -> &'static ControlPlane {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    SHARED.get_or_init(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if std::env::var_os("TIDEGATE_TEST_LOG").is_some() {
            logging::start(LogLevel::Debug, LogFormat::Text);
        }
        let plane = ControlPlane::start().unwrap();
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");
        plane
            .kubectl(&["apply", "--server-side", "-f", crds])
            .unwrap();
        let wait = ["wait", "--for=condition=Established", "crd", "--all"];
        plane.kubectl(&wait).unwrap();
        plane
    })
}

/// Waits until `look` finds something.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = tokio::time::Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if began.elapsed() > DEADLINE => panic!("waited for {what}; saw {seen}"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// An error, as what a wait has seen last.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Asks the API server until it answers.
async fn answered<T>(what: &str, mut ask: impl AsyncFnMut() -> kube::Result<T>) -> T {
    wait_for(what, async || ask().await.map_err(text)).await
}

/// Creates an object. A try that got no answer may have done so.
async fn create<K>(api: &Api<K>, object: &K)
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let mut is_again = false;
    answered("an object to be created", async || {
        let answer = api.create(&PostParams::default(), object).await;
        let answer = done_or(409, answer.map(drop), is_again);
        is_again = true;
        answer
    })
    .await;
}

/// Deletes an object. A try that got no answer may have done so.
async fn delete<K>(api: &Api<K>, name: &str)
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut is_again = false;
    answered("an object to be deleted", async || {
        let answer = api.delete(name, &DeleteParams::default()).await;
        let answer = done_or(404, answer.map(drop), is_again);
        is_again = true;
        answer
    })
    .await;
}

/// The answer to a try; with this code, one before it has done its work.
fn done_or(code: u16, answer: kube::Result<()>, is_again: bool) -> kube::Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if is_again && status.code == code => Ok(()),
        answer => answer,
    }
}

/// One namespace with everything in it.
pub(crate) struct World {
    client: Client,
    place: Place,
    pub(crate) log: SharedLog,
    pub(crate) proxy: Proxy,
    controller: Arc<Mutex<Option<Controller>>>,
    kill_count: Arc<AtomicU32>,
    _tasks: JoinSet<()>,
}

impl World {
    pub(crate) async fn start(writes: Writes, reads: Reads, seed: u64) -> Self {
        Self::with((writes, reads), seed, SHORT_LEASE).await
    }

    /// One without faults, whose Lease changes hands only if somebody lets go of it.
    pub(crate) async fn start_with_long_lease() -> Self {
        Self::with((Writes::Pass, Reads::Pass), 0, LONG_LEASE).await
    }

    async fn with(faults: (Writes, Reads), seed: u64, lease: Duration) -> Self {
        let kubeconfig = Kubeconfig::read_from(control_plane().kubeconfig_path()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        let number = NAMESPACE_COUNT.fetch_add(1, Ordering::SeqCst);
        let namespace = format!("world-{number}");
        let object = Namespace {
            metadata: ObjectMeta {
                name: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        create(&namespaces, &object).await;
        let (kill, mut kills) = mpsc::unbounded_channel();
        let proxy = Proxy::start(client.clone(), faults, seed, kill).await;
        let log = SharedLog::default();
        let actor = Actor::new(client.clone(), &namespace, log.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(actor.run());
        let place = Place { namespace, lease };
        let controller = Controller::start(&proxy, &place, FIRST);
        let controller = Arc::new(Mutex::new(Some(controller)));
        let kill_count = Arc::new(AtomicU32::new(0));
        let (killed, count) = (Arc::clone(&controller), Arc::clone(&kill_count));
        let (proxied, killed_at) = (proxy.clone(), place.clone());
        tasks.spawn(async move {
            while kills.recv().await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                let mut controller = killed.lock().unwrap();
                controller.take().unwrap().kill();
                *controller = Some(Controller::start(&proxied, &killed_at, FIRST));
            }
        });
        Self {
            client,
            place,
            log,
            proxy,
            controller,
            kill_count,
            _tasks: tasks,
        }
    }

    /// How often the controller was killed.
    pub(crate) fn kill_count(&self) -> u32 {
        self.kill_count.load(Ordering::SeqCst)
    }

    /// Kills the controller and starts another.
    pub(crate) fn restart_controller(&self) {
        let mut controller = self.controller.lock().unwrap();
        controller.take().unwrap().kill();
        *controller = Some(Controller::start(&self.proxy, &self.place, FIRST));
    }

    /// Starts a second controller, waits until it stands by, and kills the first for good.
    pub(crate) async fn fail_over(&self) {
        let second = Controller::start(&self.proxy, &self.place, SECOND);
        let first = self.controller.lock().unwrap().replace(second);
        assert_eq!(self.leader().await, FIRST, "it keeps what it holds");
        first.unwrap().kill();
        wait_for("the second controller to lead", async || {
            let leader = self.leader().await;
            (leader == SECOND).then_some(()).ok_or(leader)
        })
        .await;
    }

    /// Starts a second controller, waits until it stands by, and stops it: the first leads as if
    /// nothing had happened.
    pub(crate) async fn stop_standby(&self) {
        let before = self.lease().await;
        let read_count = self.proxy.lease_read_count();
        let second = Controller::start(&self.proxy, &self.place, SECOND);
        wait_for("the second controller to stand by", async || {
            let is_read = self.proxy.lease_read_count() > read_count;
            is_read.then_some(()).ok_or_else(|| read_count.to_string())
        })
        .await;
        second.stop().await;
        let after = self.lease().await;
        assert_eq!(after.holder_identity.as_deref(), Some(FIRST));
        // Else it was free, and the first has taken it again.
        assert_eq!(after.lease_transitions, before.lease_transitions);
        assert_eq!(after.acquire_time, before.acquire_time);
    }

    async fn leader(&self) -> String {
        self.lease().await.holder_identity.unwrap_or_default()
    }

    async fn lease(&self) -> LeaseSpec {
        let leases: Api<Lease> = self.api();
        let lease = answered("the Lease", async || leases.get(LEASE).await).await;
        lease.spec.unwrap()
    }

    /// What the controller answers on its own port: the status code and the text. One that has
    /// just ended serves again once it was started anew.
    pub(crate) async fn ask(&self, path: &str) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        wait_for("the controller to answer", async || {
            let address = self.address().ok_or("it does not serve")?;
            let answer = client.get(format!("http://{address}{path}")).send();
            let answer = answer.await.map_err(text)?;
            Ok((answer.status().as_u16(), answer.text().await.map_err(text)?))
        })
        .await
    }

    fn address(&self) -> Option<SocketAddr> {
        let controller = self.controller.lock().unwrap();
        controller.as_ref().and_then(Controller::address)
    }

    /// Ends ordinary checkpoints, and waits until the objects and the status tell all that there
    /// are: the writes that mirror them come seconds apart.
    pub(crate) async fn freeze(&self) {
        self.log.lock().is_frozen = true;
        wait_for("all checkpoints to be told", async || {
            let objects = self.checkpoints().list(&ListParams::default()).await;
            let objects = objects.map_err(text)?.items;
            let status = objects.iter().filter_map(|object| object.status.as_ref());
            let told: BTreeSet<i64> = status.filter_map(|status| status.id).collect();
            let job = self.jobs().get(JOB).await.map_err(text)?;
            let latest = job.status.and_then(|status| status.latest_checkpoint);
            let latest = latest.map(|latest| latest.id);
            let taken: BTreeSet<i64> = self.log.lock().ids();
            let is_told = told == taken && latest.as_ref() == taken.last();
            is_told
                .then_some(())
                .ok_or_else(|| format!("{told:?}, and {latest:?}, of {taken:?}"))
        })
        .await;
    }

    /// The objects of the job, and what its status says, now.
    pub(crate) async fn look(&self) -> Result<Summary, String> {
        let seen = Summary::of(&self.client, &self.place.namespace).await;
        seen.map_err(text)
    }

    /// The same, once the API server tells it.
    pub(crate) async fn summary(&self) -> Summary {
        wait_for("the job's objects", async || self.look().await).await
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.place.namespace)
    }

    fn jobs(&self) -> Api<StreamJob> {
        self.api()
    }

    fn checkpoints(&self) -> Api<Checkpoint> {
        self.api()
    }

    /// Creates the job, and waits until it is well.
    pub(crate) async fn create(&self) {
        let job = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob",
            "metadata": {"name": JOB},
            "spec": {
                "program": {"image": "example/orders:1", "args": ["--first"]},
                "parallelism": 2, "deletionPolicy": "Delete",
                "checkpoint": {
                    "intervalSeconds": 1,
                    "storage": {"url": "s3://bucket/jobs", "region": "eu-west-1"},
                },
            },
        });
        let job: StreamJob = serde_json::from_value(job).unwrap();
        create(&self.jobs(), &job).await;
        self.status("the job is ready", is_ready).await;
    }

    pub(crate) async fn change(&self, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        let (jobs, parameters) = (self.jobs(), PatchParams::default());
        answered("a changed spec", async || {
            jobs.patch(JOB, &parameters, &patch).await
        })
        .await;
    }

    pub(crate) async fn upgrade(&self) {
        self.change(json!({"program": {"args": ["--second"]}}))
            .await;
        self.status("the upgrade is complete", |status| {
            let upgrade = status.upgrade.as_ref();
            upgrade.is_some_and(|u| u.phase == UpgradePhase::Complete) && is_ready(status)
        })
        .await;
    }

    pub(crate) async fn scale(&self) {
        self.change(json!({"parallelism": 3})).await;
        self.status("parallelism 3", |s| s.parallelism == Some(3) && is_ready(s))
            .await;
    }

    pub(crate) async fn savepoint(&self) {
        let object = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Checkpoint",
            "metadata": {"name": "mine"}, "spec": {"jobName": JOB},
        });
        let object: Checkpoint = serde_json::from_value(object).unwrap();
        create(&self.checkpoints(), &object).await;
        wait_for("the savepoint", async || {
            let object = self.checkpoints().get("mine").await;
            let object = object.map_err(text)?;
            let state = object.status.as_ref().map(|status| status.state);
            let is_there = state == Some(CheckpointState::Completed);
            is_there
                .then_some(())
                .ok_or_else(|| format!("{:?}", object.status))
        })
        .await;
        let log = self.log.lock();
        let named = log
            .entries
            .iter()
            .filter(|e| e.name.as_deref() == Some("mine"));
        assert_eq!(named.count(), 1, "one savepoint was taken");
    }

    pub(crate) async fn suspend_and_resume(&self) {
        self.change(json!({"suspend": true})).await;
        self.status("the job stands still", |status| {
            reason(status) == "Suspended"
        })
        .await;
        self.change(json!({"suspend": false})).await;
        self.status("the job is ready again", is_ready).await;
    }

    pub(crate) async fn delete_savepoint(&self) {
        delete(&self.checkpoints(), "mine").await;
        wait_for("the savepoint to be gone", async || {
            let object = self.checkpoints().get_opt("mine").await;
            let object = object.map_err(text)?;
            object.map_or(Ok(()), |object| Err(format!("{object:?}")))
        })
        .await;
        let log = self.log.lock();
        assert!(
            log.entries.iter().all(|e| e.name.is_none()),
            "its files are removed"
        );
    }

    /// Writes an upgrade into the job's status that never was, and waits until it is gone again.
    pub(crate) async fn meddle_with_status(&self) {
        let status = json!({"status": {"upgrade": {
            "phase": "Proving", "fromRevision": "11111111", "toRevision": "22222222",
            "requestedMode": "Savepoint", "startedTime": "2026-01-01T00:00:00Z", "message": "x",
        }}});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(status));
        let jobs = self.jobs();
        let meddled = answered("a changed status", async || {
            jobs.patch_status(JOB, &parameters, &patch).await
        })
        .await;
        assert!(meddled.status.unwrap().upgrade.is_some());
        self.status("no upgrade is told", |status| status.upgrade.is_none())
            .await;
    }

    /// Deletes what stands around the job's pods.
    pub(crate) async fn delete_guards(&self) {
        delete(&self.policies(), GUARD).await;
        delete(&self.budgets(), GUARD).await;
    }

    /// Creates a ConfigMap as the job's own ones are, of a revision that is nowhere else.
    pub(crate) async fn create_leftover(&self) {
        const REVISION: &str = "0a1b2c3d";
        let job = answered("the job", async || self.jobs().get(JOB).await).await;
        let owner = job.controller_owner_ref(&()).unwrap();
        let labels = [
            (LABEL_JOB, JOB),
            (LABEL_MANAGED_BY, MANAGED_BY),
            (LABEL_REVISION, REVISION),
        ];
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(revision_name(JOB, REVISION)),
                labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        create(&self.api(), &map).await;
    }

    /// Creates a policy and a budget of the user's own that are named after the job.
    pub(crate) async fn create_namesakes(&self) {
        let policy = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": JOB}, "spec": {"podSelector": {"matchLabels": {"app": "web"}}},
        });
        let policy: NetworkPolicy = serde_json::from_value(policy).unwrap();
        create(&self.policies(), &policy).await;
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": JOB},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
        });
        let budget: PodDisruptionBudget = serde_json::from_value(budget).unwrap();
        create(&self.budgets(), &budget).await;
    }

    /// The user's own policy and budget, as they are now.
    pub(crate) async fn namesakes(&self) -> (Option<NetworkPolicy>, Option<PodDisruptionBudget>) {
        let (policies, budgets) = (self.policies(), self.budgets());
        let policy = answered("the policy", async || policies.get_opt(JOB).await);
        let budget = answered("the budget", async || budgets.get_opt(JOB).await);
        (policy.await, budget.await)
    }

    fn policies(&self) -> Api<NetworkPolicy> {
        self.api()
    }

    fn budgets(&self) -> Api<PodDisruptionBudget> {
        self.api()
    }

    /// Deletes the job, and waits until nothing is left of it.
    pub(crate) async fn delete(&self) {
        delete(&self.jobs(), JOB).await;
        wait_for("nothing to be left", async || {
            let seen = self.look().await?;
            let checkpoints = self.checkpoints().list(&ListParams::default()).await;
            let checkpoints = checkpoints.map_err(text)?;
            let is_gone = seen == nothing() && checkpoints.items.is_empty();
            is_gone
                .then_some(())
                .ok_or_else(|| format!("{seen:?}, {checkpoints:?}"))
        })
        .await;
        assert!(self.log.lock().entries.is_empty(), "its files are removed");
    }

    async fn status(&self, what: &str, is_so: impl Fn(&StreamJobStatus) -> bool) {
        wait_for(what, async || {
            let job = self.jobs().get(JOB).await;
            let job = job.map_err(text)?;
            let generation = job.metadata.generation;
            let status = job.status.unwrap_or_default();
            let is_current = status.observed_generation == generation;
            (is_current && is_so(&status))
                .then_some(())
                .ok_or_else(|| format!("{status:?}"))
        })
        .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(controller) = self.controller.lock().unwrap().take() {
            controller.kill();
        }
    }
}

fn nothing() -> Summary {
    Summary(json!({
        "objects": {
            "configMaps": [], "secrets": [], "networkPolicies": [], "budgets": [],
            "deployments": [], "pods": ["0"],
        },
        "jobs": [], "savepoints": [],
    }))
}

fn is_ready(status: &StreamJobStatus) -> bool {
    let ready = status.condition(ConditionType::Ready);
    ready.is_some_and(|ready| ready.status == ConditionStatus::True)
}

fn reason(status: &StreamJobStatus) -> &'static str {
    status
        .condition(ConditionType::Ready)
        .map_or("", |ready| ready.reason.as_str())
}
