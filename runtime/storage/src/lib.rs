//! Snapshot files and the checkpoint log on real stores.
