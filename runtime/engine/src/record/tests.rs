//! Fields of every type come back from their columns, and columns of other types are refused.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, FixedSizeBinaryArray, Int64Array, StringArray, StructArray,
    TimestampMillisecondArray, UInt64Array,
};
use arrow_buffer::NullBuffer;
use proptest::prelude::*;

use super::*;

fn column_of<F: Field>(values: &[F]) -> ArrayRef {
    let mut builder = F::Builder::default();
    builder.reserve(values.len());
    values
        .iter()
        .for_each(|value| builder.push(value.as_view()));
    let array = builder.finish();
    assert_eq!(
        builder.finish().len(),
        0,
        "a builder is empty once it has finished"
    );
    array
}

fn values_of<F: Field>(array: &ArrayRef) -> Option<Vec<F>> {
    let column = F::column(array)?;
    let rows = 0..array.len();
    Some(
        rows.map(|row| F::from_view(F::view(&column, row)))
            .collect(),
    )
}

/// As a column, as a slice of it, and as a record.
fn check_round_trip<F>(values: &[F])
where
    F: Field + Record + Debug + PartialEq,
{
    let array = column_of(values);
    assert_eq!(*array.data_type(), F::data_type());
    assert_eq!(values_of::<F>(&array).as_deref(), Some(values));
    let middle = values.len() / 2;
    let rest = array.slice(middle, values.len() - middle);
    assert_eq!(values_of::<F>(&rest).as_deref(), Some(&values[middle..]));

    let mut builder = <F as Record>::Builder::default();
    values
        .iter()
        .for_each(|value| builder.push(Record::as_view(value)));
    let batch = RecordBatch::try_new(F::schema(), builder.finish()).expect("columns of the schema");
    let rows = Rows::<F>::of(&batch).expect("the batch was made of this record");
    let records: Vec<F> = rows.iter().map(<F as Record>::from_view).collect();
    assert_eq!(records, values);
}

type Nested = ((String, Option<u8>), Option<(Vec<u8>, f32)>);
type Wide = (bool, i8, i16, i32, i64, Option<Timestamp>);

prop_compose! {
    fn timestamp()(unix_ms in any::<i64>()) -> Timestamp {
        Timestamp::from_unix_ms(unix_ms)
    }
}

fn few<S: Strategy>(values: S) -> impl Strategy<Value = Vec<S::Value>> {
    proptest::collection::vec(values, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn optional_values_come_back(
        numbers in few(any::<Option<u64>>()),
        flags in few(any::<Option<bool>>()),
        texts in few(any::<Option<String>>()),
        bytes in few(any::<Option<Vec<u8>>>()),
        ids in few(any::<Option<[u8; 16]>>()),
    ) {
        check_round_trip(&numbers);
        check_round_trip(&flags);
        check_round_trip(&texts);
        check_round_trip(&bytes);
        check_round_trip(&ids);
    }

    #[test]
    fn tuples_come_back(
        pairs in few(any::<(String, u64)>()),
        optional in few(any::<Option<(String, u64)>>()),
        triples in few(any::<(u8, Option<u16>, u32)>()),
        fours in few(any::<(u8, u8, u8, [u8; 2])>()),
        fives in few(any::<(u8, String, u8, String, bool)>()),
    ) {
        check_round_trip(&pairs);
        check_round_trip(&optional);
        check_round_trip(&triples);
        check_round_trip(&fours);
        check_round_trip(&fives);
    }

    #[test]
    fn lists_come_back(
        numbers in few(few(any::<u64>())),
        texts in few(proptest::option::of(few(any::<String>()))),
        gaps in few(few(any::<Option<u8>>())),
        pairs in few(few(any::<(String, Option<[u8; 2]>)>())),
        deep in few(few(few(any::<[u8; 3]>()))),
    ) {
        check_round_trip(&numbers);
        check_round_trip(&texts);
        check_round_trip(&gaps);
        check_round_trip(&pairs);
        check_round_trip(&deep);
    }

    #[test]
    fn a_list_reads_the_same_from_a_column_as_from_owned_values(
        before in few(any::<String>()),
        list in few(any::<String>()),
        at in 0_usize..10,
    ) {
        let array = column_of(&[before, list.clone()]);
        let column = <Vec<String> as Field>::column(&array).expect("a column of lists");
        let view = <Vec<String> as Field>::view(&column, 1);
        prop_assert_eq!(view, ListView::from(&list));
        prop_assert_eq!(view.len(), list.len());
        prop_assert_eq!(view.is_empty(), list.is_empty());
        prop_assert_eq!(view.get(at), list.get(at).map(String::as_str));
        prop_assert!(view.iter().rev().eq(list.iter().rev()));
        prop_assert_eq!(view.to_vec(), list.clone());
        prop_assert_eq!(format!("{view:?}"), format!("{list:?}"));
        let mut longer = list;
        longer.push(String::new());
        prop_assert_ne!(view, ListView::from(&longer));
    }

    #[test]
    fn nested_values_come_back(
        nested in few(any::<((String, Option<u8>), Option<(Vec<u8>, i16)>)>()),
        wide in few((any::<(bool, i8, i16, i32, i64)>(), proptest::option::of(timestamp()))),
    ) {
        let nested = nested.into_iter().map(|(first, second)| {
            (first, second.map(|(bytes, number)| (bytes, f32::from(number))))
        });
        check_round_trip::<Nested>(&nested.collect::<Vec<_>>());
        let wide = wide.into_iter().map(|((a, b, c, d, e), f)| (a, b, c, d, e, f));
        check_round_trip::<Wide>(&wide.collect::<Vec<_>>());
    }

    #[test]
    fn nulls_are_taken_by_the_types_that_hold_them_alone(
        values in proptest::collection::vec(any::<Option<String>>(), 1..20)
    ) {
        let array = column_of(&values);
        let is_whole = values.iter().all(Option::is_some);
        prop_assert_eq!(String::column(&array).is_some(), is_whole);
    }

    #[test]
    fn nulls_given_at_the_end_add_to_those_pushed(
        rows in proptest::collection::vec(any::<(Option<u64>, bool)>(), 1..20)
    ) {
        let mut builder = <Option<u64> as Field>::Builder::default();
        rows.iter().for_each(|(value, _)| builder.push(*value));
        let nulls: NullBuffer = rows.iter().map(|(_, is_valid)| *is_valid).collect();
        let array = builder.finish_with(Some(nulls));
        let expected: Vec<_> = rows.iter().map(|(value, keep)| value.filter(|_| *keep)).collect();
        prop_assert_eq!(values_of::<Option<u64>>(&array), Some(expected));
    }
}

#[test]
fn a_column_of_another_type_is_refused() {
    let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2]));
    let signed: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let local: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1, 2]));
    let pairs = FixedSizeBinaryArray::try_from_iter([[1, 2], [3, 4]].iter());
    let pairs: ArrayRef = Arc::new(pairs.expect("all of one width"));
    assert!(<Option<i64>>::column(&numbers).is_none());
    assert!(<Option<u64>>::column(&numbers).is_some());
    assert!(Timestamp::column(&signed).is_none());
    assert!(Timestamp::column(&local).is_none());
    assert!(<[u8; 3]>::column(&pairs).is_none());
    assert!(<[u8; 2]>::column(&pairs).is_some());
    assert!(<(u64, u64)>::column(&numbers).is_none());
    let lists = column_of(&[vec![1_u64], vec![]]);
    assert!(<Vec<i64>>::column(&lists).is_none());
    assert!(<Vec<u64>>::column(&numbers).is_none());
    let gaps = column_of(&[vec![Some(1_u64), None]]);
    assert!(<Vec<u64>>::column(&gaps).is_none());
    assert!(<Vec<Option<u64>>>::column(&gaps).is_some());
    let pair = column_of(&[(1_u64, 2_u64)]);
    assert!(<(u64, u64, u64)>::column(&pair).is_none());
    assert!(<(u64, i64)>::column(&pair).is_none());
    assert!(<(u64, Option<u64>)>::column(&pair).is_some());
}

#[test]
fn nulls_hidden_by_those_of_their_struct_are_no_nulls() {
    let part = |name: &str, array: ArrayRef| {
        (
            Arc::new(arrow_schema::Field::new(
                name,
                array.data_type().clone(),
                true,
            )),
            array,
        )
    };
    let column = |outer: [bool; 3]| -> ArrayRef {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
        let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2, 3]));
        let parts = vec![part("_0", texts), part("_1", numbers)];
        let (fields, arrays): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Arc::new(StructArray::new(
            fields.into(),
            arrays,
            Some(outer.to_vec().into()),
        ))
    };
    type Pair = Option<(String, u64)>;
    let expected = vec![Some(("a".to_owned(), 1)), None, Some(("c".to_owned(), 3))];
    assert_eq!(
        values_of::<Pair>(&column([true, false, true])),
        Some(expected)
    );
    assert_eq!(values_of::<Pair>(&column([false, true, true])), None);
}

#[test]
fn type_names_tell_what_a_column_holds() {
    assert_eq!(
        <Option<(String, [u8; 4])>>::type_name(),
        "option<struct<_0: string, _1: bytes<4>>>"
    );
    assert_eq!(Timestamp::type_name(), "timestamp_ms");
    let odd = struct_type_name(&[("a, b: c", "u64".to_owned())]);
    assert_eq!(odd, "struct<\"a, b: c\": u64>");
}
