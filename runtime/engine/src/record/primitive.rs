//! Numbers and booleans as fields.

use std::sync::Arc;

use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BooleanArray, PrimitiveArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::{Field, FieldBuilder, Record, SingleColumn};

macro_rules! primitive_fields {
    ($($type:ty, $arrow:ty, $data_type:ident, $name:literal;)*) => {$(
        impl Field for $type {
            type View<'a> = $type;
            type Column = ScalarBuffer<$type>;
            type Builder = PrimitiveBuilder<$type>;

            fn data_type() -> DataType {
                DataType::$data_type
            }

            fn type_name() -> String {
                $name.to_owned()
            }

            fn values(array: &ArrayRef) -> Option<Self::Column> {
                let array = array.as_any().downcast_ref::<PrimitiveArray<$arrow>>()?;
                Some(array.values().clone())
            }

            #[inline]
            fn view(column: &Self::Column, row: usize) -> $type {
                column[row]
            }

            #[inline]
            fn as_view(&self) -> $type {
                *self
            }

            #[inline]
            fn from_view(view: $type) -> Self {
                view
            }
        }

        impl FieldBuilder<$type> for PrimitiveBuilder<$type> {
            fn reserve(&mut self, additional: usize) {
                self.values.reserve(additional);
            }

            #[inline]
            fn push(&mut self, view: $type) {
                self.values.push(view);
            }

            fn finish_with(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
                let values = std::mem::take(&mut self.values);
                Arc::new(PrimitiveArray::<$arrow>::new(values.into(), nulls))
            }
        }
    )*
    super::field_as_record!($($type),*);
    };
}

/// Collects numbers.
#[derive(Debug, Default)]
pub struct PrimitiveBuilder<T> {
    values: Vec<T>,
}

primitive_fields! {
    i8, Int8Type, Int8, "i8";
    i16, Int16Type, Int16, "i16";
    i32, Int32Type, Int32, "i32";
    i64, Int64Type, Int64, "i64";
    u8, UInt8Type, UInt8, "u8";
    u16, UInt16Type, UInt16, "u16";
    u32, UInt32Type, UInt32, "u32";
    u64, UInt64Type, UInt64, "u64";
    f32, Float32Type, Float32, "f32";
    f64, Float64Type, Float64, "f64";
}

/// Collects booleans.
#[derive(Debug)]
pub struct BooleanBuilder {
    values: BooleanBufferBuilder,
}

impl Default for BooleanBuilder {
    fn default() -> Self {
        Self {
            values: BooleanBufferBuilder::new(0),
        }
    }
}

impl Field for bool {
    type View<'a> = bool;
    type Column = BooleanArray;
    type Builder = BooleanBuilder;

    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn type_name() -> String {
        "bool".to_owned()
    }

    fn values(array: &ArrayRef) -> Option<BooleanArray> {
        array.as_any().downcast_ref::<BooleanArray>().cloned()
    }

    #[inline]
    fn view(column: &BooleanArray, row: usize) -> bool {
        column.value(row)
    }

    #[inline]
    fn as_view(&self) -> bool {
        *self
    }

    #[inline]
    fn from_view(view: bool) -> Self {
        view
    }
}

impl FieldBuilder<bool> for BooleanBuilder {
    fn reserve(&mut self, additional: usize) {
        self.values.reserve(additional);
    }

    #[inline]
    fn push(&mut self, view: bool) {
        self.values.append(view);
    }

    fn finish_with(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), nulls))
    }
}

super::field_as_record!(bool);
