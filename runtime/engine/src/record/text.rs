//! Text and bytes as fields.

use std::sync::Arc;

use arrow_array::types::{BinaryType, ByteArrayType, Utf8Type};
use arrow_array::{ArrayRef, BinaryArray, GenericByteArray, StringArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::{Field, FieldBuilder, Record, SingleColumn};

/// Bytes of text after which a chunk is cut, however few rows they are.
const CHUNK_BYTES: usize = 4 << 20;

/// Collects text or bytes: one growing buffer and the offsets of its rows.
#[derive(Debug)]
pub struct ByteBuilder {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Default for ByteBuilder {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            bytes: Vec::new(),
        }
    }
}

impl ByteBuilder {
    fn take<T>(&mut self, nulls: Option<NullBuffer>) -> GenericByteArray<T>
    where
        T: ByteArrayType<Offset = i32>,
    {
        let last = self.offsets.len() - 1;
        let offsets = std::mem::replace(&mut self.offsets, Vec::with_capacity(last + 1));
        self.offsets.push(0);
        let room = self.bytes.len();
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(room));
        // Offsets only grow, since each is the length of `bytes` after a push.
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        GenericByteArray::new(offsets, Buffer::from_vec(bytes), nulls)
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let end = i32::try_from(self.bytes.len()).expect("a chunk's text is below 2 GiB");
        self.offsets.push(end);
    }
}

macro_rules! byte_fields {
    ($($type:ty, $view:ty, $array:ty, $arrow:ty, $data_type:ident, $name:literal;)*) => {$(
        impl Field for $type {
            type View<'a> = &'a $view;
            type Column = $array;
            type Builder = ByteBuilder;

            fn data_type() -> DataType {
                DataType::$data_type
            }

            fn type_name() -> String {
                $name.to_owned()
            }

            fn values(array: &ArrayRef) -> Option<$array> {
                array.as_any().downcast_ref::<$array>().cloned()
            }

            #[inline]
            fn view(column: &$array, row: usize) -> &$view {
                column.value(row)
            }

            #[inline]
            fn as_view(&self) -> &$view {
                self
            }

            #[inline]
            fn from_view(view: &$view) -> Self {
                view.to_owned()
            }
        }

        impl FieldBuilder<$type> for ByteBuilder {
            fn reserve(&mut self, additional: usize) {
                self.offsets.reserve(additional);
            }

            #[inline]
            fn is_full(&self) -> bool {
                self.bytes.len() >= CHUNK_BYTES
            }

            #[inline]
            fn push(&mut self, view: &$view) {
                self.append(view.as_ref());
            }

            fn finish_with(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
                Arc::new(self.take::<$arrow>(nulls))
            }
        }
    )*
    super::field_as_record!($($type),*);
    };
}

byte_fields! {
    String, str, StringArray, Utf8Type, Utf8, "string";
    Vec<u8>, [u8], BinaryArray, BinaryType, Binary, "bytes";
}
