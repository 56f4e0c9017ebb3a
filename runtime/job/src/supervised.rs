//! A job process as its supervisor's child: what it is handed, and what it tells.
//!
//! Standard input is a socket between the two: the child says what a later child need not do
//! again, and that the job runs.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, fs};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::job_event::JobEvent;
use crate::model::{LastExitView, Phase, PhaseView};

/// The supervisor's process id; set for its children only.
pub(crate) const SUPERVISOR_ENV: &str = "TIDEGATE_SUPERVISOR_PID";
/// How the child before this one ended, as JSON.
pub(crate) const LAST_EXIT_ENV: &str = "TIDEGATE_LAST_EXIT";
/// How many children there were before this one.
pub(crate) const PROCESS_RESTARTS_ENV: &str = "TIDEGATE_PROCESS_RESTARTS";
/// The storage URL whose store an earlier child has tested.
pub(crate) const STORE_TESTED_ENV: &str = "TIDEGATE_STORE_TESTED";

/// Which start of the job it is, as an earlier child has found.
pub(crate) const START_GENERATION_ENV: &str = "TIDEGATE_START_GENERATION";

/// What a child says when its job runs.
pub(crate) const RUNNING: &str = "running";
/// What a child says, followed by the storage URL, when it has tested the store.
pub(crate) const TESTED: &str = "tested ";
/// What a child says, followed by the start generation, before it writes anything of that start.
pub(crate) const STARTS: &str = "starts ";

/// The child's end. Cheap to clone; it does nothing where there is no supervisor.
#[derive(Debug, Clone, Default)]
pub(crate) struct SupervisorLink {
    socket: Option<Arc<Mutex<UnixStream>>>,
    tested: Option<String>,
    last_exit: Option<LastExitView>,
    restart_count: u32,
    start_generation: Option<u64>,
}

impl SupervisorLink {
    /// Takes what the supervisor has left in the environment and on standard input.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(crate) fn take() -> io::Result<Self> {
        if env::var_os(SUPERVISOR_ENV).is_none() {
            return Ok(Self::default());
        }
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // User code that reads standard input finds it empty, as it does in any container.
        rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
        let text = |name| env::var(name).ok();
        Ok(Self {
            socket: Some(Arc::new(Mutex::new(socket))),
            tested: text(STORE_TESTED_ENV),
            last_exit: text(LAST_EXIT_ENV).and_then(|json| serde_json::from_str(&json).ok()),
            restart_count: text(PROCESS_RESTARTS_ENV)
                .and_then(|count| count.parse().ok())
                .unwrap_or(0),
            start_generation: text(START_GENERATION_ENV)
                .and_then(|generation| generation.parse().ok()),
        })
    }

    /// How the process before this one ended.
    pub(crate) const fn last_exit(&self) -> Option<&LastExitView> {
        self.last_exit.as_ref()
    }

    /// How many processes there were before this one.
    pub(crate) const fn restart_count(&self) -> u32 {
        self.restart_count
    }

    /// Which start of the job it is, if a process before this one was the same.
    pub(crate) const fn start_generation(&self) -> Option<u64> {
        self.start_generation
    }

    /// Says which start of the job this process is, and each one after it under this supervisor.
    pub(crate) fn starts(&self, start_generation: u64) {
        self.say(&format!("{STARTS}{start_generation}\n"));
    }

    /// Whether a process before this one has tested this store.
    pub(crate) fn has_tested(&self, storage_url: &str) -> bool {
        self.tested.as_deref() == Some(storage_url)
    }

    /// Says that this store is tested.
    pub(crate) fn tested(&self, storage_url: &str) {
        self.say(&format!("{TESTED}{storage_url}\n"));
    }

    /// Says that the job runs, as soon as it does.
    pub(crate) async fn tell_when_running(self, mut events: Receiver<Arc<JobEvent>>) {
        loop {
            match events.recv().await.as_deref() {
                Ok(JobEvent::PhaseChanged {
                    phase:
                        PhaseView {
                            phase: Phase::Running,
                            ..
                        },
                }) => return self.say(&format!("{RUNNING}\n")),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn say(&self, line: &str) {
        if let Some(socket) = &self.socket {
            let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
            // A supervisor that is gone takes this process with it.
            let _ = socket.write_all(line.as_bytes());
        }
    }
}

/// Has this process die with its supervisor, if it has one. To be called first of all.
///
/// # Errors
/// The operating system refuses, or the supervisor is gone already.
pub(crate) fn die_with_supervisor() -> io::Result<()> {
    let Some(supervisor) = env::var(SUPERVISOR_ENV).ok().and_then(|id| id.parse().ok()) else {
        return Ok(());
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before the line above.
    if getppid() == Pid::from_raw(supervisor) {
        return Ok(());
    }
    Err(io::Error::other("the supervisor of this process is gone"))
}
