//! Child processes that never outlive the test process.
//!
//! Dropping a [`Child`] kills it. A test process that is itself killed cannot drop anything, so
//! children run under `setpriv --pdeathsig KILL` where there is one. The kernel sends that
//! signal when the *thread* that started the child ends, so one thread that lives as long as the
//! process starts them all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child as SystemChild, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use crate::{Error, Result};

/// How much of a log an error message shows.
const TAIL_LINES: usize = 20;

/// Asked for only once `setpriv` runs, the signal never comes to a process whose parent was killed
/// before; so whoever finds another parent than the one named first ends at once.
const UNLESS_ORPHANED: &str = r#"[ "$PPID" = "$0" ] && exec "$@""#;

type Request = (Command, Sender<io::Result<SystemChild>>);

/// A running server process.
#[derive(Debug)]
pub(crate) struct Child {
    child: SystemChild,
    log: PathBuf,
}

impl Child {
    /// Starts `argv` with `environment` added, its output going to `log`.
    ///
    /// # Errors
    /// When the program cannot be started or the log cannot be created.
    pub(crate) fn start(
        argv: &[String],
        environment: &[(&str, String)],
        log: &Path,
    ) -> Result<Self> {
        let output = File::create(log).map_err(|e| Error::file("create", log, e))?;
        let errors = output
            .try_clone()
            .map_err(|e| Error::file("open", log, e))?;
        let mut command = guarded(argv);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = spawn(command).map_err(|source| Error::Start {
            program: argv[0].clone(),
            source,
        })?;
        Ok(Self {
            child,
            log: log.to_path_buf(),
        })
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines of its output.
    pub(crate) fn tail(&self) -> String {
        tail(&self.log)
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a file, or nothing when it cannot be read.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// `argv`, run so that it dies with this process where the system can do that.
fn guarded(argv: &[String]) -> Command {
    static HAS_SETPRIV: OnceLock<bool> = OnceLock::new();
    let has_setpriv = *HAS_SETPRIV.get_or_init(|| {
        let mut probe = Command::new("setpriv");
        probe
            .args(["--pdeathsig", "KILL", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    if has_setpriv {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "sh", "-c", UNLESS_ORPHANED]);
        command.arg(std::process::id().to_string()).args(argv);
        command
    } else {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        command
    }
}

/// Starts a process from the thread that lives as long as this process.
fn spawn(command: Command) -> io::Result<SystemChild> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, reply) in requests {
                // A caller that is gone takes its child with it.
                if let Err(unsent) = reply.send(command.spawn()) {
                    let _ = unsent.0.map(|mut child| child.kill());
                }
            }
        });
        sender
    });
    let (reply, answer) = channel();
    spawner
        .send((command, reply))
        .map_err(|_| io::Error::other("the spawner thread ended"))?;
    answer
        .recv()
        .map_err(|_| io::Error::other("the spawner thread ended"))?
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::time::{Duration, Instant};

    use super::*;

    fn exists(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    fn sleeper(folder: &Path) -> Child {
        Child::start(&["sleep".into(), "600".into()], &[], &folder.join("log")).unwrap()
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let child = sleeper(folder.path());
        let pid = child.child.id();
        assert!(exists(pid));
        drop(child);
        assert!(!exists(pid));
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_path_buf();
        let mut child = std::thread::spawn(move || sleeper(&path)).join().unwrap();
        let deadline = Instant::now() + Duration::from_millis(200);
        while Instant::now() < deadline {
            assert!(!child.has_ended());
            std::thread::yield_now();
        }
    }

    /// Run by the next test in a process of its own, which that test then kills.
    #[test]
    #[ignore = "waits until it is killed"]
    fn waits_with_a_child_until_killed() {
        let folder = tempfile::tempdir().unwrap();
        let child = sleeper(folder.path());
        println!("child {}", child.child.id());
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_killed_test_process_takes_its_children_along() {
        let mut killed = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--nocapture",
                "waits_with_a_child_until_killed",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
        let mut words = lines.map_while(io::Result::ok);
        let pid = words
            .find_map(|line| line.split_once("child ")?.1.parse().ok())
            .unwrap();
        killed.kill().unwrap();
        killed.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_running(pid) {
            assert!(Instant::now() < deadline, "process {pid} is still there");
            std::thread::yield_now();
        }
    }

    /// A zombie has ended; whoever adopted it has not yet looked.
    fn is_running(pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        status.is_ok_and(|status| !status.contains(") Z "))
    }
}
