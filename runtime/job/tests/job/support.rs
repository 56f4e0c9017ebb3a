//! Jobs as tests start them: a folder of their own, settings, and the lines that they print.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::job_config::JOB_CONFIG_ENV;

use crate::program::{KEY_COUNT, PLAN_ENV, Plan};
use crate::written::committed;

/// The longest that anything here may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What a pipe holds, where nobody has changed that.
const PIPE_BYTES: usize = 65_536;

/// A job that a test starts, again and again.
pub(crate) struct TestJob {
    folder: TempDir,
    /// Written to the settings file at each start.
    pub(crate) config: Value,
    pub(crate) plan: Plan,
    /// Set for the process.
    pub(crate) environment: Vec<(String, String)>,
    /// Whether the process leads a process group, as on a terminal.
    pub(crate) leads_group: bool,
    /// Whether the process's standard error is a full pipe that nobody reads.
    pub(crate) is_unread: bool,
}

/// A running process of a job, killed when dropped.
pub(crate) struct Process {
    child: Child,
    events: Receiver<Value>,
    seen: Vec<Value>,
    stderr: Option<JoinHandle<String>>,
    /// Kept open, so that who writes there waits.
    _unread: Option<PipeReader>,
}

impl TestJob {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "version": 1, "namespace": "default", "name": "numbers",
            "parallelism": 2, "maxParallelism": 16,
            "checkpoint": {
                "intervalMs": 20, "timeoutMs": 60000, "mode": "Aligned", "retainedCount": 2,
            },
            "storage": {"url": folder.path().join("state")},
            "startFrom": {"kind": "Latest"},
            "restart": {
                "initialDelayMs": 10, "maxDelayMs": 100, "attempts": 3, "resetAfterMs": 60000,
            },
            "logLevel": "Warn",
            "output": {"format": "Json", "isTerminal": false},
        });
        let plan = Plan {
            output: folder.path().join("output"),
            count: 20_000,
            pause_us: 0,
            ends_with: None,
            panics_with: None,
            waits_for: None,
            fail_at: None,
            fails_with: None,
            dies: false,
            dies_once: None,
            keeps_text: false,
            is_output_full: false,
            files: None,
        };
        Self {
            folder,
            config,
            plan,
            environment: Vec::new(),
            leads_group: false,
            is_unread: false,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn start(&self) -> Process {
        let config = self.path("job.json");
        fs::write(&config, self.config.to_string()).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([
            "--exact",
            "program::job_process",
            "--ignored",
            "--nocapture",
        ]);
        command.env(JOB_CONFIG_ENV, &config);
        command.env(PLAN_ENV, serde_json::to_string(&self.plan).unwrap());
        command.envs(self.environment.clone());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut unread = None;
        if self.is_unread {
            let (reader, mut writer) = io::pipe().unwrap();
            writer.write_all(&vec![b'.'; PIPE_BYTES]).unwrap();
            command.stderr(writer);
            unread = Some(reader);
        }
        if self.leads_group {
            command.process_group(0);
        }
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test harness prints lines of its own.
                if let Ok(event @ Value::Object(_)) = serde_json::from_str(&line) {
                    let _ = sender.send(event);
                }
            }
        });
        let stderr = child.stderr.take();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut text));
            text
        });
        Process {
            child,
            events,
            seen: Vec::new(),
            stderr: Some(stderr),
            _unread: unread,
        }
    }

    /// As on a cluster: the process stays, and leaves a checkpoint when it is told to end.
    pub(crate) fn on_a_cluster(start_generation: u64) -> Self {
        let mut job = Self::new();
        job.plan.count = 1_000_000;
        job.plan.pause_us = 1000;
        job.hold_end();
        job.config["listenAddress"] = json!("127.0.0.1:0");
        job.config["linger"] = json!(true);
        job.config["onTerminate"] = json!("Checkpoint");
        job.config["startGeneration"] = json!(start_generation);
        job
    }

    /// Has the job hold up its last checkpoint until it may go on; no other one comes before.
    pub(crate) fn hold_up(&mut self) {
        self.config["checkpoint"]["intervalMs"] = json!(null);
        self.plan.waits_for = Some((self.path("go-on"), self.path("held-up")));
    }

    pub(crate) fn wait_until_held_up(&self) {
        let deadline = Instant::now() + LIMIT;
        while !self.path("held-up").exists() {
            assert!(Instant::now() < deadline, "it does not come so far");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn go_on(&self) {
        fs::write(self.path("go-on"), "").unwrap();
    }

    /// Has the job read all but the ends of its input, and go on so until it may end.
    pub(crate) fn hold_end(&mut self) {
        self.plan.ends_with = Some(self.path("may-end"));
    }

    pub(crate) fn may_end(&self) {
        fs::write(self.path("may-end"), "").unwrap();
    }

    /// Has the process supervise itself.
    pub(crate) fn supervise(&mut self) {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        self.environment.push(set("TIDEGATE_SUPERVISE", "1"));
        let log = self.path("termination-log");
        self.environment
            .push(set("TIDEGATE_TERMINATION_LOG", log.to_str().unwrap()));
    }

    /// Every file below the job's own folder, with its content.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.path("state/default/numbers")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(&self) -> (i32, Vec<Value>) {
        self.start().wait()
    }

    /// What must be committed in the end: each key, as often as it was read.
    pub(crate) fn expected(&self) -> Vec<String> {
        let count = |key| {
            (0..self.plan.count)
                .filter(|number| number % KEY_COUNT == key)
                .count()
        };
        let mut lines: Vec<_> = (0..KEY_COUNT)
            .map(|key| format!("{key} {}", count(key)))
            .collect();
        lines.sort();
        lines
    }

    pub(crate) fn assert_exact(&self) {
        assert_eq!(committed(&self.plan.output), self.expected());
    }
}

impl Process {
    /// Waits for an event of this name for which the condition holds.
    pub(crate) fn wait_for(&mut self, name: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_any(&[name], condition)
    }

    /// Waits for an event of one of these names for which the condition holds.
    pub(crate) fn wait_for_any(
        &mut self,
        names: &[&str],
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        self.find(names, condition).unwrap_or_else(|error| {
            let _ = self.child.kill();
            let stderr = self.stderr.take().unwrap().join().unwrap();
            panic!("no {names:?} ({error}); events: {:#?}\n{stderr}", self.seen);
        })
    }

    /// The same for a process that may end before.
    pub(crate) fn find(
        &mut self,
        names: &[&str],
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value, RecvTimeoutError> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left)?;
            self.seen.push(event.clone());
            if names.iter().any(|name| event["event"] == *name) && condition(&event) {
                return Ok(event);
            }
        }
    }

    pub(crate) fn wait_for_checkpoint(&mut self) -> u64 {
        let event = self.wait_for("checkpointCompleted", |_| true);
        event["checkpoint"]["id"].as_u64().unwrap()
    }

    /// Waits for a checkpoint with rows: the first barrier may come before the first number.
    pub(crate) fn wait_for_state(&mut self) -> u64 {
        let event = self.wait_for("checkpointCompleted", |event| {
            event["checkpoint"]["sizeBytes"] != 0
        });
        event["checkpoint"]["id"].as_u64().unwrap()
    }

    /// The address of its job API.
    pub(crate) fn address(&mut self) -> String {
        let started = self.wait_for("started", |_| true);
        started["address"].as_str().unwrap().to_owned()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        send(name, &self.child.id().to_string());
    }

    /// Signals the whole group that the process leads, as a terminal does at Ctrl-C.
    pub(crate) fn signal_group(&self, name: &str) {
        send(name, &format!("-{}", self.child.id()));
    }

    /// The one process that it has started itself.
    pub(crate) fn child_id(&self) -> u32 {
        let deadline = Instant::now() + LIMIT;
        loop {
            let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
            let children = threads.filter_map(|thread| {
                fs::read_to_string(thread.unwrap().path().join("children")).ok()
            });
            if let Ok(id) = children.collect::<String>().trim().parse() {
                return id;
            }
            assert!(Instant::now() < deadline, "it has no child");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end: the exit code, and every event that it told.
    pub(crate) fn wait(mut self) -> (i32, Vec<Value>) {
        let (code, events, _) = self.wait_with_stderr();
        (code, events)
    }

    pub(crate) fn wait_with_stderr(&mut self) -> (i32, Vec<Value>, String) {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = self.child.kill();
                    let stderr = self.stderr.take().unwrap().join().unwrap();
                    self.seen.extend(self.events.iter());
                    panic!("it does not end; events: {:#?}\n{stderr}", self.seen);
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        self.seen.extend(self.events.iter());
        let stderr = self.stderr.take().unwrap().join().unwrap();
        (
            status.code().unwrap_or(-1),
            std::mem::take(&mut self.seen),
            stderr,
        )
    }
}

fn send(signal: &str, target: &str) {
    let mut command = Command::new("kill");
    let status = command.args(["-s", signal, "--", target]).status();
    assert!(status.unwrap().success());
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already in most tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every event of this name.
pub(crate) fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .collect()
}

/// The event that ends a job.
pub(crate) fn end(events: &[Value]) -> &Value {
    let ended = named(events, "ended");
    assert_eq!(ended.len(), 1, "{events:#?}");
    ended[0]
}
