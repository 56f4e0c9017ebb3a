//! Runs a job process: passes signals on, keeps its last lines of error, and tells how it ended.
//!
//! The job gets a process group of its own, since a terminal sends Ctrl-C to a whole group and the
//! job would count it twice.

mod last_lines;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tidegate_api::job_config::JOB_CONFIG_ENV;
use tidegate_api::pod::SUPERVISE_ENV;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::signal::unix::{SignalKind, signal};

use last_lines::LastLines;

/// How long a job that is told to stop at once gets before it is killed.
const AT_ONCE: Duration = Duration::from_secs(2);
/// How much of standard error is passed on at a time.
const BUFFER_BYTES: usize = 8192;

/// What to start.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Its environment variables, besides those of this process.
    pub(crate) environment: Vec<(String, String)>,
    /// The file with its settings.
    pub(crate) config: PathBuf,
    /// Whether to keep its last lines of error; else it writes to the terminal itself.
    pub(crate) keeps_errors: bool,
}

/// How a job process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    status: ExitStatus,
    /// The end of what it wrote to standard error, if that was kept.
    pub(crate) last_lines: Vec<String>,
}

impl Ended {
    /// The exit code to pass on; as shells have it, 128 and the number for a signal.
    pub(crate) fn exit_code(&self) -> u8 {
        const SIGNAL_BASE: i32 = 128;
        let code = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => SIGNAL_BASE + signal,
            (None, None) => 1,
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }

    /// The signal that ended it, if one did.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

/// Runs a job process until it ends.
///
/// # Errors
/// It cannot be started or waited for.
pub(crate) fn run(launch: Launch) -> std::io::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(supervise(launch))
}

async fn supervise(launch: Launch) -> std::io::Result<Ended> {
    // Signals are caught before the job exists, so that none can end this process alone.
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    let mut child = spawn(launch)?;
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let errors = tokio::spawn(pass_on(child.stderr.take()));
    let mut signal_count = 0_u32;
    let status = loop {
        let received = tokio::select! {
            status = child.wait() => break status?,
            _ = interrupts.recv() => Signal::INT,
            _ = terminations.recv() => Signal::TERM,
            _ = hangups.recv() => Signal::TERM,
        };
        signal_count += 1;
        // The job itself tells what it does now.
        send(pid, received);
        if signal_count > 1 {
            break end_at_once(&mut child, pid).await?;
        }
    };
    // What the job left in the pipe is there already; a grandchild may hold the pipe open.
    let last_lines = tokio::time::timeout(AT_ONCE, errors).await;
    Ok(Ended {
        status,
        last_lines: last_lines.ok().and_then(Result::ok).unwrap_or_default(),
    })
}

fn spawn(launch: Launch) -> std::io::Result<Child> {
    let mut command = std::process::Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .envs(launch.environment)
        .env(JOB_CONFIG_ENV, &launch.config)
        // A job that supervised itself would miss this process as its parent, and end.
        .env_remove(SUPERVISE_ENV)
        .process_group(0);
    // A process outside the terminal's group is stopped as soon as it reads from the terminal.
    if std::io::stdin().is_terminal() {
        command.stdin(Stdio::null());
    }
    if launch.keeps_errors {
        command.stderr(Stdio::piped());
    }
    Command::from(command).spawn()
}

/// Gives a job that was told to stop at once a moment, then kills it and what it started.
async fn end_at_once(child: &mut Child, pid: Option<Pid>) -> std::io::Result<ExitStatus> {
    if let Ok(status) = tokio::time::timeout(AT_ONCE, child.wait()).await {
        return status;
    }
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    child.wait().await
}

fn send(pid: Option<Pid>, signal: Signal) {
    if let Some(pid) = pid {
        // It may have ended just now, and then `wait` tells.
        let _ = kill_process(pid, signal);
    }
}

/// Copies a job's standard error to this one's and gives its last lines.
async fn pass_on(stderr: Option<ChildStderr>) -> Vec<String> {
    let mut last_lines = LastLines::default();
    let Some(mut stderr) = stderr else {
        return Vec::new();
    };
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        match stderr.read(&mut buffer).await {
            Ok(0) | Err(_) => return last_lines.into_lines(),
            Ok(length) => {
                let _ = std::io::stderr().write_all(&buffer[..length]);
                last_lines.push(&buffer[..length]);
            }
        }
    }
}
