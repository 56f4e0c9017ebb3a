//! Snapshot files and the checkpoint log on real stores.
//!
//! Owns every byte that a job keeps: log entries that are created only if absent, state files that
//! are durable once finished, and their deletion. Knows nothing of operators, barriers or time;
//! what to write, keep and delete is decided by [`tidegate_protocol`] and the engine.
//!
//! ```text
//! Store (local folder, S3) ── JobFolder ─┬─ log:   list_log, read_entry, append, latest
//!                                        ├─ state: create_state_file, read_state_file
//!                                        └─ care:  self_test, collect_garbage, verify, purge
//! ```

mod answer;
mod error;
mod garbage;
mod job_folder;
mod local;
mod location;
mod log;
mod object;
mod purge;
mod random;
mod self_test;
mod state_file;
mod store;
mod sweep;
mod verify;

pub use error::{Cause, Fault, Result, StorageError};
pub use garbage::Garbage;
pub use job_folder::JobFolder;
pub use location::{S3Url, StorageUrl};
pub use log::{DamagedEntry, Latest};
pub use object::{AccessKeys, Credentials, ObjectFolder, install_crypto_provider};
pub use purge::Purged;
pub use state_file::{
    Compression, DELETED_COLUMN, KEY_GROUP_COLUMN, StateFileReader, StateFileWriter, WriteOptions,
    key_group_column, state_schema,
};
pub use store::{Store, StoreOptions};
pub use verify::Finding;
