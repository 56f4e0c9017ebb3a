//! Keepers and an API server that knows one Lease.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;

const NAMESPACE: &str = "tidegate-system";
const NAME: &str = "tidegate-controller";
const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/tidegate-system/leases";
const DURATION: Duration = Duration::from_secs(15);

#[derive(Clone, Default)]
struct Server(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    lease: Option<Value>,
    version: u64,
    /// Whether writes are done, and their answers lost.
    loses_answers: bool,
    /// Whether nothing is answered.
    hangs: bool,
}

type Answer = (StatusCode, Json<Value>);

impl Server {
    fn keeper(&self, identity: &str) -> Keeper {
        let router = Router::new()
            .route(PATH, post(create))
            .route(&format!("{PATH}/{{name}}"), get(read).put(replace))
            .with_state(self.clone());
        Keeper::new(
            Client::new(router, NAMESPACE),
            (NAMESPACE, NAME),
            identity.to_owned(),
            DURATION,
            Leadership::default(),
        )
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap()
    }

    async fn answers(&self) {
        if self.lock().hangs {
            std::future::pending::<()>().await;
        }
    }

    fn holder(&self) -> Option<String> {
        let lease = self.lock().lease.clone()?;
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    fn give_to(&self, holder: &str) {
        let mut stored = self.lock();
        let mut lease = stored.lease.clone().unwrap();
        lease["spec"]["holderIdentity"] = json!(holder);
        let (status, _) = stored.write(lease);
        assert_eq!(status, StatusCode::OK);
    }
}

impl Stored {
    fn write(&mut self, mut lease: Value) -> Answer {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.lease = Some(lease.clone());
        match self.loses_answers {
            true => problem(StatusCode::GATEWAY_TIMEOUT, "Timeout"),
            false => (StatusCode::OK, Json(lease)),
        }
    }
}

fn problem(status: StatusCode, reason: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(),
        "reason": reason, "message": reason,
    });
    (status, Json(body))
}

async fn read(State(server): State<Server>) -> Answer {
    server.answers().await;
    match server.lock().lease.clone() {
        Some(lease) => (StatusCode::OK, Json(lease)),
        None => problem(StatusCode::NOT_FOUND, "NotFound"),
    }
}

async fn create(State(server): State<Server>, Json(lease): Json<Value>) -> Answer {
    let mut stored = server.lock();
    match stored.lease {
        Some(_) => problem(StatusCode::CONFLICT, "AlreadyExists"),
        None => stored.write(lease),
    }
}

async fn replace(State(server): State<Server>, Json(lease): Json<Value>) -> Answer {
    server.answers().await;
    let mut stored = server.lock();
    let version = json!(stored.version.to_string());
    match lease["metadata"]["resourceVersion"] == version {
        true => stored.write(lease),
        false => problem(StatusCode::CONFLICT, "Conflict"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_stopped_leaves_the_lease_with_its_holder() {
    let server = Server::default();
    server.keeper("leader").acquire().await;
    let mut standby = server.keeper("standby");
    let waiting = tokio::time::timeout(DURATION / 2, standby.acquire()).await;
    assert!(waiting.is_err(), "another holds it");
    standby.release().await;
    assert_eq!(server.holder().as_deref(), Some("leader"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_lost_leaves_the_lease_with_its_new_holder() {
    let server = Server::default();
    let mut leader = server.keeper("leader");
    leader.acquire().await;
    server.give_to("another");
    let lost = leader.keep(&CancellationToken::new()).await;
    let Err(LeaderError::Taken { holder, .. }) = lost else {
        panic!("{lost:?}");
    };
    assert_eq!(holder, "another");
    assert!(!leader.leadership.is_held());
    leader.release().await;
    assert_eq!(server.holder().as_deref(), Some("another"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_writes_no_longer_than_it_may_while_a_renewal_hangs() {
    let server = Server::default();
    let mut leader = server.keeper("leader");
    leader.acquire().await;
    let leadership = leader.leadership.clone();
    server.lock().hangs = true;
    let stop = CancellationToken::new();
    let kept = tokio::time::timeout(DURATION * 5 / 6, leader.keep(&stop)).await;
    assert!(kept.is_err(), "a renewal is under way: {kept:?}");
    assert!(!leadership.is_held(), "another may take it soon");
    let lost = leader.keep(&stop).await;
    assert!(matches!(lost, Err(LeaderError::Expired { .. })), "{lost:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_stopped_gives_the_lease_back() {
    let server = Server::default();
    let mut leader = server.keeper("leader");
    leader.acquire().await;
    assert!(leader.leadership.is_held());
    leader.release().await;
    assert!(!leader.leadership.is_held());
    assert_eq!(server.holder(), None);
    let began = Instant::now();
    server.keeper("next").acquire().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for it");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_though_the_answer_to_its_last_renewal_was_lost() {
    let server = Server::default();
    let mut leader = server.keeper("leader");
    leader.acquire().await;
    server.lock().loses_answers = true;
    leader.step().await.unwrap_err();
    server.lock().loses_answers = false;
    leader.release().await;
    assert_eq!(server.holder(), None);
}
