//! Keyed state: one table for each keyed operator, frozen by blocks for a checkpoint.
//!
//! ```text
//! key ─hash─▶ KeyIndex ─▶ row ─▶ keys, one Column for each declared state, timers
//!                                   │ freeze (blocks behind an Arc)
//!                                   ▼
//!                         FrozenTable ─encode, elsewhere─▶ state file
//! ```

mod block;
mod cell;
mod column;
mod index;
mod kind;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod timers;
mod times;

pub use cell::{ListCell, MapCell, ReducingCell, ValueCell};
pub use column::{AnyColumn, Column};
pub use kind::{
    Add, ListState, MapState, Max, Min, Reduce, ReducingState, StateKind, Sum, ValueState,
};
pub(crate) use snapshot::{RestoredBatch, StateChain};
pub(crate) use table::{KeyRef, KeyTable, Keys};
pub(crate) use timers::{TimerKind, Timers};

/// The states that a keyed operator declares. Derive it with `#[derive(State)]`:
///
/// ```ignore
/// #[derive(State)]
/// struct Visits {
///     count: ValueState<u64>,
///     pages: ListState<String>,
/// }
/// ```
///
/// User code then reaches the current key's states as `context.state.count`, `context.state.pages`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not declare an operator's states",
    label = "not a declaration of states",
    note = "derive it with #[derive(State)] on a struct of states; one kind of state alone, and () \
            for none, declare states as well"
)]
pub trait State: 'static {
    /// One [`Column`] for each state.
    type Columns: StateColumns;
    /// The current key's states, one cell each.
    type Row<'a>;

    /// The cells of one row.
    fn row(columns: &mut Self::Columns, row: u32) -> Self::Row<'_>;
}

/// The columns of a [`State`]; made by its derive.
pub trait StateColumns: Default + 'static {
    /// The states' names, in the order of declaration.
    const NAMES: &'static [&'static str];

    /// The columns, in the order of declaration.
    fn all(&self) -> Vec<&dyn AnyColumn>;

    /// The columns, in the order of declaration.
    fn all_mut(&mut self) -> Vec<&mut dyn AnyColumn>;
}

/// An operator without states of its own, for instance one that only sets timers.
impl State for () {
    type Columns = ();
    type Row<'a> = ();

    fn row((): &mut (), _: u32) {}
}

impl StateColumns for () {
    const NAMES: &'static [&'static str] = &[];

    fn all(&self) -> Vec<&dyn AnyColumn> {
        Vec::new()
    }

    fn all_mut(&mut self) -> Vec<&mut dyn AnyColumn> {
        Vec::new()
    }
}

/// The cell of one row of a column; what `#[derive(State)]` calls.
#[inline]
pub fn cell<K: StateKind>(column: &mut Column<K>, row: u32) -> K::Cell<'_> {
    K::cell(column, row)
}

/// A single state without a struct around it: its name is `value`.
macro_rules! single_state {
    ($([$($bounds:tt)*] $kind:ty;)*) => {$(
        impl<$($bounds)*> State for $kind {
            type Columns = SingleColumn<Self>;
            type Row<'a> = <Self as StateKind>::Cell<'a>;

            #[inline]
            fn row(columns: &mut SingleColumn<Self>, row: u32) -> Self::Row<'_> {
                Self::cell(&mut columns.0, row)
            }
        }
    )*};
}

use crate::key::Key;
use crate::record::Field;

/// The columns of a [`State`] that is one kind.
pub struct SingleColumn<K: StateKind>(Column<K>);

impl<K: StateKind> Default for SingleColumn<K> {
    fn default() -> Self {
        Self(Column::default())
    }
}

impl<K: StateKind> StateColumns for SingleColumn<K> {
    const NAMES: &'static [&'static str] = &["value"];

    fn all(&self) -> Vec<&dyn AnyColumn> {
        vec![&self.0]
    }

    fn all_mut(&mut self) -> Vec<&mut dyn AnyColumn> {
        vec![&mut self.0]
    }
}

single_state! {
    [V: Field] ValueState<V>;
    [R: Reduce] ReducingState<R>;
    [V: Field] ListState<V>;
    [K: Key + Ord, V: Field] MapState<K, V>;
}
