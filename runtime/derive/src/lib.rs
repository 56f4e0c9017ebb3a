//! Derives Record and State for the typed API.
