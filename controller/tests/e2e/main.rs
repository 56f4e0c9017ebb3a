//! The operator on a real cluster, as a user would run it: real pods, a real S3 server, real kills.
//!
//! Each test has a namespace and a bucket of its own, and compares the whole output with an
//! independent count. Nothing sleeps: everything waits for a condition, with a deadline.

mod bad_input;
mod changes;
mod chaos;
mod checkpoints;
mod deletion;
mod installation;
mod quick_start;
mod recovery;
mod security;
mod support;
mod volume;
