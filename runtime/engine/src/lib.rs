//! Chunks, operators, state, barriers, tasks, exchange and the typed Rust API.
