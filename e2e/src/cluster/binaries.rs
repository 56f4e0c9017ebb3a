//! The programs of the cluster, built once from the Go module in `e2e/cluster`.
//!
//! ```text
//!   kubernetes   every component, etcd and kubectl      dns   CoreDNS
//!   helm         the client                             pod   what runs in test pods
//!   make         certificates and images
//! ```

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::tail;
use crate::{Error, Result, cache};

/// The version of Kubernetes that `go.mod` names.
const KUBERNETES: &str = "v1.34.2";
/// What the build needs and the programs do not.
const SCRATCH: &str = "scratch";
/// What is built, and from which package. One module, so that they share what they compile.
const PACKAGES: [(&str, &str); 5] = [
    ("kubernetes", "."),
    ("dns", "./dns"),
    ("pod", "./pod"),
    ("make", "./make"),
    ("helm", "helm.sh/helm/v3/cmd/helm"),
];

/// The folder of the built programs.
#[derive(Debug, Clone)]
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    /// Builds the programs unless the cache has them: about eight minutes on two cores.
    ///
    /// # Errors
    /// When Go is missing, a build fails, or the cache cannot be written.
    pub(crate) fn install() -> Result<Self> {
        let root = cache::folder()?;
        let key = key()?;
        let folder = cache::get_or_build(&root, &key, |at| build(&root.join(&key), at))?;
        Ok(Self(folder))
    }

    /// Whether the cache has them.
    pub(crate) fn are_installed() -> bool {
        let known = cache::folder().and_then(|root| Ok(cache::has(&root, &key()?)));
        known.unwrap_or(false)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}

/// The Go module.
fn module() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}

/// Version and content: whoever edits the module gets a new build.
fn key() -> Result<String> {
    let mut files = Vec::new();
    sources(&module(), &mut files)?;
    files.sort();
    // FNV-1a: no one attacks it, and it is the same in every version of Rust.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        let content = fs::read(&file).map_err(|e| Error::file("read", &file, e))?;
        for byte in content {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(format!("cluster-{KUBERNETES}-{hash:016x}"))
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| Error::file("read", folder, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::file("read", folder, e))?.path();
        let extension = path.extension().and_then(OsStr::to_str);
        if path.is_dir() {
            sources(&path, files)?;
        } else if matches!(extension, Some("go" | "mod" | "sum")) {
            files.push(path);
        }
    }
    Ok(())
}

fn build(name: &Path, folder: &Path) -> Result<()> {
    let log = name.with_file_name(format!(
        "{}.log",
        name.file_name()
            .and_then(OsStr::to_str)
            .unwrap_or("cluster")
    ));
    let output = File::create(&log).map_err(|e| Error::file("create", &log, e))?;
    for (program, package) in PACKAGES {
        let errors = output.try_clone();
        let errors = errors.map_err(|e| Error::file("open", &log, e))?;
        let status = command(folder, program, package)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .status();
        let status = status.map_err(|source| Error::Tool {
            tool: "go",
            program: "the test cluster",
            source,
        })?;
        if !status.success() {
            return Err(Error::Build {
                program,
                version: KUBERNETES,
                tail: tail(&log),
                log,
            });
        }
    }
    let kubectl = folder.join("kubectl");
    std::os::unix::fs::symlink("kubernetes", &kubectl)
        .map_err(|e| Error::file("create", &kubectl, e))?;
    let scratch = folder.join(SCRATCH);
    fs::remove_dir_all(&scratch).map_err(|e| Error::file("remove", &scratch, e))
}

fn command(folder: &Path, program: &str, package: &str) -> Command {
    let version = "k8s.io/component-base/version.git";
    let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
    // Without them components of one build take each other for too old.
    let flags = format!(
        "-s -w -X={version}Version={KUBERNETES} -X={version}Major=1 -X={version}Minor={minor}"
    );
    let mut command = Command::new("go");
    command
        .current_dir(module())
        .args(["build", "-trimpath", "-mod=readonly", "-buildvcs=false"])
        .arg(format!("-ldflags={flags}"))
        .arg("-o")
        .arg(folder.join(program))
        .arg(package)
        // Static, so that what runs in pods needs no libraries.
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-modcacherw")
        .env("GOCACHE", folder.join(SCRATCH).join("build"))
        .env("GOMODCACHE", folder.join(SCRATCH).join("modules"))
        .env_remove("GOOS")
        .env_remove("GOARCH");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_the_module_requires() {
        let module = fs::read_to_string(module().join("go.mod")).unwrap();
        assert!(module.contains(&format!("k8s.io/kubernetes {KUBERNETES}\n")));
    }

    #[test]
    fn only_what_go_builds_from_decides_about_a_new_build() {
        let mut files = Vec::new();
        sources(&module(), &mut files).unwrap();
        assert!(files.iter().any(|file| file.ends_with("go.sum")));
        assert!(files.iter().any(|file| file.ends_with("dns/main.go")));
        assert!(!files.iter().any(|file| file.ends_with("kubelet.yaml")));
    }
}
