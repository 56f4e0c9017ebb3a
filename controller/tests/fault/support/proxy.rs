//! Stands between a controller and the API server, and does to single requests what a bad network,
//! a busy server or a stale cache would.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kube::Client;
use serde_json::json;
use tidegate_testkit::Random;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::watches;

/// A namespace that the controller is to serve and may not: it was deleted, and its Role with it.
pub(crate) const FORBIDDEN: &str = "forbidden";
/// How often the controller is killed after one and the same write.
const KILLS_MAX: usize = 3;

/// What is done to a request that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answered with this status; nothing is done.
    Status(u16),
    /// The connection is cut; nothing is done.
    Cut,
    /// It is done, but the connection is cut instead of an answer.
    Lost,
    /// It is done after a while.
    Slow,
    /// It is done at once and answered after a while: watches tell of it before.
    Late,
}

/// Which writes meet what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// All is well.
    Pass,
    /// Every write is answered after a while.
    AnswerLate,
    /// Every write fails when it is tried first, and goes through when it is tried again.
    FailFirst(Fault),
    /// The controller is killed when this write is done, before it learns so; from 0.
    KillAfter(usize),
    /// The controller is killed after every write, but not for ever after one and the same: writes
    /// that differ in a number at the end of a name are the same.
    KillAfterEach,
}

/// How lists and watches are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// All is well.
    Pass,
    /// Lists are old, events are repeated, lost, and watches end.
    Unruly,
}

/// A running proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    upstream: Client,
    state: Mutex<ProxyState>,
    kill: mpsc::UnboundedSender<()>,
}

pub(crate) struct ProxyState {
    writes: Writes,
    pub(crate) reads: Reads,
    pub(crate) random: Random,
    /// What was written, in order, the Lease aside.
    done: Vec<String>,
    /// How often each write was tried.
    tried: HashMap<String, usize>,
    /// How often a Lease was read.
    lease_read_count: usize,
    /// How often a namespace was looked up.
    namespace_read_count: usize,
    /// Faults that happened.
    pub(crate) fault_count: usize,
    /// The last answers to lists.
    lists: HashMap<String, Bytes>,
}

impl Proxy {
    pub(crate) async fn start(
        upstream: Client,
        (writes, reads): (Writes, Reads),
        seed: u64,
        kill: mpsc::UnboundedSender<()>,
    ) -> Self {
        let state = ProxyState {
            writes,
            reads,
            random: Random::seeded(seed),
            done: Vec::new(),
            tried: HashMap::new(),
            lease_read_count: 0,
            namespace_read_count: 0,
            fault_count: 0,
            lists: HashMap::new(),
        };
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::new(state),
            kill,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared }
    }

    /// What was written so far, the Lease aside.
    pub(crate) fn done(&self) -> Vec<String> {
        self.shared.lock().done.clone()
    }

    /// How often a Lease was read. Who leads writes it only; who stands by reads it only.
    pub(crate) fn lease_read_count(&self) -> usize {
        self.shared.lock().lease_read_count
    }

    /// How often a namespace was looked up, as a job that is being deleted has it.
    pub(crate) fn namespace_read_count(&self) -> usize {
        self.shared.lock().namespace_read_count
    }

    pub(crate) fn fault_count(&self) -> usize {
        self.shared.lock().fault_count
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap()
    }

    async fn forward(&self, request: Request<Bytes>) -> Option<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(header::HOST);
        parts.headers.remove(header::CONTENT_LENGTH);
        let request = Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
        let response = match self.upstream.send(request).await {
            Ok(response) => response,
            Err(error) => {
                println!("the API server did not answer: {error}");
                return None;
            }
        };
        Some(response.map(Body::new))
    }
}

/// What becomes of one write.
enum Verdict {
    Pass,
    Fault(Fault),
    Kill,
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let request = Request::from_parts(parts, body);
    let is_lease = request.uri().path().contains("/leases");
    if request
        .uri()
        .path()
        .contains(&format!("/namespaces/{FORBIDDEN}/"))
    {
        return status(403);
    }
    let namespace = request.uri().path().strip_prefix("/api/v1/namespaces/");
    let is_namespace = namespace.is_some_and(|name| !name.contains('/'));
    let answer = match *request.method() {
        Method::GET => {
            shared.lock().namespace_read_count += usize::from(is_namespace);
            let answer = read(&shared, request).await;
            shared.lock().lease_read_count += usize::from(is_lease);
            answer
        }
        _ if is_lease => shared.forward(request).await,
        _ => write(&shared, request).await,
    };
    answer.unwrap_or_else(cut)
}

/// An answer that breaks off, so that the client sees a broken connection.
fn cut() -> Response<Body> {
    let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
    let mut response = Response::new(Body::from_stream(broken));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from_static("100"));
    response
}

fn status(code: u16) -> Response<Body> {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": "a fault of the test", "details": {"retryAfterSeconds": 1},
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

async fn write(shared: &Shared, request: Request<Bytes>) -> Option<Response<Body>> {
    let name = name(&request);
    match verdict(shared, &name) {
        Verdict::Pass => {
            let answer = shared.forward(request).await;
            shared.lock().done.push(name);
            answer
        }
        Verdict::Fault(Fault::Status(code)) => Some(status(code)),
        Verdict::Fault(Fault::Cut) => None,
        Verdict::Fault(Fault::Lost) => {
            shared.forward(request).await;
            shared.lock().done.push(name);
            None
        }
        Verdict::Fault(Fault::Late) => {
            let answer = shared.forward(request).await;
            shared.lock().done.push(name);
            tokio::time::sleep(Duration::from_millis(300)).await;
            answer
        }
        Verdict::Fault(Fault::Slow) => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let answer = shared.forward(request).await;
            shared.lock().done.push(name);
            answer
        }
        Verdict::Kill => {
            let answer = shared.forward(request).await;
            shared.lock().done.push(name);
            let is_done = answer
                .as_ref()
                .is_some_and(|answer| answer.status().is_success());
            if !is_done {
                return answer;
            }
            shared.kill.send(()).unwrap();
            // The controller never learns.
            std::future::pending().await
        }
    }
}

/// Method and path; events, whose names are all different, by what they are about.
fn name(request: &Request<Bytes>) -> String {
    let path = request.uri().path();
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let detail = match *request.method() {
        Method::POST if path.ends_with("/events") => &body["reason"],
        Method::POST => &body["metadata"]["name"],
        _ => &serde_json::Value::Null,
    };
    let detail = detail.as_str().unwrap_or_default();
    format!("{} {path} {detail}", request.method())
}

fn verdict(shared: &Shared, name: &str) -> Verdict {
    let mut state = shared.lock();
    let tried = state.tried.entry(name.to_owned()).or_default();
    *tried += 1;
    let is_first = !tried.is_multiple_of(2);
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let kills = state.tried.entry(format!("like {kind}")).or_default();
    *kills += 1;
    let kills_again = *kills <= KILLS_MAX;
    let index = state.done.len();
    let verdict = match state.writes {
        Writes::AnswerLate => Verdict::Fault(Fault::Late),
        Writes::FailFirst(fault) if is_first => Verdict::Fault(fault),
        Writes::KillAfter(kill) if kill == index => Verdict::Kill,
        Writes::KillAfterEach if kills_again => Verdict::Kill,
        Writes::Pass | Writes::FailFirst(_) | Writes::KillAfter(_) | Writes::KillAfterEach => {
            Verdict::Pass
        }
    };
    state.fault_count += usize::from(!matches!(verdict, Verdict::Pass));
    verdict
}

async fn read(shared: &Arc<Shared>, request: Request<Bytes>) -> Option<Response<Body>> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let is_watch = query.contains("watch=true");
    let is_unruly = shared.lock().reads == Reads::Unruly;
    if !is_unruly {
        return shared.forward(request).await;
    }
    if query.contains("sendInitialEvents=true") {
        return Some(status(422));
    }
    let uri = request.uri().to_string();
    let answer = shared.forward(request).await?;
    if is_watch {
        return Some(watches::disturb(shared, answer));
    }
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::TRANSFER_ENCODING);
    let body = body.collect().await.ok()?.to_bytes();
    Some(Response::from_parts(
        parts,
        Body::from(stale(shared, uri, body)),
    ))
}

/// Every second list is the one before.
fn stale(shared: &Shared, uri: String, body: Bytes) -> Bytes {
    let mut state = shared.lock();
    let is_old = state.random.below(2) == 0;
    match state.lists.insert(uri, body.clone()) {
        Some(old) if is_old => {
            state.fault_count += 1;
            old
        }
        _ => body,
    }
}
