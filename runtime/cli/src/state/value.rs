//! Arrow values as JSON.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::{DataType, TimeUnit};
use serde_json::{Map, Value, json};

use crate::table::time;

/// One value of a column. Times become RFC 3339 text, bytes hexadecimal text, maps lists of pairs.
pub(super) fn json_of(array: &dyn Array, at: usize) -> Value {
    if array.is_null(at) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => json!(array.as_boolean().value(at)),
        DataType::Int8 => number::<Int8Type>(array, at),
        DataType::Int16 => number::<Int16Type>(array, at),
        DataType::Int32 => number::<Int32Type>(array, at),
        DataType::Int64 => number::<Int64Type>(array, at),
        DataType::UInt8 => number::<UInt8Type>(array, at),
        DataType::UInt16 => number::<UInt16Type>(array, at),
        DataType::UInt32 => number::<UInt32Type>(array, at),
        DataType::UInt64 => number::<UInt64Type>(array, at),
        DataType::Float32 => number::<Float32Type>(array, at),
        DataType::Float64 => number::<Float64Type>(array, at),
        DataType::Utf8 => json!(array.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => json!(array.as_string::<i64>().value(at)),
        DataType::Utf8View => json!(array.as_string_view().value(at)),
        DataType::Binary => hexadecimal(array.as_binary::<i32>().value(at)),
        DataType::LargeBinary => hexadecimal(array.as_binary::<i64>().value(at)),
        DataType::FixedSizeBinary(_) => hexadecimal(array.as_fixed_size_binary().value(at)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            json!(time(
                array.as_primitive::<TimestampMillisecondType>().value(at)
            ))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let microseconds = array.as_primitive::<TimestampMicrosecondType>().value(at);
            json!(time(microseconds.div_euclid(1000)))
        }
        DataType::List(_) => list(&array.as_list::<i32>().value(at)),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(at)),
        DataType::Map(..) => pairs(&array.as_map().value(at)),
        DataType::Struct(_) => object(array.as_struct(), at),
        other => json!(format!("(a value of type {other})")),
    }
}

fn number<T: ArrowPrimitiveType>(array: &dyn Array, at: usize) -> Value
where
    T::Native: Into<Value>,
{
    array.as_primitive::<T>().value(at).into()
}

fn hexadecimal(bytes: &[u8]) -> Value {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Value::String(digits)
}

fn list(items: &ArrayRef) -> Value {
    (0..items.len()).map(|at| json_of(items, at)).collect()
}

/// A map's entries: keys need not be text, so an object would not hold them.
fn pairs(entries: &StructArray) -> Value {
    (0..entries.len())
        .map(|at| {
            entries
                .columns()
                .iter()
                .map(|column| json_of(column, at))
                .collect::<Value>()
        })
        .collect()
}

fn object(array: &StructArray, at: usize) -> Value {
    let fields = array.column_names().into_iter().zip(array.columns());
    let members: Map<String, Value> = fields
        .map(|(name, column)| (name.to_owned(), json_of(column, at)))
        .collect();
    Value::Object(members)
}

/// A value for people, and as `--key` takes it: text without quotes, other values as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{
        BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, ListArray, StringArray,
        TimestampMillisecondArray, UInt64Array,
    };
    use arrow_schema::Field;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Arc::new(BooleanArray::from(vec![true])), json!(true))]
    #[case(Arc::new(Int64Array::from(vec![-5])), json!(-5))]
    #[case(Arc::new(UInt64Array::from(vec![u64::MAX])), json!(u64::MAX))]
    #[case(Arc::new(Float64Array::from(vec![1.5])), json!(1.5))]
    #[case(Arc::new(Float64Array::from(vec![f64::NAN])), Value::Null)]
    #[case(Arc::new(StringArray::from(vec!["a\"b"])), json!("a\"b"))]
    #[case(Arc::new(StringArray::from(vec![None::<&str>])), Value::Null)]
    #[case(Arc::new(TimestampMillisecondArray::from(vec![0])), json!("1970-01-01T00:00:00.000Z"))]
    #[case(
        Arc::new(FixedSizeBinaryArray::try_from_iter([[1_u8, 0xab]].into_iter()).unwrap()),
        json!("01ab")
    )]
    #[case(Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
        vec![Some(vec![Some(1), None])])), json!([1, null]))]
    fn a_value_becomes_json(#[case] array: ArrayRef, #[case] expected: Value) {
        assert_eq!(json_of(&array, 0), expected);
    }

    #[test]
    fn a_structure_becomes_an_object() {
        let field = Arc::new(Field::new("count", DataType::UInt64, false));
        let counts: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2]));
        let array = StructArray::from(vec![(field, counts)]);
        assert_eq!(json_of(&array, 1), json!({"count": 2}));
    }
}
