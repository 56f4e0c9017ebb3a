//! What the node needs from the distribution: looked for, and installed where that may be done.

use std::path::Path;
use std::process::Command;

use super::{Error, Result, command, files};

/// A program, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 12] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ipset", "ipset"),
    ("socat", "socat"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
    ("modprobe", "kmod"),
];
/// The package of the CNI plugins, which lie in no folder of PATH.
const PLUGINS: &str = "containernetworking-plugins";

/// Makes sure that everything is there.
///
/// # Errors
/// When the caller is not root, or something is missing and cannot be installed.
pub(crate) fn ensure() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    if missing().is_empty() {
        return Ok(());
    }
    if is_on_path("apt-get") {
        install()?;
    }
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let (programs, mut packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    packages.dedup();
    Err(Error::Packages {
        missing: programs.join(", "),
        packages: packages.join(" "),
    })
}

fn missing() -> Vec<(&'static str, &'static str)> {
    let mut missing: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| !is_on_path(program))
        .collect();
    if files::cni_plugins().is_none() {
        missing.push(("the CNI plugins", PLUGINS));
    }
    missing
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        || Path::new("/usr/sbin").join(program).is_file()
}

fn install() -> Result<()> {
    let mut packages: Vec<&str> = missing().into_iter().map(|(_, package)| package).collect();
    packages.dedup();
    // An image of a distribution often comes without the lists.
    let mut update = Command::new("apt-get");
    command::output(update.args(["-qq", "update"]), None)?;
    let mut install = Command::new("apt-get");
    install.args(["-qq", "install", "-y", "--no-install-recommends"]);
    install
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command::output(&mut install, None)?;
    Ok(())
}
