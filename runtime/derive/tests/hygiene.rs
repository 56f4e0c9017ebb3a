//! Derived code leans on no name of the place where it stands, and finds the crate under another.

// Stands for the crate that programs depend on, under a name of the program's choice.
extern crate tidegate_engine as tide;

/// Nothing is in scope here, not even `Option` and `Clone`, and names that mean something else.
#[no_implicit_prelude]
mod bare {
    #![allow(dead_code, non_camel_case_types, non_upper_case_globals)]

    const view: u8 = 1;
    const row: u8 = 1;
    const columns: u8 = 1;
    struct u64;
    struct usize;

    #[derive(
        ::core::clone::Clone,
        ::core::default::Default,
        ::core::cmp::PartialEq,
        ::core::cmp::Eq,
        ::tide::Record,
        ::tide::Key,
    )]
    #[record(crate = "::tide")]
    pub(super) struct Named {
        pub(super) view: ::std::string::String,
        pub(super) row: ::core::option::Option<i64>,
        pub(super) columns: ::std::vec::Vec<u8>,
        pub(super) self_: (bool, i32),
    }

    #[derive(::tide::State)]
    #[state(crate = "::tide")]
    pub(super) struct Declared {
        pub(super) row: ::tide::state::ValueState<Named>,
    }
}

#[test]
fn derived_code_works_where_nothing_is_in_scope() {
    use bare::{Declared, DeclaredRow, Named, NamedView};
    use tide::state::StateColumns;
    use tide::{Key, Record, State};

    let named = NamedView {
        view: "tide",
        row: None,
        columns: &[1],
        self_: (true, 7),
    };
    assert!(Named::from(named).row.is_none());
    assert_eq!(Named::fields().len(), 4);
    assert_ne!(Named::hash(named), Named::hash_with_seed(named, 1));

    let mut columns = <Declared as State>::Columns::default();
    columns
        .all_mut()
        .into_iter()
        .for_each(|column| column.ensure(0));
    let mut row: DeclaredRow<'_> = Declared::row(&mut columns, 0);
    row.row.set(Named::from(named));
    assert_eq!(row.row.get(), Some(named));
}
