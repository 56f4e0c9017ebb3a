//! S3-compatible object stores.
//!
//! Log entries are put in one conditional request; state files in parts. Requests are repeated a
//! bounded number of times, and an open outcome is resolved by reading back what stands there.

mod connect;
mod credentials;
mod fault;
mod folder;
mod store;
mod sweep;
mod upload;

pub use credentials::{AccessKeys, Credentials};
pub use folder::ObjectFolder;
pub(crate) use store::ObjectStore;
pub(crate) use sweep::is_bucket_gone;
pub(crate) use upload::{PART_SIZE_BYTES, Upload};

/// Installs the process's one cryptography provider, if none is installed yet. A binary calls this
/// first, so that no library has to choose; it may be called again.
pub fn install_crypto_provider() {
    // An error says that there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
