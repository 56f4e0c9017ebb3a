//! The cluster's own cgroups: made before the kubelet starts, which expects them under every
//! controller, and removed when the last process in them is gone.

use std::fs;
use std::path::{Path, PathBuf};

use super::Result;

const ROOT: &str = "/sys/fs/cgroup";
/// What version 2 hands down to the pods' groups.
const CONTROLLERS: [&str; 5] = ["cpuset", "cpu", "io", "memory", "pids"];

/// The hierarchies: one for each controller in version 1, one for all in version 2.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").is_file() {
        return vec![root.to_path_buf()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    // Links such as `cpu` to `cpu,cpuacct` would name a hierarchy twice.
    folders
        .filter(|path| path.join("cgroup.procs").is_file() && !path.is_symlink())
        .collect()
}

/// Makes the groups called `name`.
pub(crate) fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        if hierarchy.join("cgroup.controllers").is_file() {
            for controller in CONTROLLERS {
                // One that is not there is not missed: the kubelet says so if it is.
                let enable = format!("+{controller}");
                let _ = fs::write(hierarchy.join("cgroup.subtree_control"), &enable);
            }
        }
        let group = hierarchy.join(name);
        let created = fs::create_dir_all(&group);
        created.map_err(|e| crate::Error::file("create", &group, e))?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // Empty in a new group of version 1, and then no process may enter it.
            if let Ok(value) = fs::read(hierarchy.join(file)) {
                let _ = fs::write(group.join(file), value);
            }
        }
    }
    Ok(())
}

/// Removes the groups called `name` and all below; true when none is left.
pub(crate) fn remove(name: &str) -> bool {
    let groups = hierarchies()
        .into_iter()
        .map(|hierarchy| hierarchy.join(name));
    // All of them, not up to the first that stays.
    groups.filter(|group| !remove_tree(group)).count() == 0
}

/// Files of a group cannot be removed, only the group, and only from the bottom.
fn remove_tree(group: &Path) -> bool {
    if !group.is_dir() {
        return true;
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_tree(&path);
        }
    }
    fs::remove_dir(group).is_ok()
}
