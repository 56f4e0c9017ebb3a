//! Passes over a job whose watch has not told of everything that the API server holds.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::{Json, Router};
use clap::Parser;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use serde_json::{Value, json};
use tidegate_api::status::StreamJobStatus;
use tokio::time::{Duration, Instant};

use super::*;
use crate::certificates::Authority;
use crate::client::JobClient;
use crate::config::{Arguments, Config};
use crate::leader::Leadership;
use crate::observe::observe;
use crate::plan::Child;
use crate::stream_job::fixtures;

const NAMESPACE: &str = "shop";

/// An API server that has Deployments, and counts what else is asked of it.
#[derive(Clone, Default)]
struct Server {
    deployments: Arc<Mutex<Vec<Deployment>>>,
    others: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn has(&self, deployment: &Deployment) {
        self.deployments.lock().unwrap().push(deployment.clone());
    }

    fn others(&self) -> Vec<String> {
        self.others.lock().unwrap().clone()
    }

    fn client(&self) -> Client {
        let router = Router::new().fallback(answer).with_state(self.clone());
        Client::new(router, NAMESPACE)
    }

    fn shared(&self) -> Shared {
        let now = Timestamp::now();
        let authority = Authority::generate(now).unwrap();
        let authority = Authority::new(&authority, now).unwrap();
        let own = authority.issue_client(now).unwrap();
        let jobs = Arc::new(JobClient::new(&authority, &own).unwrap());
        let arguments = ["tidegate-controller", "--runtime-image=example/tidegate:1"];
        let config = Config::from(&Arguments::try_parse_from(arguments).unwrap());
        let leadership = Leadership::default();
        leadership.end_at(Some(Instant::now() + Duration::from_secs(3600)));
        let connected = (self.client(), leadership);
        let watched = (Arc::default(), Arc::default());
        Shared::new(config, connected, (jobs, authority), watched)
    }
}

async fn answer(State(server): State<Server>, request: Request) -> (StatusCode, Json<Value>) {
    let path = request.uri().path();
    if request.method() == Method::GET && path.ends_with("/namespaces/shop/deployments") {
        let items = server.deployments.lock().unwrap().clone();
        let list = json!({
            "kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": {}, "items": items,
        });
        return (StatusCode::OK, Json(list));
    }
    let asked = format!("{} {path}", request.method());
    server.others.lock().unwrap().push(asked);
    let refusal = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500,
        "reason": "InternalError", "message": "this server only lists Deployments",
    });
    (StatusCode::INTERNAL_SERVER_ERROR, Json(refusal))
}

fn key() -> JobKey {
    JobKey {
        namespace: NAMESPACE.to_owned(),
        name: "orders".to_owned(),
    }
}

/// A job without children, what is planned for it, and the Deployment in that.
fn first_plan() -> (Observed, Plan, Deployment) {
    let mut job = fixtures::job("good:1");
    job.metadata.finalizers = Some(vec![FINALIZER_JOB.to_owned()]);
    let observed = fixtures::observed(job);
    let plan = crate::stream_job::plan(&observed, &fixtures::settings());
    let mut made = plan.apply.iter().filter_map(|child| match child {
        Child::Deployment(deployment) => Some(deployment.as_ref().clone()),
        _ => None,
    });
    let mut deployment = made.next().unwrap();
    deployment.metadata.resource_version = Some("7".to_owned());
    (observed, plan, deployment)
}

#[tokio::test]
async fn nothing_is_written_of_a_revision_whose_deployment_was_not_seen() {
    let (observed, plan, deployment) = first_plan();
    let server = Server::default();
    server.has(&deployment);
    let shared = server.shared();
    let first = carry_out(&shared, &key(), &observed, &plan).await;
    assert!(
        matches!(first, Err(ApplyError::Api(ApiError::Conflict { .. }))),
        "{first:?}"
    );
    assert_eq!(
        shared.cluster.deployments.of(&key()).len(),
        1,
        "it is seen now"
    );
    let second = carry_out(&shared, &key(), &observed, &plan).await;
    assert!(
        matches!(second, Err(ApplyError::Api(ApiError::Conflict { .. }))),
        "{second:?}"
    );
    assert_eq!(server.others(), Vec::<String>::new());
}

#[tokio::test]
async fn a_revision_that_is_nowhere_is_made() {
    let (observed, plan, _) = first_plan();
    let server = Server::default();
    let made = carry_out(&server.shared(), &key(), &observed, &plan).await;
    assert!(made.is_err(), "this server takes nothing");
    let [asked] = &server.others()[..] else {
        panic!("{:?}", server.others());
    };
    assert!(
        asked.starts_with("PATCH ") && asked.contains("/networkpolicies/"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_deployment_that_the_job_cannot_do_without_is_looked_up() {
    let (observed, _, deployment) = first_plan();
    let server = Server::default();
    server.has(&deployment);
    let shared = server.shared();
    let revision = fixtures::revision_of(&observed.job);
    let mut job = observed.job.as_ref().clone();
    let unreported = observe(&shared, &key(), Arc::new(job.clone()))
        .await
        .unwrap();
    assert!(
        unreported.revisions.is_empty(),
        "who is not named is told of by the watch"
    );
    job.status = Some(StreamJobStatus {
        revision: Some(revision.clone()),
        ..StreamJobStatus::default()
    });
    let reported = observe(&shared, &key(), Arc::new(job)).await.unwrap();
    let revisions = reported.revisions.iter();
    let names: Vec<&str> = revisions
        .map(|revision| revision.revision.as_str())
        .collect();
    assert_eq!(names, [revision]);
}
