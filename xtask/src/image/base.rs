//! What every image has besides programs and the C library: users, certificates, folders.

use std::path::Path;

use super::layer::Layer;
use super::read;
use crate::step::Failure;

/// The user and group that an image's program runs as.
pub(super) const USER: &str = "65532:65532";
const PASSWD: &str = "\
root:x:0:0:root:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/sbin/nologin
";
const GROUP: &str = "\
root:x:0:
nonroot:x:65532:
";
/// How the C library resolves names: its own file and DNS, both built into it.
const NAME_SERVICES: &str = "\
passwd: files
group: files
hosts: files dns
";
/// Where distributions keep the certificates of the authorities that they trust.
const CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// Where Debian keeps their licence.
const CERTIFICATES_LICENCE: &str = "/usr/share/doc/ca-certificates/copyright";

/// Adds it.
///
/// # Errors
/// This machine has no certificates of authorities.
pub(super) fn add(layer: &mut Layer) -> Result<(), Failure> {
    layer.file("etc/passwd", 0o644, PASSWD);
    layer.file("etc/group", 0o644, GROUP);
    layer.file("etc/nsswitch.conf", 0o644, NAME_SERVICES);
    layer.folder("tmp", 0o1777);
    let found = CERTIFICATES
        .iter()
        .map(Path::new)
        .find(|path| path.is_file());
    let path = found.ok_or_else(|| {
        Failure::new("no certificates of authorities here; install ca-certificates")
    })?;
    layer.file("etc/ssl/certs/ca-certificates.crt", 0o644, read(path)?);
    if let Ok(licence) = std::fs::read(CERTIFICATES_LICENCE) {
        layer.file(CERTIFICATES_LICENCE.trim_start_matches('/'), 0o644, licence);
    }
    Ok(())
}
