//! The derives of Tidegate's typed API.
//!
//! ```text
//! input ──▶ view ──▶ record   #[derive(Record)]: the view, and the traits Record and Field
//!    └─────────────▶ key      #[derive(Key)]: the stable hash
//! state                        #[derive(State)]: the states of a keyed operator
//! ```
//!
//! What they write refers to the crate `tidegate` by its full path. A crate that has it under
//! another name says so with `#[record(crate = "…")]` or `#[state(crate = "…")]`, or once with
//! `extern crate … as tidegate;`.

mod attributes;
mod input;
mod key;
mod record;
mod state;
#[cfg(test)]
mod tests;
mod unsupported;
mod view;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct with named fields a record: what a stream carries, and what a column can hold.
///
/// A struct `Word` gets a `WordView` of the same fields, as borrowed from columns or from a `Word`:
/// `&str` for `String`, `&[u8]` for `Vec<u8>`, a `ListView` for another `Vec`, the view of another
/// record, numbers as they are. `WordView` has a lifetime parameter unless all fields are numbers,
/// booleans, timestamps, and options or tuples of those. It is `Copy`, `Debug` and `PartialEq`,
/// converts from `&Word` and into `Word`, and its fields are as visible as those of `Word`.
///
/// Every field must be of a column type (`tidegate::Field`), and the struct be `Clone` and
/// `Default` (the default fills the place under a null).
///
/// ```
/// # extern crate tidegate_engine as tidegate;
/// use tidegate::{Output, Record};
///
/// #[derive(Debug, Clone, Default, Record)]
/// struct Word {
///     word: String,
///     #[record(rename = "n")]
///     count: u64,
/// }
///
/// let mut out = Output::<Word>::default();
/// out.push(WordView { word: "tide", count: 1 });
/// ```
///
/// # Attributes
/// - on a field, `#[record(rename = "…")]`: the column's name, which is else the field's;
/// - on the struct, `#[record(crate = "…")]`: the path of the crate `tidegate`.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    let expansion = record::expand(&item);
    expansion
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a record a key, by the stable hash of its fields in order.
///
/// The struct must be a `Record` and `Eq`, and every field of a type that can be a key. The order
/// of the fields is part of the hash and thereby of the format of state: it must not change in the
/// life of a job.
#[proc_macro_derive(Key, attributes(record))]
pub fn derive_key(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    let expansion = key::expand(&item);
    expansion
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a struct the declaration of a keyed operator's states.
///
/// Each field is a kind of state: `ValueState`, `ReducingState`, `ListState` or `MapState`. A
/// struct `Visits` gets a `VisitsRow` of the same fields, through which user code reads and writes
/// the states of the current key. The struct itself is never made.
///
/// ```
/// # extern crate tidegate_engine as tidegate;
/// use tidegate::State;
/// use tidegate::state::{ListState, ValueState};
///
/// #[derive(State)]
/// struct Visits {
///     count: ValueState<u64>,
///     #[state(rename = "urls")]
///     pages: ListState<String>,
/// }
/// ```
///
/// # Attributes
/// - on a field, `#[state(rename = "…")]`: the state's name in checkpoints, which is else the
///   field's. It finds the state again, so a field may be renamed as long as this stays. Names that
///   begin with `_` are the engine's own;
/// - on the struct, `#[state(crate = "…")]`: the path of the crate `tidegate`.
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    let expansion = state::expand(&item);
    expansion
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
