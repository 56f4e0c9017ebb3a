//! Columns of any type, downcast once for each chunk and then read cell by cell.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, TimeUnit};
use tidegate_engine::Timestamp;

/// One value.
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float32(f32),
    Float64(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Moment(Timestamp),
    /// Rows `start..end` of a column of items.
    List(&'a Column<'a>, usize, usize),
    /// A row of several named columns.
    Struct(&'a [(&'a str, Column<'a>)], usize),
}

/// A column of any type that a record can have.
pub(super) struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Bool(&'a BooleanArray),
    I8(&'a PrimitiveArray<Int8Type>),
    I16(&'a PrimitiveArray<Int16Type>),
    I32(&'a PrimitiveArray<Int32Type>),
    I64(&'a PrimitiveArray<Int64Type>),
    U8(&'a PrimitiveArray<UInt8Type>),
    U16(&'a PrimitiveArray<UInt16Type>),
    U32(&'a PrimitiveArray<UInt32Type>),
    U64(&'a PrimitiveArray<UInt64Type>),
    F32(&'a PrimitiveArray<Float32Type>),
    F64(&'a PrimitiveArray<Float64Type>),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    FixedBytes(&'a FixedSizeBinaryArray),
    Moment(&'a PrimitiveArray<TimestampMillisecondType>),
    List(&'a OffsetBuffer<i32>, Box<Column<'a>>),
    Struct(Vec<(&'a str, Column<'a>)>),
}

impl<'a> Column<'a> {
    /// Downcasts a column; `None` where no format has a notation for its type.
    pub(super) fn of(array: &'a ArrayRef) -> Option<Self> {
        Some(Self {
            nulls: array.nulls(),
            values: Values::of(array)?,
        })
    }

    /// Reads one row.
    #[inline]
    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return Cell::Null;
        }
        match &self.values {
            Values::Bool(array) => Cell::Bool(array.value(row)),
            Values::I8(array) => Cell::Signed(array.value(row).into()),
            Values::I16(array) => Cell::Signed(array.value(row).into()),
            Values::I32(array) => Cell::Signed(array.value(row).into()),
            Values::I64(array) => Cell::Signed(array.value(row)),
            Values::U8(array) => Cell::Unsigned(array.value(row).into()),
            Values::U16(array) => Cell::Unsigned(array.value(row).into()),
            Values::U32(array) => Cell::Unsigned(array.value(row).into()),
            Values::U64(array) => Cell::Unsigned(array.value(row)),
            Values::F32(array) => Cell::Float32(array.value(row)),
            Values::F64(array) => Cell::Float64(array.value(row)),
            Values::Text(array) => Cell::Text(array.value(row)),
            Values::Bytes(array) => Cell::Bytes(array.value(row)),
            Values::FixedBytes(array) => Cell::Bytes(array.value(row)),
            Values::Moment(array) => Cell::Moment(Timestamp::from_unix_ms(array.value(row))),
            Values::List(offsets, items) => {
                // Offsets are never negative in a valid list column.
                let at = |row: usize| usize::try_from(offsets[row]).unwrap_or_default();
                Cell::List(items, at(row), at(row + 1))
            }
            Values::Struct(parts) => Cell::Struct(parts, row),
        }
    }
}

impl<'a> Values<'a> {
    fn of(array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean_opt()?),
            DataType::Int8 => Self::I8(array.as_primitive_opt()?),
            DataType::Int16 => Self::I16(array.as_primitive_opt()?),
            DataType::Int32 => Self::I32(array.as_primitive_opt()?),
            DataType::Int64 => Self::I64(array.as_primitive_opt()?),
            DataType::UInt8 => Self::U8(array.as_primitive_opt()?),
            DataType::UInt16 => Self::U16(array.as_primitive_opt()?),
            DataType::UInt32 => Self::U32(array.as_primitive_opt()?),
            DataType::UInt64 => Self::U64(array.as_primitive_opt()?),
            DataType::Float32 => Self::F32(array.as_primitive_opt()?),
            DataType::Float64 => Self::F64(array.as_primitive_opt()?),
            DataType::Utf8 => Self::Text(array.as_string_opt()?),
            DataType::Binary => Self::Bytes(array.as_binary_opt()?),
            DataType::FixedSizeBinary(_) => Self::FixedBytes(array.as_fixed_size_binary_opt()?),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Self::Moment(array.as_primitive_opt()?)
            }
            DataType::List(_) => {
                let list = array.as_list_opt::<i32>()?;
                Self::List(list.offsets(), Box::new(Column::of(list.values())?))
            }
            DataType::Struct(fields) => {
                let array = array.as_struct_opt()?;
                let parts = fields.iter().zip(array.columns());
                let parts =
                    parts.map(|(field, part)| Some((field.name().as_str(), Column::of(part)?)));
                Self::Struct(parts.collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }
}

/// Appends bytes as hexadecimal digits.
pub(super) fn push_hex(bytes: &[u8], output: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        output.push(DIGITS[usize::from(byte >> 4)]);
        output.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Appends an integer's decimal digits.
pub(super) fn push_integer(value: impl itoa::Integer, output: &mut Vec<u8>) {
    output.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}
