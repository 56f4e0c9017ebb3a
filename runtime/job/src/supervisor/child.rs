//! One run of the job process: started, listened to, and how it ended.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, thread};

use rustix::process::{Pid, WaitStatus};
use tidegate_api::pod::SUPERVISE_ENV;
use tidegate_api::status::Reason;

use super::Event;
use super::last_lines::LastLines;
use crate::clock::system_ms;
use crate::error::Exit;
use crate::model::LastExitView;
use crate::supervised::{
    LAST_EXIT_ENV, PROCESS_RESTARTS_ENV, RUNNING, START_GENERATION_ENV, STARTS, STORE_TESTED_ENV,
    SUPERVISOR_ENV, TESTED,
};

/// How long the last words of a process that has ended are waited for; a child of its own may hold
/// its standard error open.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);
/// SIGKILL and SIGTERM, by their numbers on Linux.
const KILL: i32 = 9;
const TERM: i32 = 15;
/// The category of an end at the memory limit.
const OUT_OF_MEMORY: &str = Reason::OutOfMemory.as_str();

/// What each child leaves to the next one.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// The storage URL whose store is tested.
    pub(super) tested: Option<String>,
    /// Which start of the job each child is.
    pub(super) start_generation: Option<u64>,
    /// Children before the next one.
    pub(super) restart_count: u32,
    last_exit: Option<LastExitView>,
}

impl Handover {
    /// A child has ended, and another follows.
    pub(super) fn next(&mut self, ended: LastExitView) {
        self.restart_count = self.restart_count.saturating_add(1);
        self.last_exit = Some(ended);
    }
}

/// A running child.
pub(super) struct Child {
    pub(super) id: Pid,
    lines: Arc<Mutex<LastLines>>,
    lines_done: Receiver<()>,
    words_done: Receiver<()>,
}

impl Child {
    /// Starts this very program again, with the same arguments.
    pub(super) fn spawn(handover: &Handover, events: Sender<Event>) -> io::Result<Self> {
        let (own_end, child_end) = UnixStream::pair()?;
        let mut words = env::args_os();
        let mut command = Command::new("/proc/self/exe");
        command.arg0(words.next().unwrap_or_default()).args(words);
        command.env_remove(SUPERVISE_ENV);
        command.env_remove(START_GENERATION_ENV);
        command.env(SUPERVISOR_ENV, process::id().to_string());
        command.env(PROCESS_RESTARTS_ENV, handover.restart_count.to_string());
        if let Some(url) = &handover.tested {
            command.env(STORE_TESTED_ENV, url);
        }
        if let Some(generation) = handover.start_generation {
            command.env(START_GENERATION_ENV, generation.to_string());
        }
        if let Some(ended) = &handover.last_exit {
            command.env(LAST_EXIT_ENV, serde_json::to_string(ended)?);
        }
        command.stdin(Stdio::from(OwnedFd::from(child_end)));
        command.stderr(Stdio::piped());
        // A terminal sends Ctrl-C to a whole group: what is passed on would be a second one.
        command.process_group(0);
        let mut child = command.spawn()?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("the job process has no id"))?;
        let number = handover.restart_count;
        let (done, words_done) = mpsc::channel();
        let listen = move || {
            listen(own_end, number, &events);
            // The supervisor may have given up waiting.
            let _ = done.send(());
        };
        thread::Builder::new()
            .name("tidegate-child".into())
            .spawn(listen)?;
        let lines = Arc::default();
        let (done, lines_done) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            let lines = Arc::clone(&lines);
            let pass = move || pass_on(stderr, &lines, &done);
            thread::Builder::new()
                .name("tidegate-stderr".into())
                .spawn(pass)?;
        }
        Ok(Self {
            id,
            lines,
            lines_done,
            words_done,
        })
    }

    /// Waits until all that the child has said is an event, and adds its last lines to how it
    /// ended.
    pub(super) fn finish(self, mut ended: Ended) -> Ended {
        // Whether they are complete or late, there is no more to wait for.
        let _ = self.words_done.recv_timeout(LAST_WORDS_LIMIT);
        let _ = self.lines_done.recv_timeout(LAST_WORDS_LIMIT);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        ended.view.last_lines = lines.take();
        ended
    }
}

/// Tells the supervisor what the child says.
fn listen(socket: UnixStream, number: u32, events: &Sender<Event>) {
    for line in BufReader::new(socket).lines().map_while(Result::ok) {
        let Some(event) = event(&line, number) else {
            continue;
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// What a line of the child with this number means.
fn event(line: &str, number: u32) -> Option<Event> {
    if line == RUNNING {
        return Some(Event::Running(number));
    }
    if let Some(generation) = line.strip_prefix(STARTS) {
        return generation.parse().ok().map(Event::Starts);
    }
    let url = line.strip_prefix(TESTED)?;
    Some(Event::Tested(url.to_owned()))
}

/// Passes the child's standard error on and keeps its last lines.
fn pass_on(mut stderr: ChildStderr, lines: &Mutex<LastLines>, done: &Sender<()>) {
    let mut buffer = [0; 8192];
    while let Ok(count) = stderr.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let bytes = &buffer[..count];
        // There is nobody to tell that standard error is gone; the lines are kept all the same.
        let _ = io::stderr().write_all(bytes);
        lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes);
    }
    // The supervisor may have given up waiting.
    let _ = done.send(());
}

/// How a child ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) view: LastExitView,
}

impl Ended {
    pub(super) fn of(status: WaitStatus) -> Self {
        let (exit_code, signal) = (status.exit_status(), status.terminating_signal());
        let description = match (exit_code, signal) {
            (_, Some(signal)) => format!("was killed by signal {signal}"),
            (Some(code), None) => format!("ended with exit code {code}"),
            (None, None) => "ended".to_owned(),
        };
        Self {
            view: LastExitView {
                time_ms: system_ms(),
                exit_code,
                signal,
                description,
                category: None,
                last_lines: Vec::new(),
            },
        }
    }

    /// For the case that cannot happen.
    pub(super) fn unknown() -> Self {
        Self {
            view: LastExitView {
                time_ms: system_ms(),
                exit_code: Some(1),
                signal: None,
                description: "was lost".to_owned(),
                category: None,
                last_lines: Vec::new(),
            },
        }
    }

    /// The container's memory limit was the cause, if a signal ended it.
    pub(super) fn blame_memory_limit(&mut self, limit: Option<String>) {
        if self.view.signal != Some(KILL) {
            return;
        }
        let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        self.view.description = format!(
            "was killed at the container's memory limit{limit}: raise resources.limits.memory, or \
             lower the parallelism"
        );
        self.view.category = Some(OUT_OF_MEMORY.to_owned());
    }

    /// Whether another start would change nothing: it is done, its settings are wrong, or another
    /// process has taken the job over.
    pub(super) fn is_final(&self) -> bool {
        let finals = [Exit::Done, Exit::Invalid, Exit::Fenced, Exit::Interrupted];
        finals
            .iter()
            .any(|exit| self.view.exit_code == Some(i32::from(*exit as u8)))
    }

    /// The exit code that says the same of the supervisor.
    pub(super) fn code(&self) -> u8 {
        let code = match (self.view.exit_code, self.view.signal) {
            (Some(code), None) => code,
            (_, Some(signal)) => 128 + signal,
            (None, None) => 1,
        };
        u8::try_from(code).unwrap_or(1)
    }

    /// The same after the child was told to end: one that had not come so far as to notice has
    /// done as it was told.
    pub(super) fn code_after_termination(&self) -> u8 {
        match self.view.signal {
            Some(TERM) => 0,
            _ => self.code(),
        }
    }
}
