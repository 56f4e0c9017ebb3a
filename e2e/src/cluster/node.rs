//! The first process inside the node's namespaces: sets the node up, starts its components,
//! starts again what ends by itself, and reaps what containers leave behind.
//!
//! ```text
//!   unshare (the one process) ──► first process (pid 1) ──► etcd, containerd, kube-…, dns, S3
//!        SIGKILL of either ends everything: the kernel empties a pid namespace whose
//!        first process is gone, and with the last process go mounts and links
//! ```
//!
//! One thread does all of it, because whoever waits for any child would take the exit status
//! of commands that another thread waits for.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid};

use super::control::{self, Request};
use super::files::POD_ARCHIVE;
use super::plan::{Plan, write};
use super::{Component, Error, Result, cgroup, command};
use crate::process::tail;

/// The pause between two looks at children and requests.
const POLL: Duration = Duration::from_millis(20);
/// How long one step of the start may take; a busy machine needs a while.
const STEP_DEADLINE: Duration = Duration::from_secs(90);
/// The pause before a component that ended by itself is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long a peer of the control socket may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the node in `folder` until it is killed, or, with `is_tied`, until the other end of its
/// standard input is closed, which the end of whoever holds it does.
///
/// # Errors
/// When the node cannot be set up; the same words are left in the folder's `failure`.
pub fn run_node(folder: &Path, is_tied: bool) -> Result<()> {
    if is_tied {
        thread::spawn(|| {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
    }
    let plan = Plan::read(folder)?.ok_or(Error::NotUp)?;
    let mut node = Node {
        running: BTreeMap::new(),
        waiting: Vec::new(),
        plan,
    };
    let started = node.set_up();
    if let Err(error) = &started {
        write(&folder.join("failure"), with_causes(error).as_bytes())?;
    }
    let listener = started?;
    write(&folder.join("started"), b"")?;
    loop {
        node.reap();
        node.start_waiting();
        node.answer(&listener);
        thread::sleep(POLL);
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(cause) => format!("{error}: {}", with_causes(cause)),
    }
}

struct Node {
    plan: Plan,
    running: BTreeMap<Component, Pid>,
    /// What ended by itself, and when it starts again.
    waiting: Vec<(Component, Instant)>,
}

impl Node {
    fn set_up(&mut self) -> Result<UnixListener> {
        mounts()?;
        cgroup::create(&self.plan.name)?;
        self.wait_for("the link to the host", None, has_link)?;
        network(&self.plan)?;
        for component in [Component::Etcd, Component::Containerd, Component::Minio] {
            self.start(component)?;
        }
        self.wait_for("etcd", Some(Component::Etcd), || accepts("127.0.0.1:2379"))?;
        self.start(Component::ApiServer)?;
        let socket = self.plan.containerd_socket.clone();
        let is_served = || UnixStream::connect(&socket).is_ok();
        self.wait_for("containerd", Some(Component::Containerd), is_served)?;
        let archive = self.plan.folder.join(POD_ARCHIVE);
        let import = || super::import_image(&socket, &archive).is_ok();
        self.wait_for(
            "the import of the pod image",
            Some(Component::Containerd),
            import,
        )?;
        let plan = self.plan.clone();
        let is_ready = || is_api_server_ready(&plan);
        self.wait_for("the API server", Some(Component::ApiServer), is_ready)?;
        for component in &Component::ALL[4..] {
            self.start(*component)?;
        }
        let path = control::socket(&self.plan.folder);
        let listener = UnixListener::bind(&path).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        Ok(listener.map_err(|e| crate::Error::file("listen on", &path, e))?)
    }

    fn start(&mut self, component: Component) -> Result<()> {
        let log = self.plan.log(component.name());
        let output = OpenOptions::new().create(true).append(true).open(&log);
        let output = output.map_err(|e| crate::Error::file("open", &log, e))?;
        let errors = output.try_clone();
        let errors = errors.map_err(|e| crate::Error::file("open", &log, e))?;
        let argv = component.argv(&self.plan);
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env_clear();
        command.envs(component.environment(&self.plan));
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(|source| Error::Run {
            program: argv[0].clone(),
            source,
        })?;
        let pid = Pid::from_child(&child);
        self.running.insert(component, pid);
        Ok(())
    }

    /// Waits for a condition, or for the end of the component that it depends on.
    fn wait_for(
        &mut self,
        what: &str,
        component: Option<Component>,
        mut is_met: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + STEP_DEADLINE;
        while !is_met() {
            let name = component.map_or("init", Component::name);
            let log = self.plan.log(name);
            if let Some(component) = component
                && self.has_ended(component)
            {
                let what = format!("{name} ended while the cluster started");
                return Err(Error::Component {
                    what,
                    tail: tail(&log),
                    log,
                });
            }
            if Instant::now() > deadline {
                let what = format!("{what} was not there after {} s", STEP_DEADLINE.as_secs());
                return Err(Error::Component {
                    what,
                    tail: tail(&log),
                    log,
                });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn has_ended(&mut self, component: Component) -> bool {
        let Some(pid) = self.running.get(&component) else {
            return true;
        };
        !matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None))
    }

    /// Takes the exit status of every child that ended, its own or inherited.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let mut running = self.running.iter();
            let ended = running.find_map(|(component, at)| (*at == pid).then_some(*component));
            if let Some(component) = ended {
                self.running.remove(&component);
                self.waiting
                    .push((component, Instant::now() + RESTART_PAUSE));
                let name = component.name();
                self.note(&format!(
                    "{name} ended by itself ({status:?}); it starts again"
                ));
            }
        }
    }

    fn start_waiting(&mut self) {
        let now = Instant::now();
        let waiting = std::mem::take(&mut self.waiting);
        for (component, at) in waiting {
            if at > now {
                self.waiting.push((component, at));
            } else if let Err(error) = self.start(component) {
                self.note(&with_causes(&error));
                self.waiting.push((component, now + RESTART_PAUSE));
            }
        }
    }

    fn note(&self, line: &str) {
        let log = self.plan.log("init");
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(log) {
            // A full disk is seen elsewhere.
            let _ = writeln!(file, "{line}");
        }
    }

    fn answer(&mut self, listener: &UnixListener) {
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        let mut line = String::new();
        let read = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(REQUEST_TIMEOUT)))
            .and_then(|()| BufReader::new(&stream).read_line(&mut line));
        let answer = match (read, Request::parse(&line)) {
            (Err(error), _) => error.to_string(),
            (Ok(_), None) => "no such request".to_string(),
            (Ok(_), Some(request)) => match self.obey(request) {
                Ok(()) => "ok".to_string(),
                Err(error) => with_causes(&error).replace('\n', " "),
            },
        };
        // Whoever asked may be gone.
        let _ = writeln!(stream, "{answer}");
    }

    fn obey(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Stop(component) => {
                self.waiting.retain(|(waiting, _)| *waiting != component);
                if let Some(pid) = self.running.remove(&component) {
                    // It can only fail for a process that ended already.
                    let _ = kill_process(pid, Signal::KILL);
                    let _ = waitpid(Some(pid), WaitOptions::empty());
                }
                Ok(())
            }
            Request::Start(component) => {
                self.waiting.retain(|(waiting, _)| *waiting != component);
                if self.running.contains_key(&component) {
                    return Ok(());
                }
                self.start(component)
            }
        }
    }
}

/// Keeps what the node mounts, and the state that programs keep at fixed places, to itself.
fn mounts() -> Result<()> {
    command::line("mount --make-rprivate /")?;
    command::line("mount -t tmpfs tmpfs /run")?;
    let libcni = Path::new("/var/lib/cni");
    fs::create_dir_all(libcni).map_err(|e| crate::Error::file("create", libcni, e))?;
    command::line("mount -t tmpfs tmpfs /var/lib/cni")?;
    Ok(())
}

fn network(plan: &Plan) -> Result<()> {
    command::line("ip link set lo up")?;
    command::line(&format!(
        "ip address add {}/30 dev eth0",
        plan.addresses.node
    ))?;
    command::line("ip link set eth0 up")?;
    // Nothing ever leaves the machine.
    command::line("ip route add blackhole default")?;
    // Without a route a local connection to a service fails before it is translated.
    command::line(&format!(
        "ip route add {} dev eth0",
        plan.addresses.services
    ))?;
    let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
    Ok(fs::write(forward, "1").map_err(|e| crate::Error::file("write", forward, e))?)
}

/// Whether the host has handed over its end of the link.
fn has_link() -> bool {
    let links = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    links
        .lines()
        .any(|line| line.trim_start().starts_with("eth0:"))
}

fn accepts(address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("a literal address");
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// Whether the API server says that it is ready, its own bootstrap included.
pub(crate) fn is_api_server_ready(plan: &Plan) -> bool {
    let mut kubectl = Command::new(&plan.kubectl);
    kubectl.arg("--kubeconfig").arg(&plan.kubeconfig);
    kubectl.args(["--request-timeout=5s", "get", "--raw=/readyz"]);
    command::output(&mut kubectl, None).is_ok()
}

/// Opens the log of the first process itself.
pub(crate) fn open_log(plan: &Plan) -> Result<File> {
    let log = plan.log("init");
    Ok(File::create(&log).map_err(|e| crate::Error::file("create", &log, e))?)
}
