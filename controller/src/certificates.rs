//! The controller's certificate authority, and the certificates that come from it.
//!
//! ```text
//! Secret tidegate-ca ─▶ Authority ─┬▶ the controller's client certificate, in memory
//!                                  └▶ a certificate for each revision of each job, in a Secret
//! ```

mod authority;
mod store;

pub use authority::{Authority, CertificateError, Issued};
pub use store::{CaError, load_or_create};
