//! The objects of a space's bucket, seen from outside the cluster.

use std::future::Future;
use std::sync::OnceLock;

use opendal::services::S3;
use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use tidegate_testkit::cluster::Cluster;
use tokio::runtime::Runtime;

use super::{SOON, Space, until};

/// The names of all objects below a prefix.
pub(crate) fn list(space: &Space, prefix: &str) -> Vec<String> {
    let what = format!("a listing of {prefix}");
    until(&what, SOON, || try_list(space, prefix))
}

/// The same by one look.
///
/// # Errors
/// The server does not answer.
pub(crate) fn try_list(space: &Space, prefix: &str) -> Result<Vec<String>, String> {
    let list = space.objects.list_with(prefix).recursive(true);
    let entries = wait(async { list.await }).map_err(|error| error.to_string())?;
    let files = entries
        .into_iter()
        .filter(|entry| entry.metadata().is_file());
    Ok(files.map(|entry| entry.path().to_owned()).collect())
}

/// An object's text.
///
/// # Errors
/// The server does not answer, or the object is gone.
pub(crate) fn read(space: &Space, name: &str) -> Result<String, String> {
    let bytes = wait(async { space.objects.read(name).await });
    let bytes = bytes.map_err(|error| format!("{name}: {error}"))?;
    Ok(String::from_utf8(bytes.to_vec()).expect("text"))
}

/// Objects that were damaged, as they were before.
pub(crate) struct Damaged<'a> {
    space: &'a Space,
    whole: Vec<(String, Vec<u8>)>,
}

/// Flips a byte in the middle of each object below a prefix.
pub(crate) fn damage<'a>(space: &'a Space, prefix: &str) -> Damaged<'a> {
    let bucket = &space.objects;
    let mut whole = Vec::new();
    for name in list(space, prefix) {
        let bytes = wait(async { bucket.read(&name).await })
            .expect("an object")
            .to_vec();
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        wait(async { bucket.write(&name, flipped).await }).expect("it is overwritten");
        whole.push((name, bytes));
    }
    assert!(!whole.is_empty(), "nothing to damage below {prefix}");
    Damaged { space, whole }
}

impl Damaged<'_> {
    /// Puts the objects back as they were.
    pub(crate) fn restore(self) {
        let bucket = &self.space.objects;
        for (name, bytes) in self.whole {
            wait(async { bucket.write(&name, bytes).await }).expect("it is overwritten");
        }
    }
}

/// A bucket of the cluster's S3 server, with connections of its own.
pub(super) fn open(cluster: &Cluster, bucket: &str) -> Operator {
    let s3 = cluster.s3().expect("an S3 server");
    let builder = S3::default()
        .bucket(bucket)
        .endpoint(&s3.endpoint)
        .region(&s3.region)
        .access_key_id(&s3.access_key)
        .secret_access_key(&s3.secret_key)
        .disable_config_load()
        .disable_ec2_metadata();
    // Installed already by whoever was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let transport = HttpTransporter::new(ReqwestTransport::new(reqwest::Client::new()));
    let context = OperationContext::new().with_http_transport(transport);
    Operator::new(builder)
        .expect("a bucket")
        .with_context(context)
}

pub(super) fn wait<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| Runtime::new().expect("a runtime"))
        .block_on(work)
}
