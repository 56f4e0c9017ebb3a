//! Tidegate's Kubernetes operator: from a `StreamJob` to the pods that run it, and back to its
//! status.
//!
//! ```text
//! observe ──▶ validate ──▶ decide ──▶ build ──▶ apply ──▶ report
//! all reads    pure         pure       pure      writes    one status patch
//! ```
//! The two pure steps in the middle know [`observed::Observed`] and give a [`plan::Plan`]; what
//! reads and writes stands around them.

pub mod apply;
pub mod budget;
pub mod build;
pub mod certificates;
pub mod checkpoints;
pub mod client;
pub mod cluster;
pub mod config;
pub mod events;
pub mod job_api;
pub mod leader;
pub mod logging;
pub mod memory;
pub mod merge_patch;
pub mod metrics;
pub mod observe;
pub mod observed;
pub mod peek;
pub mod plan;
pub mod queue;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod server;
pub mod settings;
pub mod shared;
pub mod stream_job;
mod text;
mod time;
