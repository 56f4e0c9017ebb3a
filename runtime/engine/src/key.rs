//! Keys: fields with a stable hash, version 1 of the protocol crate's key hash.

use tidegate_protocol::{hash_key, hash_key_with_seed};

use crate::record::Field;

/// What a stream can be keyed by.
pub trait Key: Field + Eq {
    /// Hashes a key. Part of the format of state: it never changes.
    fn hash(view: Self::View<'_>) -> u64;

    /// Hashes a key as a further part of a composite one; `seed` is the hash of the parts before.
    fn hash_with_seed(view: Self::View<'_>, seed: u64) -> u64;
}

macro_rules! integer_keys {
    ($($type:ty),*) => {$(
        impl Key for $type {
            #[inline]
            fn hash(view: $type) -> u64 {
                hash_key(&view.to_le_bytes())
            }

            #[inline]
            fn hash_with_seed(view: $type, seed: u64) -> u64 {
                hash_key_with_seed(&view.to_le_bytes(), seed)
            }
        }
    )*};
}

integer_keys!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Key for bool {
    fn hash(view: bool) -> u64 {
        hash_key(&[u8::from(view)])
    }

    fn hash_with_seed(view: bool, seed: u64) -> u64 {
        hash_key_with_seed(&[u8::from(view)], seed)
    }
}

impl Key for String {
    #[inline]
    fn hash(view: &str) -> u64 {
        hash_key(view.as_bytes())
    }

    #[inline]
    fn hash_with_seed(view: &str, seed: u64) -> u64 {
        hash_key_with_seed(view.as_bytes(), seed)
    }
}

impl Key for Vec<u8> {
    #[inline]
    fn hash(view: &[u8]) -> u64 {
        hash_key(view)
    }

    #[inline]
    fn hash_with_seed(view: &[u8], seed: u64) -> u64 {
        hash_key_with_seed(view, seed)
    }
}
