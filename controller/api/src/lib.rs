//! Tidegate's custom resources: types, validation, labels; no client, no I/O.
