//! `cargo xtask operator`: the operator as its chart installs it, in the test cluster.
//!
//! Images are built, loaded into the node and installed under the names that a user would use, so
//! tests, figures and a person at a terminal meet the same thing.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use tidegate_testkit::cluster::{Cluster, Life};

use crate::cluster::{started, told};
use crate::image;
use crate::step::{self, Failure, workspace_root};

pub(crate) const ABOUT: &str = "build images and install the chart in the test cluster";

/// Where the chart goes; tests look for it there.
const NAMESPACE: &str = "tidegate-system";

/// The bucket of jobs that name no storage.
const BUCKET: &str = "tidegate";

/// An enforcing namespace: what the chart makes must pass the restricted level.
const NAMESPACE_MANIFEST: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: tidegate-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
";

/// The images that tests use.
const IMAGES: [&str; 3] = ["tidegate", "word-count", JOB_UNDER_TEST];
const JOB_UNDER_TEST: &str = "job-under-test";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step::flags(arguments, &["--dev"])?;
    started(0, Life::UntilDown)?;
    install(if arguments.is_empty() {
        "release"
    } else {
        "dev"
    })
}

/// Builds the images, loads them and installs or upgrades the chart; waits until it is ready.
/// The profile is one of `cargo xtask image`.
pub(crate) fn install(profile: &str) -> Result<(), Failure> {
    let cluster = told(Cluster::running())?;
    let images = workspace_root().join("target/images").join(profile);
    // The same program under another tag, for an upgrade of the image.
    let next = ["--profile", profile, "--tag", "next", JOB_UNDER_TEST];
    image::run(&next.map(str::to_owned))?;
    told(cluster.load_image(&images.join(format!("{JOB_UNDER_TEST}.tar"))))?;
    let arguments = ["--profile", profile].into_iter().chain(IMAGES);
    image::run(&arguments.map(str::to_owned).collect::<Vec<_>>())?;
    for name in IMAGES {
        told(cluster.load_image(&images.join(format!("{name}.tar"))))?;
    }
    told(cluster.kubectl_with(&["apply", "-f", "-"], NAMESPACE_MANIFEST))?;
    let chart = workspace_root()
        .join("charts/tidegate")
        .display()
        .to_string();
    // The image's name stays while its content changes; a new stamp makes new pods.
    let stamp = format!("podAnnotations.built=b{}", stamp(&images)?);
    // As the README's quick start has it.
    let s3 = told(cluster.s3())?;
    told(cluster.create_bucket(BUCKET))?;
    let storage = format!(
        "storage.url=s3://{BUCKET}/jobs,storage.endpoint={},storage.region={},\
         storage.secretName=tidegate-storage",
        s3.endpoint, s3.region
    );
    told(cluster.helm(&[
        "upgrade",
        "--install",
        // Tests of the definitions alone may have applied them before.
        "--take-ownership",
        "tidegate",
        &chart,
        "--namespace",
        NAMESPACE,
        "--wait",
        "--timeout",
        "3m",
        "--set-string",
        &stamp,
        "--set",
        &storage,
    ]))?;
    eprintln!("xtask: the operator is installed in {NAMESPACE}");
    Ok(())
}

/// When the controller's image was written, seconds since the epoch.
fn stamp(images: &Path) -> Result<u64, Failure> {
    let archive = images.join("tidegate.tar");
    let modified = fs::metadata(&archive).and_then(|metadata| metadata.modified());
    let modified = modified
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", archive.display())))?;
    Ok(modified
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs()))
}
