//! Real servers, and a faulty network in front of them, for Tidegate's tests.
//!
//! A test that needs a store starts a real one here and fails, never skips, when it cannot.
//!
//! ```text
//!   client under test ──► FaultProxy ──► S3Server (MinIO, versitygw, s3rver, s3s-fs)
//!                         cut, 500, 503,      │
//!                         late, twice         └─ program built once into the cache
//! ```
//!
//! Everything is synchronous and runs on its own threads, so any runtime can use it. It must
//! not know Tidegate's own crates: it would otherwise test them with themselves.

mod cache;
pub mod cluster;
mod counts;
mod error;
mod fault;
mod http;
mod port;
mod process;
mod program;
mod proxy;
mod random;
mod s3;

pub use counts::Counts;
pub use error::Error;
pub use fault::{Fault, FaultCounts, FaultPlan};
pub use port::PortLease;
pub use program::{Program, cache_folder};
pub use proxy::FaultProxy;
pub use random::Random;
pub use s3::{S3Flavour, S3Server};

/// The result of whatever the testkit does.
pub type Result<T> = std::result::Result<T, Error>;
