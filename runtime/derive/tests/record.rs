//! What a derived record does, seen from a crate that uses it.

#![deny(missing_docs, unreachable_pub, rust_2018_idioms)]

// Stands for the crate that programs depend on.
extern crate tidegate_engine as tidegate;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StringArray, StructArray, UInt64Array};
use proptest::prelude::*;
use tidegate::{Field, FieldBuilder, Key, Record, RecordBuilder, Timestamp};

/// A record of numbers alone: its view has no lifetime.
#[derive(Debug, Clone, Default, PartialEq, Record)]
pub struct Point {
    /// To the east.
    pub x: f64,
    y: i32,
    is_set: bool,
    at: Timestamp,
    pair: (u8, Option<i64>),
}

/// A record that borrows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Record, Key)]
pub struct Word {
    /// The word.
    pub word: String,
    /// How often it came.
    #[record(rename = "n")]
    pub count: u64,
}

/// A record of every column type, with others in it.
#[derive(Debug, Clone, Default, PartialEq, Record)]
struct Everything {
    point: Point,
    nearest: Option<Point>,
    word: Word,
    other: Option<Word>,
    bytes: Vec<u8>,
    id: [u8; 16],
    maybe_id: Option<[u8; 3]>,
    maybe_text: Option<String>,
    maybe_flag: Option<bool>,
    tuple: (String, Option<Word>, u16),
    r#type: i8,
    words: Vec<Word>,
    names: Option<Vec<String>>,
}

fn point() -> impl Strategy<Value = Point> {
    let pair = any::<(u8, Option<i64>)>();
    (
        -1e9..1e9_f64,
        any::<i32>(),
        any::<bool>(),
        any::<i64>(),
        pair,
    )
        .prop_map(|(x, y, is_set, at, pair)| Point {
            x,
            y,
            is_set,
            at: Timestamp::from_unix_ms(at),
            pair,
        })
}

fn word() -> impl Strategy<Value = Word> {
    (any::<String>(), any::<u64>()).prop_map(|(word, count)| Word { word, count })
}

fn everything() -> impl Strategy<Value = Everything> {
    let records = (
        point(),
        proptest::option::of(point()),
        word(),
        proptest::option::of(word()),
    );
    let bytes = any::<(Vec<u8>, [u8; 16], Option<[u8; 3]>)>();
    let options = any::<(Option<String>, Option<bool>)>();
    let tuple = (any::<String>(), proptest::option::of(word()), any::<u16>());
    let lists = (
        proptest::collection::vec(word(), 0..4),
        proptest::option::of(proptest::collection::vec(any::<String>(), 0..4)),
    );
    (records, bytes, options, tuple, any::<i8>(), lists).prop_map(
        |(records, bytes, options, tuple, r#type, lists)| Everything {
            point: records.0,
            nearest: records.1,
            word: records.2,
            other: records.3,
            bytes: bytes.0,
            id: bytes.1,
            maybe_id: bytes.2,
            maybe_text: options.0,
            maybe_flag: options.1,
            tuple,
            r#type,
            words: lists.0,
            names: lists.1,
        },
    )
}

fn columns_of<R: Record>(records: &[R]) -> Vec<ArrayRef> {
    let mut builder = R::Builder::default();
    builder.reserve(records.len());
    records
        .iter()
        .for_each(|record| builder.push(record.as_view()));
    builder.finish()
}

fn records_of<R: Record>(arrays: &[ArrayRef]) -> Option<Vec<R>> {
    let columns = R::columns(arrays)?;
    let rows = 0..arrays[0].len();
    Some(
        rows.map(|row| R::from_view(R::view(&columns, row)))
            .collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_come_back_from_their_columns(
        records in proptest::collection::vec(everything(), 1..40),
        from in any::<prop::sample::Index>(),
    ) {
        let arrays = columns_of(&records);
        let schema = Everything::schema();
        for (array, field) in arrays.iter().zip(schema.fields()) {
            prop_assert_eq!(array.data_type(), field.data_type());
            prop_assert!(field.is_nullable() || array.null_count() == 0);
        }
        prop_assert_eq!(records_of::<Everything>(&arrays), Some(records.clone()));

        let from = from.index(records.len());
        let sliced = arrays.iter().map(|array| array.slice(from, records.len() - from));
        let rest = records_of::<Everything>(&sliced.collect::<Vec<_>>());
        prop_assert_eq!(rest.as_deref(), Some(&records[from..]));
    }

    #[test]
    fn records_come_back_from_one_column(
        records in proptest::collection::vec(proptest::option::of(everything()), 0..40)
    ) {
        type Rows = Option<Everything>;
        let mut builder = <Rows as Field>::Builder::default();
        records.iter().for_each(|record| builder.push(Field::as_view(record)));
        let array = builder.finish();
        prop_assert_eq!(array.data_type(), &<Rows as Field>::data_type());
        let column = <Rows as Field>::column(&array).expect("the builder makes the field's column");
        for (row, record) in records.iter().enumerate() {
            let view = <Rows as Field>::view(&column, row);
            prop_assert_eq!(view, Field::as_view(record));
            prop_assert_eq!(&<Rows as Field>::from_view(view), record);
        }
        let is_whole = records.iter().all(Option::is_some);
        prop_assert_eq!(<Everything as Field>::column(&array).is_some(), is_whole);
    }

    #[test]
    fn the_hash_of_a_record_is_that_of_its_fields_in_order(word in word(), seed in any::<u64>()) {
        let view = Record::as_view(&word);
        let hash = u64::hash_with_seed(word.count, String::hash(&word.word));
        prop_assert_eq!(Word::hash(view), hash);
        prop_assert_eq!(Word::hash(view), <(String, u64)>::hash((view.word, view.count)));
        let seeded = u64::hash_with_seed(word.count, String::hash_with_seed(&word.word, seed));
        prop_assert_eq!(Word::hash_with_seed(view, seed), seeded);
    }
}

#[test]
fn the_hash_of_a_record_never_changes() {
    let view = WordView {
        word: "tide",
        count: 7,
    };
    assert_eq!(Word::hash(view), 14_190_889_478_057_400_162);
    assert_eq!(Word::hash_with_seed(view, 42), 16_353_570_124_835_649_180);
}

#[test]
fn a_view_is_built_and_converted_without_ceremony() {
    let view = WordView {
        word: "tide",
        count: 1,
    };
    let word = Word::from(view);
    assert_eq!(
        word,
        Word {
            word: "tide".to_owned(),
            count: 1
        }
    );
    assert_eq!(WordView::from(&word), view);
    assert_eq!(format!("{view:?}"), "WordView { word: \"tide\", count: 1 }");
    let point: PointView = Record::as_view(&Point::default());
    assert_eq!(Point::from(point), Point::default());
}

#[test]
fn a_view_outlives_the_names_it_was_made_under() {
    // Holds only if a view's lifetime can shrink to that of its shortest field.
    fn longer<'a>(one: WordView<'a>, other: &WordView<'a>) -> WordView<'a> {
        if other.word.len() > one.word.len() {
            *other
        } else {
            one
        }
    }
    let fixed: WordView<'static> = WordView {
        word: "sea",
        count: 1,
    };
    let owned = Word {
        word: "tides".to_owned(),
        count: 2,
    };
    assert_eq!(longer(Record::as_view(&owned), &fixed).word, "tides");
}

#[test]
fn columns_have_the_names_given() {
    let names = |fields: Vec<_>| -> Vec<String> {
        fields
            .iter()
            .map(|field: &tidegate::__private::ArrowField| field.name().clone())
            .collect()
    };
    assert_eq!(names(Word::fields()), ["word", "n"]);
    assert_eq!(names(Everything::fields())[10], "type");
    assert_eq!(Word::type_name(), "struct<word: string, n: u64>");
    assert_eq!(
        <Option<Word>>::type_name(),
        "option<struct<word: string, n: u64>>"
    );
}

#[test]
fn columns_of_another_shape_are_refused() {
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2]));
    let gaps: ArrayRef = Arc::new(UInt64Array::from(vec![Some(1), None]));
    assert!(Word::columns(&[words.clone(), counts.clone()]).is_some());
    assert!(Word::columns(&[counts.clone(), words.clone()]).is_none());
    assert!(Word::columns(&[words.clone(), gaps.clone()]).is_none());
    assert!(Word::columns(std::slice::from_ref(&words)).is_none());
    assert!(Word::columns(&[]).is_none());

    let column = |names: [&str; 2], arrays: [&ArrayRef; 2]| -> ArrayRef {
        let fields = names.iter().zip(arrays).map(|(name, array)| {
            let field =
                tidegate::__private::ArrowField::new(*name, array.data_type().clone(), true);
            (Arc::new(field), array.clone())
        });
        Arc::new(StructArray::from(fields.collect::<Vec<_>>()))
    };
    assert!(Word::column(&column(["word", "n"], [&words, &counts])).is_some());
    assert!(Word::column(&column(["word", "count"], [&words, &counts])).is_none());
    assert!(Word::column(&column(["n", "word"], [&counts, &words])).is_none());
    assert!(Word::column(&column(["word", "n"], [&words, &gaps])).is_none());
    assert!(Word::column(&words).is_none());
}
