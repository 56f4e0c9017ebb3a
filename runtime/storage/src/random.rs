//! Unpredictable numbers for temporary names and jitter; never for anything secret.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number that no other process is likely to draw too.
pub(crate) fn random_u64() -> u64 {
    // Each `RandomState` has keys of its own, the first of a thread from the operating system.
    RandomState::new().build_hasher().finish()
}
