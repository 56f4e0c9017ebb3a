//! A world for one job: a namespace of a real API server, a proxy that can be bad, a controller
//! that can be killed, and stand-ins for what Kubernetes and the job would do.
//!
//! ```text
//!  user ───────────────────────────────┐
//!  Actor (Deployments, kubelet, GC) ───┤
//!  controller ──▶ Proxy (faults) ──▶ API server
//!       └──────▶ Process (mutual TLS, 127.x.y.z:8443) ──▶ Log
//! ```

mod actor;
mod controller;
mod log;
mod process;
mod proxy;
mod summary;
mod watches;
mod world;

pub(crate) use proxy::{Fault, Reads, Writes};
pub(crate) use summary::Summary;
pub(crate) use world::{World, wait_for};
