//! A cluster's beginning and end, as the host sees them.
//!
//! ```text
//!   start:  plan ─► files ─► unshare … node ─► link ─► Ready, DNS answers
//!   end:    SIGKILL of unshare ─► nobody left ─► cgroups, routes and folder removed
//! ```

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::address::EVERYTHING;
use super::plan::{self, Plan, create_folder, write};
use super::process::Identity;
use super::{Error, Result, cgroup, command, files, node};
use crate::{cache, process::tail};

/// How long a cluster may take until it is of use.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// How long the kernel may take to end all processes of a killed cluster.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// How long the end of a process may be seen after what the kernel took away with it.
const NOTICE_DEADLINE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// Whose life a started cluster shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until somebody ends it.
    UntilDown,
    /// Until this process ends, however it ends, or drops the answer.
    Mine,
}

/// A cluster that this process started.
#[derive(Debug)]
pub struct Started {
    index: u8,
    life: Life,
    /// Its standard input is the tie: the cluster ends when that is closed.
    child: Child,
}

impl Started {
    /// The one process whose end is the cluster's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.life == Life::Mine {
            drop(self.child.stdin.take());
            // What this cannot remove, the next start removes.
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = stop(self.index);
        }
    }
}

/// Starts the cluster with this index unless it runs; `None` when it ran already.
///
/// `program` is run as `PROGRAM cluster node FOLDER [--tied]` inside the node and must call
/// [`run_node`](super::run_node).
///
/// # Errors
/// When something that it needs is missing, or it is not of use within two minutes; nothing of
/// it is left running then.
pub fn start(index: u8, program: &Path, life: Life) -> Result<Option<Started>> {
    let folder = plan::folder(index)?;
    let root = cache::folder()?;
    let _lock = cache::lock(&root, &format!("cluster-{index}"))?;
    if is_up(&folder)? {
        return Ok(None);
    }
    super::packages::ensure()?;
    let plan = Plan::new(index)?;
    remove(index)?;
    create_folder(&folder)?;
    files::write_all(&plan)?;
    plan.write()?;
    let mut child = launch(&plan, program, life)?;
    if let Err(error) = bring_up(&plan) {
        // The logs stay for whoever reads the error.
        let _ = child.kill();
        let _ = child.wait();
        let _ = end_processes(&folder);
        return Err(error);
    }
    Ok(Some(Started { index, life, child }))
}

/// Ends the cluster with this index and removes what it left; false when there was none.
///
/// # Errors
/// When its processes cannot be ended.
pub fn stop(index: u8) -> Result<bool> {
    let folder = plan::folder(index)?;
    let _lock = cache::lock(&cache::folder()?, &format!("cluster-{index}"))?;
    let was_there = folder.exists();
    remove(index)?;
    Ok(was_there)
}

/// Whether the cluster in `folder` was brought up and its process lives.
pub(crate) fn is_up(folder: &Path) -> Result<bool> {
    let is_ready = folder.join("ready").exists();
    Ok(is_ready && Identity::read(folder)?.is_some_and(|process| process.is_alive()))
}

fn launch(plan: &Plan, program: &Path, life: Life) -> Result<Child> {
    let log = node::open_log(plan)?;
    let errors = log.try_clone();
    let errors = errors.map_err(|e| crate::Error::file("open", &plan.log("init"), e))?;
    // Its own session: what ends a terminal's jobs does not end it.
    let mut command = Command::new("setsid");
    // A copy: a build may replace the program at any time.
    let own = plan.folder.join("node");
    fs::copy(program, &own).map_err(|e| crate::Error::file("copy", program, e))?;
    command.args("unshare --net --mount --pid --fork --kill-child --mount-proc".split(' '));
    command.arg(own).args(["cluster", "node"]).arg(&plan.folder);
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    // Neither the caller's folder nor cargo's variables are the cluster's business.
    command.current_dir("/");
    if life == Life::Mine {
        command.arg("--tied").stdin(Stdio::piped());
    }
    let child = command.spawn().map_err(|source| Error::Run {
        program: "setsid unshare".to_string(),
        source,
    })?;
    Identity::of(child.id()).write(&plan.folder)?;
    Ok(child)
}

fn bring_up(plan: &Plan) -> Result<()> {
    let process = Identity::read(&plan.folder)?.ok_or(Error::NotUp)?;
    let deadline = Instant::now() + READY_DEADLINE;
    wait_for(plan, deadline, "its own network", || {
        process.has_own_network()
    })?;
    connect(plan, process.pid()).map_err(|error| {
        // The link goes with the process at its other end, at times before that is seen to end.
        let soon = Instant::now() + NOTICE_DEADLINE;
        while process.is_alive() && Instant::now() < soon {
            thread::sleep(POLL);
        }
        match process.is_alive() {
            true => error,
            false => not_up(plan, "the cluster ended", "its link to the host"),
        }
    })?;
    // Who finds the cluster later looks for what it leaves by its pid namespace.
    Identity::of(process.pid()).write(&plan.folder)?;
    let started = plan.folder.join("started");
    wait_for(plan, deadline, "the control plane", || started.exists())?;
    wait_for(plan, deadline, "the node to be Ready", || {
        is_node_ready(plan)
    })?;
    let dns = format!("{}:8181", plan.addresses.node).parse();
    let dns = dns.expect("an address and a port");
    let dns_answers = || crate::http::get_status(dns, "/ready").is_ok_and(|s| s == 200);
    wait_for(plan, deadline, "DNS to answer", dns_answers)?;
    write(&plan.folder.join("ready"), b"")
}

/// Joins host and node: a link, and routes to the pods and services behind it.
fn connect(plan: &Plan, pid: u32) -> Result<()> {
    let link = plan.host_link();
    let addresses = &plan.addresses;
    command::line(&format!(
        "ip link add {link} type veth peer name eth0 netns {pid}"
    ))?;
    // Whatever no cluster has goes nowhere, rather than to a real network. Set after the link:
    // the end of another cluster removes the route when it sees no link.
    command::line(&format!("ip route replace blackhole {EVERYTHING}"))?;
    let host = &addresses.host;
    command::line(&format!("ip address add {host}/30 dev {link}"))?;
    command::line(&format!("ip link set {link} up"))?;
    for range in [&addresses.pods, &addresses.services] {
        command::line(&format!("ip route replace {range} via {}", addresses.node))?;
    }
    Ok(())
}

/// Node Ready and without the taint of a new one, and the service account of pods is there.
fn is_node_ready(plan: &Plan) -> bool {
    let mut kubectl = Command::new(&plan.kubectl);
    kubectl.arg("--kubeconfig").arg(&plan.kubeconfig);
    let ready = r#"{.status.conditions[?(@.type=="Ready")].status}"#;
    let each = format!("{{.kind}} {ready} {{.spec.taints[*].key}};");
    kubectl.args(["get", "nodes,serviceaccounts", "-o"]);
    kubectl.arg(format!("jsonpath={{range .items[*]}}{each}{{end}}"));
    let Ok(output) = command::output(&mut kubectl, None) else {
        return false;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    text.contains("Node True ;") && text.contains("ServiceAccount")
}

fn wait_for(
    plan: &Plan,
    deadline: Instant,
    what: &str,
    mut is_met: impl FnMut() -> bool,
) -> Result<()> {
    let process = Identity::read(&plan.folder)?;
    loop {
        if is_met() {
            return Ok(());
        }
        let is_alive = process.as_ref().is_some_and(Identity::is_alive);
        if !is_alive || Instant::now() > deadline {
            let how = if is_alive {
                "the time is over"
            } else {
                "the cluster ended"
            };
            return Err(not_up(plan, how, what));
        }
        thread::sleep(POLL);
    }
}

/// With what the node said of its failure, and the end of its log.
fn not_up(plan: &Plan, how: &str, what: &str) -> Error {
    let failure = fs::read_to_string(plan.folder.join("failure")).unwrap_or_default();
    let log = plan.log("init");
    Error::Component {
        what: format!("{how} while waiting for {what}: {failure}"),
        tail: tail(&log),
        log,
    }
}

/// Ends what runs and removes what is left of the cluster with this index.
fn remove(index: u8) -> Result<()> {
    let folder = plan::folder(index)?;
    end_processes(&folder)?;
    let name = format!("tidegate{index}");
    if link_exists(&name) {
        // Goes by itself with the node's namespace, but not at once.
        let _ = command::line(&format!("ip link delete {name}"));
    }
    let deadline = Instant::now() + END_DEADLINE;
    while !cgroup::remove(&name) && Instant::now() < deadline {
        thread::sleep(POLL);
    }
    if !(0..super::CLUSTER_COUNT_MAX).any(|other| link_exists(&format!("tidegate{other}"))) {
        let _ = command::line(&format!("ip route delete blackhole {EVERYTHING}"));
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| crate::Error::file("remove", &folder, e))?;
    }
    Ok(())
}

fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// SIGKILL to the one process, and waits until nobody is left in its namespaces.
fn end_processes(folder: &Path) -> Result<()> {
    let Some(process) = Identity::read(folder)? else {
        return Ok(());
    };
    if process.is_alive()
        && let Some(pid) = Pid::from_raw(process.pid().cast_signed())
    {
        // It can only fail for a process that ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
    let deadline = Instant::now() + END_DEADLINE;
    loop {
        let left = process.survivors();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Deadline {
                what: "the cluster's processes to end".to_string(),
                seconds: END_DEADLINE.as_secs(),
                seen: format!("processes {left:?}"),
            });
        }
        thread::sleep(POLL);
    }
}

/// The program that runs `cluster node`: this very one, even when a build has put another in its
/// place since it was started.
#[must_use]
pub fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_cluster_is_not_up_and_ends_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_up(folder.path()).unwrap());
        end_processes(folder.path()).unwrap();
        fs::File::create(folder.path().join("ready")).unwrap();
        assert!(!is_up(folder.path()).unwrap());
    }
}
