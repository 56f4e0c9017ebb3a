//! Arrays of bytes as a field: identifiers, digests, addresses.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_schema::DataType;

use super::{Field, FieldBuilder, Record, SingleColumn};

/// Collects arrays of `N` bytes, one after another.
#[derive(Debug, Default)]
pub struct FixedBytesBuilder<const N: usize> {
    bytes: Vec<u8>,
}

const fn width<const N: usize>() -> i32 {
    assert!(
        N > 0 && N <= i32::MAX as usize,
        "a column's byte arrays have 1 to 2^31 - 1 bytes"
    );
    N as i32
}

impl<const N: usize> Field for [u8; N]
where
    [u8; N]: Default,
{
    type View<'a> = &'a [u8; N];
    type Column = Buffer;
    type Builder = FixedBytesBuilder<N>;

    fn data_type() -> DataType {
        DataType::FixedSizeBinary(const { width::<N>() })
    }

    fn type_name() -> String {
        format!("bytes<{N}>")
    }

    fn values(array: &ArrayRef) -> Option<Buffer> {
        let array = array.as_any().downcast_ref::<FixedSizeBinaryArray>()?;
        (array.value_length() == const { width::<N>() }).then(|| array.values().clone())
    }

    #[inline]
    fn view(column: &Buffer, row: usize) -> &[u8; N] {
        &column.as_slice().as_chunks::<N>().0[row]
    }

    #[inline]
    fn as_view(&self) -> &[u8; N] {
        self
    }

    #[inline]
    fn from_view(view: &[u8; N]) -> Self {
        *view
    }
}

impl<const N: usize> FieldBuilder<[u8; N]> for FixedBytesBuilder<N>
where
    [u8; N]: Default,
{
    fn reserve(&mut self, additional: usize) {
        self.bytes.reserve(additional * N);
    }

    #[inline]
    fn push(&mut self, view: &[u8; N]) {
        self.bytes.extend_from_slice(view);
    }

    fn finish_with(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let bytes = Buffer::from_vec(std::mem::take(&mut self.bytes));
        Arc::new(FixedSizeBinaryArray::new(
            const { width::<N>() },
            bytes,
            nulls,
        ))
    }
}

impl<const N: usize> Record for [u8; N]
where
    [u8; N]: Default,
{
    super::field_as_record!(@items);
}
