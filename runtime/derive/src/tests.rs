//! What the derives refuse, and how they say it.

use proc_macro2::TokenStream;
use rstest::rstest;
use syn::{DeriveInput, Result};

use crate::{key, record, state};

fn errors(expand: fn(&DeriveInput) -> Result<TokenStream>, source: &str) -> Vec<String> {
    let item = syn::parse_str(source).expect("the test's source is valid Rust");
    match expand(&item) {
        Ok(_) => Vec::new(),
        Err(error) => error.into_iter().map(|error| error.to_string()).collect(),
    }
}

#[rstest]
#[case("enum Kind { A }", "an enum cannot be a record")]
#[case("union Both { a: u8 }", "a union cannot be a record")]
#[case("struct Pair(u64, u64);", "a record's fields need names")]
#[case("struct Unit;", "a record needs at least one field")]
#[case("struct Empty {}", "a record needs at least one field")]
#[case("struct Generic<T> { value: T }", "a record cannot be generic")]
#[case("struct Borrowed<'a> { text: &'a str }", "a record cannot be generic")]
#[case("struct Text { text: &'static str }", "use `String` for `&str`")]
#[case("struct Size { size: usize }", "use `u64`")]
#[case("struct Wide { wide: i128 }", "use `[u8; 16]`")]
#[case("struct Letter { letter: char }", "use `String`, or `u32`")]
#[case(
    "struct Map { map: std::collections::HashMap<String, u64> }",
    "`MapState`"
)]
#[case("struct Boxed { boxed: Box<u64> }", "use the type inside")]
#[case("struct Gap { gap: Option<Option<u64>> }", "use a single `Option`")]
#[case("struct Deep { deep: Option<Vec<(u8, usize)>> }", "use `u64`")]
#[case("struct One { one: (u64,) }", "a tuple in a record has 2 to 6 parts")]
#[case(
    "struct Odd { #[record(rename = \"\")] a: u64 }",
    "a column's name cannot be empty"
)]
#[case(
    "struct Odd { #[record(rename = \"a\\n\")] a: u64 }",
    "cannot hold control characters"
)]
#[case(
    "struct Odd { #[record(name = \"b\")] a: u64 }",
    "`name` is no attribute here"
)]
#[case(
    "struct Odd { #[record(rename = \"b\", rename = \"c\")] a: u64 }",
    "given twice"
)]
#[case(
    "#[record(rename = \"b\")] struct Odd { a: u64 }",
    "`record` takes `crate = \"…\"`"
)]
#[case(
    "struct Same { a: u64, #[record(rename = \"a\")] b: u64 }",
    "`b` and `a` would both be the column \"a\""
)]
fn a_struct_that_cannot_be_a_record_is_refused_with_what_to_do(
    #[case] source: &str,
    #[case] expected: &str,
) {
    let derives: [fn(&DeriveInput) -> Result<TokenStream>; 2] = [record::expand, key::expand];
    for expand in derives {
        let errors = errors(expand, source);
        assert!(
            matches!(&errors[..], [error] if error.contains(expected)),
            "{errors:?}"
        );
    }
}

#[rstest]
#[case("enum Kind { A }", "declared as a struct")]
#[case("struct Pair(ValueState<u64>);", "states need names")]
#[case("struct Generic<T> { value: ValueState<T> }", "cannot be generic")]
#[case("struct Plain { count: u64 }", "write `ValueState<u64>`")]
#[case("struct Plain { text: String }", "write `ValueState<String>`")]
#[case("struct Own { _key: ValueState<u64> }", "cannot be named \"_key\"")]
#[case(
    "struct Own { #[state(rename = \"_a\")] a: ValueState<u64> }",
    "cannot be named \"_a\""
)]
#[case(
    "struct Odd { #[state(name = \"b\")] a: ValueState<u64> }",
    "`name` is no attribute here"
)]
#[case(
    "struct Same { a: ValueState<u64>, #[state(rename = \"a\")] b: ValueState<u64> }",
    "rename one with #[state(rename = \"…\")]"
)]
fn states_that_cannot_be_declared_are_refused_with_what_to_do(
    #[case] source: &str,
    #[case] expected: &str,
) {
    let errors = errors(state::expand, source);
    assert!(
        matches!(&errors[..], [error] if error.contains(expected)),
        "{errors:?}"
    );
}

#[test]
fn all_errors_of_a_struct_are_told_at_once() {
    let source =
        "#[record(krate = \"x\")] struct Bad { a: usize, #[record(rename = \"\")] b: char }";
    assert_eq!(errors(record::expand, source).len(), 4);
}

#[test]
fn derived_code_refers_to_the_crate_that_it_is_told() {
    let source = "#[record(crate = \"other::place\")] struct Word { text: String }";
    let item = syn::parse_str(source).expect("the test's source is valid Rust");
    let expansion = record::expand(&item)
        .expect("the struct can be a record")
        .to_string();
    assert!(expansion.contains("other :: place :: __private :: Record"));
    assert!(!expansion.contains("tidegate"));
}
