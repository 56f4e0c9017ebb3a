//! What a derived declaration of states does, seen from a crate that uses it.

#![deny(missing_docs, unreachable_pub, dead_code, rust_2018_idioms)]

// Stands for the crate that programs depend on.
extern crate tidegate_engine as tidegate;

use tidegate::State;
use tidegate::state::{ListState, MapState, Max, ReducingState, StateColumns, ValueState};

/// All kinds of state.
#[derive(State)]
pub struct Counts {
    /// How many records came.
    count: ValueState<u64>,
    #[state(rename = "words seen")]
    words: ListState<String>,
    users: MapState<String, u64>,
    r#type: ReducingState<Max<u64>>,
}

#[derive(State)]
struct Nothing {}

#[derive(State)]
struct NothingAtAll;

fn with_rows<S: State>(row_count: u32) -> S::Columns {
    let mut columns = S::Columns::default();
    for row in 0..row_count {
        columns
            .all_mut()
            .into_iter()
            .for_each(|column| column.ensure(row));
    }
    columns
}

#[test]
fn each_row_has_states_of_its_own() {
    let mut columns = with_rows::<Counts>(2);
    let mut row: CountsRow<'_> = Counts::row(&mut columns, 1);
    row.count.update(|count| *count += 3);
    row.words.push("tide".to_owned());
    row.users.insert("ada".to_owned(), 1);
    row.r#type.add(5);
    row.r#type.add(4);

    let row = Counts::row(&mut columns, 1);
    assert_eq!(row.count.get(), Some(3));
    assert_eq!(row.words.items(), ["tide"]);
    assert_eq!(row.users.get(&"ada".to_owned()), Some(&1));
    assert_eq!(row.r#type.get(), Some(5));
    let row = Counts::row(&mut columns, 0);
    assert!(!row.count.is_set() && !row.words.is_set() && !row.r#type.is_set());
    assert!(row.users.is_empty());
}

#[test]
fn columns_and_names_are_in_the_order_of_declaration() {
    type Columns = <Counts as tidegate::State>::Columns;
    assert_eq!(Columns::NAMES, ["count", "words seen", "users", "type"]);
    let mut columns = with_rows::<Counts>(1);
    Counts::row(&mut columns, 0)
        .users
        .insert("ada".to_owned(), 1);
    let present: Vec<_> = columns
        .all()
        .iter()
        .map(|column| column.is_present(0))
        .collect();
    assert_eq!(present, [false, false, true, false]);
}

#[test]
fn an_operator_may_declare_no_state() {
    with_rows::<Nothing>(1);
    with_rows::<NothingAtAll>(1);
    assert!(<<Nothing as tidegate::State>::Columns>::NAMES.is_empty());
    Nothing::row(&mut (), 0);
    NothingAtAll::row(&mut (), 0);
}
