//! Connections, counted: a process that serves a network has only so many, and who says nothing
//! makes room for who has something to ask.
//!
//! ```text
//! accept ─▶ Connections::admit ─▶ Connection (has a Seat) ─▶ axum
//!                │ all taken?                    ▲
//!                └─ the longest idle one ends ───┘ its next read or write fails
//! ```
//! A client is idle that neither reads nor writes, unless the job is at work on what it asked for.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Connections of one listener at once.
const CONNECTIONS_MAX: usize = 128;
/// The wait after an accept that failed, as for want of file descriptors.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a connection that was told to end may take before another one has to as well.
const EVICTION_LIMIT: Duration = Duration::from_millis(100);

/// The connections of one listener. Cheap to clone.
///
/// # Invariants
/// No more than [`CONNECTIONS_MAX`] are open, and no new one waits for an idle one; held by the
/// tests of this module.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    seats: Arc<Mutex<Vec<Seat>>>,
    /// How often any of them was read or written: a clock to compare who did so last.
    uses: Arc<AtomicU64>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self::of(CONNECTIONS_MAX)
    }

    fn of(max: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max)),
            seats: Arc::default(),
            uses: Arc::default(),
        }
    }

    /// Takes a client in, in place of the longest idle one if need be. Waits only while the job is
    /// at work for every one of them.
    pub(super) async fn admit<S>(&self, stream: S) -> Connection<S> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.make_room().await,
        };
        let seat = Seat::new(Arc::clone(&self.uses));
        self.lock().push(seat.clone());
        Connection {
            stream,
            seat,
            connections: self.clone(),
            _permit: permit,
        }
    }

    async fn make_room(&self) -> OwnedSemaphorePermit {
        loop {
            self.evict_longest_idle();
            let freed = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = timeout(EVICTION_LIMIT, freed).await {
                return permit.expect("nobody closes the semaphore");
            }
        }
    }

    fn evict_longest_idle(&self) {
        let seats = self.lock();
        let idle = seats.iter().filter(|seat| seat.is_idle());
        if let Some(seat) = idle.min_by_key(|seat| seat.last_use()) {
            seat.evict();
        }
    }

    fn leave(&self, seat: &Seat) {
        self.lock().retain(|other| !seat.is_same(other));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seat>> {
        // Each change is one call, whole whatever panicked beside it.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place among those of its listener. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Seat(Arc<SeatState>);

#[derive(Debug)]
struct SeatState {
    uses: Arc<AtomicU64>,
    last_use: AtomicU64,
    /// What the job is at work on for this client.
    work_count: AtomicUsize,
    is_evicted: AtomicBool,
    /// The task that serves the connection: one, as HTTP/1 has it.
    task: AtomicWaker,
}

impl Seat {
    fn new(uses: Arc<AtomicU64>) -> Self {
        let seat = Self(Arc::new(SeatState {
            uses,
            last_use: AtomicU64::new(0),
            work_count: AtomicUsize::new(0),
            is_evicted: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }));
        seat.note_use();
        seat
    }

    /// As long as the guard lives, the job is at work for this client, however silent it is.
    pub(super) fn work(&self) -> Work {
        self.0.work_count.fetch_add(1, Ordering::SeqCst);
        Work(self.clone())
    }

    fn note_use(&self) {
        let now = self.0.uses.fetch_add(1, Ordering::SeqCst);
        self.0.last_use.store(now, Ordering::SeqCst);
    }

    fn last_use(&self) -> u64 {
        self.0.last_use.load(Ordering::SeqCst)
    }

    fn is_idle(&self) -> bool {
        let is_at_work = self.0.work_count.load(Ordering::SeqCst) > 0;
        !is_at_work && !self.0.is_evicted.load(Ordering::SeqCst)
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn evict(&self) {
        self.0.is_evicted.store(true, Ordering::SeqCst);
        self.0.task.wake();
    }

    /// Fails once the connection has to make room.
    fn attend(&self, context: &Context<'_>) -> io::Result<()> {
        // In this order: an eviction in between finds the task to wake.
        self.0.task.register(context.waker());
        if self.0.is_evicted.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

/// Work of the job for one client.
#[derive(Debug)]
pub(super) struct Work(Seat);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.note_use();
        self.0.0.work_count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An open connection, counted as long as it lives.
pub(super) struct Connection<S> {
    stream: S,
    seat: Seat,
    connections: Connections,
    _permit: OwnedSemaphorePermit,
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.connections.leave(&self.seat);
    }
}

impl<S> Connection<S> {
    pub(super) fn seat(&self) -> Seat {
        self.seat.clone()
    }
}

/// A listener of plain connections.
pub(super) struct BoundedListener {
    listener: TcpListener,
    connections: Connections,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            connections: Connections::new(),
        }
    }
}

impl Listener for BoundedListener {
    type Io = Connection<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => return (self.connections.admit(stream).await, address),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, BoundedListener>> for Seat {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        stream.io().seat()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.seat.attend(context)?;
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_ready() {
            self.seat.note_use();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.seat.attend(context)?;
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if polled.is_ready() {
            self.seat.note_use();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seat.attend(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
