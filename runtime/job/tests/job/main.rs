//! Whole job processes: started, killed, stopped, fenced, asked and read, as users do it.
//!
//! Each test starts this very binary again as the job's process ([`program`]), so that a kill is a
//! real one.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod api;
mod client;
mod cluster;
mod failures;
mod fences;
mod kills;
mod numbers;
mod places;
mod program;
mod s3;
mod silence;
mod stops;
mod supervisor;
mod support;
mod tls;
mod written;
