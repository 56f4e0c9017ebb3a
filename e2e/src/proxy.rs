//! A proxy on loopback that does to requests what a bad network and a bad server do.
//!
//! ```text
//!   client ──► connection thread ──► server
//!                 │ draws a fault for each whole request
//!                 └─ late requests: a thread each, held until due or released
//! ```
//!
//! Requests are read whole before anything is forwarded, so a fault is always about one request.
//! The `Host` header stays the client's, which keeps signatures valid.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::http::{self, Message};
use crate::{Error, Fault, FaultCounts, FaultPlan, Random, Result};

/// No server answers a test's request slower than this.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(60);

/// A running proxy; stops, and cuts all connections, when dropped. Late requests that are still
/// held are dropped with it.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    is_stopped: AtomicBool,
    is_down: AtomicBool,
    state: Mutex<State>,
    /// Wakes late requests and those who wait for them.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    plan: FaultPlan,
    random: Random,
    scripted: VecDeque<Scripted>,
    counts: FaultCounts,
    connections: HashMap<u64, [TcpStream; 2]>,
    connection_count: u64,
    /// Late requests of this release or older are due.
    released: u64,
}

#[derive(Debug)]
struct Scripted {
    fault: Fault,
    method: String,
    path_part: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panicking connection thread leaves counters and queues usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultProxy {
    /// Starts a proxy in front of `upstream`.
    ///
    /// # Errors
    /// When no port on loopback can be bound.
    pub fn start(upstream: SocketAddr, plan: FaultPlan) -> Result<Self> {
        let bind = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bind().map_err(|source| Error::Start {
            program: "the fault proxy".into(),
            source,
        })?;
        let state = State {
            random: plan.random(),
            plan,
            scripted: VecDeque::new(),
            counts: FaultCounts::default(),
            connections: HashMap::new(),
            connection_count: 0,
            released: 0,
        };
        let shared = Arc::new(Shared {
            upstream,
            is_stopped: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let acceptor = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &acceptor));
        Ok(Self { address, shared })
    }

    /// The URL to give to the client instead of the server's.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the plan, for instance by one without faults; requests under way keep theirs.
    pub fn set_plan(&self, plan: FaultPlan) {
        let mut state = self.shared.state();
        state.random = plan.random();
        state.plan = plan;
    }

    /// The next request of this method whose path and query contain `path_part` is hit by
    /// `fault`, whatever the plan says. Several are taken in the order in which they were added.
    pub fn hit_next(&self, fault: Fault, method: &str, path_part: &str) {
        let (method, path_part) = (method.to_string(), path_part.to_string());
        self.shared.state().scripted.push_back(Scripted {
            fault,
            method,
            path_part,
        });
    }

    /// While down, connections are cut and new ones are closed at once: the store is unreachable.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
        if is_down {
            self.cut_all();
        }
    }

    /// Cuts every connection that is open now.
    pub fn cut_all(&self) {
        for connection in self.shared.state().connections.values() {
            for stream in connection {
                // Fails only when the peer was faster.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Forwards all held late requests now, and returns when the server has answered them.
    pub fn release_late(&self) {
        let mut state = self.shared.state();
        state.released += 1;
        self.shared.changed.notify_all();
        let deadline = Instant::now() + UPSTREAM_TIMEOUT;
        while state.counts.late_arrived < state.counts.applied_late && Instant::now() < deadline {
            let waited = self
                .shared
                .changed
                .wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        self.shared.state().counts
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        self.cut_all();
        self.shared.changed.notify_all();
        // Wakes the acceptor, which then ends; fails only when it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.is_stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        if shared.is_down.load(Ordering::SeqCst) {
            continue;
        }
        let shared = Arc::clone(shared);
        // An error ends this connection only; the client sees it cut.
        std::thread::spawn(move || serve(&shared, client));
    }
}

/// Serves one client connection until either side ends it.
fn serve(shared: &Arc<Shared>, client: TcpStream) -> io::Result<()> {
    let upstream = connect(shared.upstream)?;
    client.set_nodelay(true)?;
    let pair = [client.try_clone()?, upstream.get_ref().try_clone()?];
    let id = {
        let mut state = shared.state();
        state.connection_count += 1;
        let id = state.connection_count;
        state.connections.insert(id, pair);
        id
    };
    let mut connection = Connection {
        shared,
        client: BufReader::new(client),
        upstream,
    };
    let result = connection.run();
    if let Some(pair) = shared.state().connections.remove(&id) {
        for stream in pair {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
    result
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, UPSTREAM_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(UPSTREAM_TIMEOUT))?;
    Ok(BufReader::new(stream))
}

/// Sends a request and reads the whole answer.
fn exchange(upstream: &mut BufReader<TcpStream>, request: &Message) -> io::Result<Message> {
    upstream.get_mut().write_all(&request.bytes())?;
    http::read_response(upstream, request.method())
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    client: BufReader<TcpStream>,
    upstream: BufReader<TcpStream>,
}

impl Connection<'_> {
    fn run(&mut self) -> io::Result<()> {
        while let Some(request) = http::read_request(&mut self.client)? {
            let fault = self.choose(&request);
            if !self.handle(&request, fault)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes the first scripted fault that matches, else draws one.
    fn choose(&self, request: &Message) -> Option<Fault> {
        let mut state = self.shared.state();
        let state = &mut *state;
        state.counts.requests += 1;
        let matches = |scripted: &Scripted| {
            scripted.method == request.method() && request.target().contains(&scripted.path_part)
        };
        let scripted = state.scripted.iter().position(matches);
        let drawn = state.plan.draw(&mut state.random, request.method());
        let fault = scripted
            .and_then(|index| state.scripted.remove(index))
            .map(|s| s.fault)
            .or(drawn);
        if let Some(fault) = fault {
            state.counts.count(fault);
        }
        fault
    }

    /// Returns whether the connection goes on.
    fn handle(&mut self, request: &Message, fault: Option<Fault>) -> io::Result<bool> {
        match fault {
            None => self.forward(request),
            Some(Fault::Delay) => {
                let delay = {
                    let mut state = self.shared.state();
                    let state = &mut *state;
                    state.plan.draw_delay(&mut state.random)
                };
                std::thread::sleep(delay);
                self.forward(request)
            }
            Some(Fault::Duplicate) => {
                let first = exchange(&mut self.upstream, request)?;
                if first.closes() {
                    self.upstream = connect(self.shared.upstream)?;
                }
                self.forward(request)
            }
            Some(Fault::Reject(status)) => self.answer(request, status),
            Some(Fault::ApplyThenFail(status)) => {
                let answer = exchange(&mut self.upstream, request)?;
                Ok(self.answer(request, status)? && !answer.closes())
            }
            Some(Fault::ApplyLate) => {
                self.send_late(request);
                self.answer(request, 503)
            }
            Some(Fault::CutRequest) => {
                let bytes = request.bytes();
                let cut_at = self.part_of(bytes.len());
                self.upstream.get_mut().write_all(&bytes[..cut_at])?;
                Ok(false)
            }
            Some(Fault::ApplyThenCut) => {
                let bytes = exchange(&mut self.upstream, request)?.bytes();
                let cut_at = self.part_of(bytes.len());
                self.client.get_mut().write_all(&bytes[..cut_at])?;
                Ok(false)
            }
        }
    }

    fn forward(&mut self, request: &Message) -> io::Result<bool> {
        let answer = exchange(&mut self.upstream, request)?;
        self.client.get_mut().write_all(&answer.bytes())?;
        // Without a length the client knows the end by the end of the connection.
        let has_end = answer.header("content-length").is_some()
            || answer.header("transfer-encoding").is_some()
            || matches!(answer.status(), 204 | 304);
        Ok(has_end && !answer.closes() && !request.closes())
    }

    /// Where to cut a message of this length: anywhere before its end.
    fn part_of(&self, length: usize) -> usize {
        self.shared.state().random.below(length as u64) as usize
    }

    /// Answers in the server's stead, in the form in which S3 reports errors.
    fn answer(&mut self, request: &Message, status: u16) -> io::Result<bool> {
        let (reason, code) = match status {
            503 => ("Service Unavailable", "SlowDown"),
            429 => ("Too Many Requests", "SlowDown"),
            403 => ("Forbidden", "AccessDenied"),
            _ => ("Internal Server Error", "InternalError"),
        };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
             <Message>injected by the fault proxy</Message></Error>"
        );
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.client.get_mut().write_all(head.as_bytes())?;
        if request.method() != "HEAD" {
            self.client.get_mut().write_all(body.as_bytes())?;
        }
        Ok(!request.closes())
    }

    fn send_late(&self, request: &Message) {
        let shared = Arc::clone(self.shared);
        let request = request.clone();
        let (held_at, delay) = {
            let state = shared.state();
            (state.released, state.plan.late_delay())
        };
        std::thread::spawn(move || {
            let due = Instant::now() + delay;
            let mut state = shared.state();
            while state.released == held_at && Instant::now() < due {
                if shared.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let left = due.saturating_duration_since(Instant::now());
                let waited = shared.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            drop(state);
            // Nobody waits for this answer, and a server that is gone gives none.
            let _ = connect(shared.upstream).and_then(|mut server| exchange(&mut server, &request));
            shared.state().counts.late_arrived += 1;
            shared.changed.notify_all();
        });
    }
}

#[cfg(test)]
mod tests;
