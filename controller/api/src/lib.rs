//! Tidegate's custom resources: types, validation, labels; no client, no I/O.

pub mod job_config;
pub mod spec;
