//! Lines from a TCP server, as `nc -lk 9999` is one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use socket2::{SockRef, TcpKeepalive};
use tidegate_engine::{
    PermanentError, ReadStatus, Replay, Result, Source, SourceContext, SourceOutput, SourceReader,
    Split, SplitState,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::bad_records::{BadRecordHandler, BadRecords};

/// The longest line.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Lines read ahead of the task.
const READ_AHEAD: usize = 4096;
/// Bytes of these lines, together.
const READ_AHEAD_BYTES: usize = 4 << 20;
/// Bytes of lines pushed in one call, about.
const PUSHED_BYTES: usize = 1 << 20;
/// How long a server may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The silence after which the server is asked whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often it is asked before the connection counts as broken.
const KEEPALIVE_TRIES: u32 = 3;
/// The longest wait between two tries.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Reads lines that a TCP server sends; each, without its end, is a record.
///
/// A socket cannot be asked for the same lines again: after a failure, lines that came since the
/// last checkpoint are lost, and at a planned stop those on their way. State is then as of the
/// checkpoint, so results are at most once.
#[derive(Debug, Clone)]
pub struct SocketLines {
    address: String,
    reconnects: u32,
    bad_records: BadRecords,
    connected: Connected,
}

impl SocketLines {
    /// Connects to `host:port`. The end of the connection is the end of the input.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            reconnects: 0,
            bad_records: BadRecords::Fail,
            connected: Connected::default(),
        }
    }

    /// Connects again when the connection is refused or ends, up to so many times in a row.
    #[must_use]
    pub fn with_reconnects(mut self, reconnects: u32) -> Self {
        self.reconnects = reconnects;
        self
    }

    /// What becomes of lines that are too long or no UTF-8.
    #[must_use]
    pub fn on_bad_records(mut self, policy: BadRecords) -> Self {
        self.bad_records = policy;
        self
    }
}

/// The split that stands for the connection, where a checkpoint knows one: discovery sees those of
/// all subtasks, a reader its own alone. A clone is another source, with splits of its own.
#[derive(Debug, Default)]
struct Connected(Mutex<Option<String>>);

impl Connected {
    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Connected {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Source for SocketLines {
    type Item = String;
    type Reader = SocketReader;

    /// A split that a checkpoint knows stands for the connection, whatever address it had: with
    /// another one for a changed address, two subtasks would connect and share the lines out.
    fn discover(&self, known: &[SplitState]) -> Result<Vec<Split>> {
        let port = self
            .address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return Err(PermanentError::new(format!(
                "`{}` is no address of a socket; write `host:port`, such as `localhost:9999`",
                self.address
            ))
            .into());
        }
        let connected = first_unended(known);
        let is_known = connected.is_some();
        *self.connected.lock() = connected;
        if is_known {
            return Ok(Vec::new());
        }
        Ok(vec![Split {
            id: self.address.clone(),
            weight: 1,
            spec: Value::Null,
        }])
    }

    fn reader(&self, mut splits: Vec<SplitState>, context: SourceContext) -> Result<SocketReader> {
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        let connected = self.connected.lock().clone();
        let connected = connected.or_else(|| first_unended(&splits));
        // Checkpoints of older versions may have two splits, from before and after a change of the
        // address; the other one ends.
        for state in &mut splits {
            state.is_ended |= Some(&state.split.id) != connected.as_ref();
        }
        let is_own = splits.iter().any(|state| !state.is_ended);
        if is_own {
            let connection = Connection {
                source: self.clone(),
                sender,
                room: Arc::new(Semaphore::new(READ_AHEAD_BYTES)),
                tries: 0,
            };
            context.io.spawn(connection.run());
        }
        let bad_records =
            BadRecordHandler::new(&self.bad_records, &context.operator, context.metrics)?;
        let address = self.address.clone();
        Ok(SocketReader {
            address,
            splits,
            lines,
            bad_records,
            line_count: 0,
        })
    }

    fn replay(&self) -> Replay {
        Replay::Never
    }
}

/// The lowest id of a split that has not ended.
fn first_unended(states: &[SplitState]) -> Option<String> {
    let unended = states.iter().filter(|state| !state.is_ended);
    unended.map(|state| state.split.id.clone()).min()
}

/// What waits for the task, and the room that it takes up.
struct Waiting {
    received: Received,
    size_bytes: usize,
    _room: Option<OwnedSemaphorePermit>,
}

/// What the connection gives.
enum Received {
    Line(String),
    Bad(&'static str, String),
    Failed(PermanentError),
}

struct Connection {
    source: SocketLines,
    sender: mpsc::Sender<Waiting>,
    /// One permit for each byte that may wait.
    room: Arc<Semaphore>,
    tries: u32,
}

impl Connection {
    async fn run(mut self) {
        loop {
            let failure = match self.connect().await {
                Ok(stream) => {
                    self.tries = 0;
                    match self.read(stream).await {
                        Ok(false) => return,
                        Ok(true) if self.source.reconnects == 0 => return,
                        Ok(true) => None,
                        Err(error) => Some(("the connection broke", error)),
                    }
                }
                Err(error) => Some(("cannot connect", error)),
            };
            if self.tries >= self.source.reconnects {
                if let Some((what, error)) = failure {
                    let address = &self.source.address;
                    let message = format!(
                        "{what} to `{address}`; check that a server listens there, for instance \
                         `nc -lk {}`",
                        address.rsplit(':').next().unwrap_or_default()
                    );
                    let error = PermanentError::with_source(message, error);
                    self.give(Received::Failed(error), 0).await;
                }
                return;
            }
            self.tries += 1;
            let backoff = Duration::from_millis(100 << self.tries.min(6));
            tokio::select! {
                () = tokio::time::sleep(backoff.min(MAX_BACKOFF)) => {}
                () = self.sender.closed() => return,
            }
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let connecting = TcpStream::connect(&self.source.address);
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(std::io::ErrorKind::TimedOut.into()),
        };
        keep_alive(&stream)?;
        Ok(stream)
    }

    /// Waits for room, then hands a line on; `false` once nobody wants more.
    async fn give(&self, received: Received, size_bytes: usize) -> bool {
        // A line is shorter than all of the room, and the room is never closed.
        let wanted = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted);
        let waiting = tokio::select! {
            room = room => Waiting { received, size_bytes, _room: room.ok() },
            () = self.sender.closed() => return false,
        };
        self.sender.send(waiting).await.is_ok()
    }

    /// Reads to the end of the connection; `false` once nobody wants more.
    async fn read(&self, stream: TcpStream) -> std::io::Result<bool> {
        let mut reader = BufReader::with_capacity(64 << 10, stream);
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut reader).take(MAX_LINE_BYTES);
            let read = tokio::select! {
                read = limited.read_until(b'\n', &mut line) => read?,
                () = self.sender.closed() => return Ok(false),
            };
            if read == 0 {
                return Ok(true);
            }
            let size_bytes = line.len();
            let is_too_long = size_bytes as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n");
            let received = if is_too_long {
                tokio::select! {
                    skipped = skip_line(&mut reader) => skipped?,
                    () = self.sender.closed() => return Ok(false),
                }
                let begin = String::from_utf8_lossy(&line).into_owned();
                Received::Bad("the line is longer than allowed", begin)
            } else {
                text_of(line)
            };
            if !self.give(received, size_bytes).await {
                return Ok(false);
            }
        }
    }
}

/// Has the system ask a silent server whether it is still there: one that lost its power or its
/// network sends no end, and who only reads would wait for ever.
fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    let options = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_TRIES);
    SockRef::from(stream).set_tcp_keepalive(&options)
}

async fn skip_line(reader: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf().await?;
        let end = memchr::memchr(b'\n', buffer);
        let (length, is_over) = (end.map_or(buffer.len(), |end| end + 1), buffer.is_empty());
        reader.consume(length);
        if end.is_some() || is_over {
            return Ok(());
        }
    }
}

fn text_of(mut line: Vec<u8>) -> Received {
    if line.ends_with(b"\n") {
        line.pop();
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    match String::from_utf8(line) {
        Ok(line) => Received::Line(line),
        Err(error) => {
            let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Received::Bad("the text is no UTF-8", shown)
        }
    }
}

/// Reads the one split of a [`SocketLines`], or none.
pub struct SocketReader {
    address: String,
    splits: Vec<SplitState>,
    lines: mpsc::Receiver<Waiting>,
    bad_records: BadRecordHandler,
    line_count: u64,
}

impl SocketReader {
    /// Pushes a line; gives its bytes.
    fn take(&mut self, waiting: Waiting, output: &mut SourceOutput<String>) -> Result<usize> {
        self.line_count += 1;
        match waiting.received {
            Received::Line(line) => output.push(&line),
            Received::Bad(problem, raw) => {
                let place = format!("{}, line {}", self.address, self.line_count);
                self.bad_records.bad(&place, problem, &raw)?;
            }
            Received::Failed(error) => return Err(error.into()),
        }
        Ok(waiting.size_bytes)
    }
}

impl SourceReader for SocketReader {
    type Item = String;

    async fn read(&mut self, output: &mut SourceOutput<String>) -> Result<ReadStatus> {
        let Some(waiting) = self.lines.recv().await else {
            self.splits
                .iter_mut()
                .for_each(|state| state.is_ended = true);
            return Ok(ReadStatus::Ended);
        };
        let mut pushed_bytes = self.take(waiting, output)?;
        for _ in 1..output.wanted_rows() {
            if pushed_bytes >= PUSHED_BYTES {
                break;
            }
            let Ok(waiting) = self.lines.try_recv() else {
                break;
            };
            pushed_bytes += self.take(waiting, output)?;
        }
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<SplitState> {
        self.splits.clone()
    }
}

#[cfg(test)]
mod tests;
