//! Processes as `/proc` shows them: which one a cluster is, who is in its namespaces, and which
//! run in a container.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::plan::write;
use super::{Error, Result};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pid: u32,
    /// Since the machine's start, in the kernel's ticks.
    started: String,
    /// The network and pid namespaces that its children are in, as `/proc` names them.
    network: String,
    pids: String,
}

impl Identity {
    /// The process with this number, as it is now.
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            pid,
            started: start_time(pid).unwrap_or_default(),
            network: namespace(pid, "net"),
            pids: namespace(pid, "pid_for_children"),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Reads what [`Identity::write`] left in `folder`.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("process.json");
        let Ok(text) = fs::read(&path) else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&text);
        read.map(Some)
            .map_err(|source| Error::State { path, source })
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).expect("numbers and strings become JSON");
        write(&folder.join("process.json"), &text)
    }

    pub(crate) fn is_alive(&self) -> bool {
        start_time(self.pid).is_some_and(|started| started == self.started)
    }

    /// Whether it has left the caller's network.
    pub(crate) fn has_own_network(&self) -> bool {
        let own = namespace(std::process::id(), "net");
        let (network, pids) = (
            namespace(self.pid, "net"),
            namespace(self.pid, "pid_for_children"),
        );
        !network.is_empty()
            && network != own
            && !pids.is_empty()
            && pids != namespace(self.pid, "pid")
    }

    /// Itself, and every process in its namespaces.
    pub(crate) fn survivors(&self) -> Vec<u32> {
        let own = namespace(std::process::id(), "pid");
        let is_inside = |pid: &u32| {
            !self.pids.is_empty() && self.pids != own && namespace(*pid, "pid") == self.pids
        };
        let is_itself = |pid: &u32| *pid == self.pid && self.is_alive();
        let is_left = |pid: &u32| is_inside(pid) || is_itself(pid);
        all().into_iter().filter(is_left).collect()
    }
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn namespace(pid: u32, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}"));
    link.map(|target| target.display().to_string())
        .unwrap_or_default()
}

/// The fields of `/proc/PID/stat` from the state on: a name may contain anything before them.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(String::from).collect())
}

/// `None` for one that has ended, even if nobody has taken its exit status yet.
fn start_time(pid: u32) -> Option<String> {
    let fields = fields(pid)?;
    let is_over = matches!(fields.first().map(String::as_str), Some("Z" | "X"));
    if is_over {
        None
    } else {
        fields.get(19).cloned()
    }
}

/// The processes whose cgroup's path contains `part`, each after its parent, and siblings by
/// number.
pub(crate) fn in_cgroup(part: &str) -> Vec<u32> {
    let is_inside = |pid: &u32| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.contains(part) && start_time(*pid).is_some()
    };
    let parent = |pid: u32| fields(pid)?.get(1)?.parse::<u32>().ok();
    let members = all().into_iter().filter(is_inside);
    let members = members.filter_map(|pid| Some((pid, parent(pid)?)));
    in_tree_order(&members.collect())
}

/// Orders processes, given with their parents, as a walk of their tree.
fn in_tree_order(parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let is_root = |(_, parent): &(&u32, &u32)| !parents.contains_key(parent);
    let mut open: Vec<u32> = parents
        .iter()
        .filter(is_root)
        .map(|(pid, _)| *pid)
        .collect();
    open.reverse();
    let mut order = Vec::new();
    while let Some(pid) = open.pop() {
        order.push(pid);
        let children = parents.iter().filter(|(_, parent)| **parent == pid);
        open.extend(children.map(|(child, _)| *child).rev());
    }
    order
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_ended_is_not_alive_even_before_it_is_waited_for() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let identity = Identity::of(child.id());
        assert!(identity.is_alive());
        assert_eq!(identity.survivors(), [child.id()]);
        child.kill().unwrap();
        while identity.is_alive() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(identity.survivors().is_empty());
    }

    #[test]
    fn a_parent_comes_before_its_children() {
        let parents = BTreeMap::from([(20, 1), (7, 20), (30, 20), (5, 30), (40, 1)]);
        assert_eq!(in_tree_order(&parents), [20, 7, 30, 5, 40]);
    }
}
