//! Keys: fields with a stable hash, version 1 of the protocol crate's key hash.

use tidegate_protocol::{hash_key, hash_key_with_seed};

use crate::record::{Field, Timestamp};

/// What a stream can be keyed by.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "not a key",
    note = "keys are bool, i8 to i64, u8 to u64, String, Vec<u8>, [u8; N], Timestamp, an Option or \
            a tuple of keys, and structs of them with #[derive(Clone, Default, PartialEq, Eq, \
            Record, Key)]; floating-point numbers are not, since NaN is not equal to itself"
)]
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

/// As the composite of whether there is a value, and the value.
impl<K: Key> Key for Option<K> {
    #[inline]
    fn hash(view: Self::View<'_>) -> u64 {
        match view {
            Some(view) => K::hash_with_seed(view, bool::hash(true)),
            None => bool::hash(false),
        }
    }

    #[inline]
    fn hash_with_seed(view: Self::View<'_>, seed: u64) -> u64 {
        match view {
            Some(view) => K::hash_with_seed(view, bool::hash_with_seed(true, seed)),
            None => bool::hash_with_seed(false, seed),
        }
    }
}

/// As its milliseconds since 1970.
impl Key for Timestamp {
    #[inline]
    fn hash(view: Timestamp) -> u64 {
        i64::hash(view.unix_ms())
    }

    #[inline]
    fn hash_with_seed(view: Timestamp, seed: u64) -> u64 {
        i64::hash_with_seed(view.unix_ms(), seed)
    }
}

impl<const N: usize> Key for [u8; N]
where
    [u8; N]: Default,
{
    #[inline]
    fn hash(view: &[u8; N]) -> u64 {
        hash_key(view)
    }

    #[inline]
    fn hash_with_seed(view: &[u8; N], seed: u64) -> u64 {
        hash_key_with_seed(view, seed)
    }
}

/// As composites of their parts, in order.
macro_rules! tuple_keys {
    ($($first:ident 0 $(, $part:ident $index:tt)+;)*) => {$(
        impl<$first: Key, $($part: Key),+> Key for ($first, $($part),+) {
            #[inline]
            fn hash(view: Self::View<'_>) -> u64 {
                let hash = $first::hash(view.0);
                $(let hash = $part::hash_with_seed(view.$index, hash);)+
                hash
            }

            #[inline]
            fn hash_with_seed(view: Self::View<'_>, seed: u64) -> u64 {
                let hash = $first::hash_with_seed(view.0, seed);
                $(let hash = $part::hash_with_seed(view.$index, hash);)+
                hash
            }
        }
    )*};
}

tuple_keys! {
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // The expected values come from the reference implementation of xxh3, applied part by part.
    #[rstest]
    #[case(<Option<u32>>::hash(None), 14_144_645_293_874_801_883)]
    #[case(<Option<u32>>::hash(Some(5)), 17_035_834_507_130_567_996)]
    #[case(<Option<u32>>::hash_with_seed(None, 9), 16_285_893_450_381_600_383)]
    #[case(<Option<u32>>::hash_with_seed(Some(5), 9), 7_408_123_169_701_568_288)]
    #[case(<(u16, String, bool)>::hash((1, "a", true)), 13_794_135_600_921_476_207)]
    #[case(
        <(u8, u8, u8, u8, u8, u8)>::hash((1, 2, 3, 4, 5, 6)),
        11_166_003_046_348_731_019
    )]
    #[case(
        Timestamp::hash(Timestamp::from_unix_ms(1000)),
        10_021_228_461_726_049_677
    )]
    #[case(<[u8; 3]>::hash(&[1, 2, 3]), 16_991_689_376_074_199_867)]
    #[case(<[u8; 3]>::hash_with_seed(&[1, 2, 3], 9), 6_092_904_289_963_785_461)]
    #[case(<((u64, String), u64)>::hash(((1, "a"), 2)), 15_527_494_689_153_825_508)]
    #[case(<(u64, (u64, String))>::hash((2, (1, "a"))), 5_785_006_515_249_490_842)]
    #[case(
        <(Option<u8>, Option<String>)>::hash((None, Some("a"))),
        6_220_273_455_055_230_277
    )]
    fn hashes_of_composite_keys_never_change(#[case] hash: u64, #[case] expected: u64) {
        assert_eq!(hash, expected);
    }
}
