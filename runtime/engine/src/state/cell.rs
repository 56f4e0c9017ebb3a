//! What user code sees of the current key's states.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::block::Row;
use super::column::{AnyColumn, Column};
use super::kind::{ListState, MapState, Reduce, ReducingState, ValueState};
use crate::key::Key;
use crate::record::Field;

macro_rules! cells {
    ($($(#[$doc:meta])* $name:ident<$($param:ident),*>, $kind:ty, [$($bounds:tt)*];)*) => {$(
        $(#[$doc])*
        pub struct $name<'a, $($bounds)*> {
            column: &'a mut Column<$kind>,
            row: Row,
        }

        impl<'a, $($bounds)*> $name<'a, $($param),*> {
            #[inline]
            pub(crate) fn new(column: &'a mut Column<$kind>, row: Row) -> Self {
                Self { column, row }
            }

            /// Whether anything is set for this key.
            #[inline]
            pub fn is_set(&self) -> bool {
                self.column.is_present(self.row)
            }

            /// Unsets it for this key.
            pub fn clear(&mut self) {
                self.column.clear(self.row);
            }
        }
    )*};
}

cells! {
    /// The current key's [`ValueState`].
    ValueCell<V>, ValueState<V>, [V: Field];
    /// The current key's [`ReducingState`].
    ReducingCell<R>, ReducingState<R>, [R: Reduce];
    /// The current key's [`ListState`].
    ListCell<V>, ListState<V>, [V: Field];
    /// The current key's [`MapState`].
    MapCell<K, V>, MapState<K, V>, [K: Key + Ord, V: Field];
}

impl<V: Field> ValueCell<'_, V> {
    /// The value, if it is set.
    #[inline]
    pub fn get(&self) -> Option<V::View<'_>> {
        self.column.get(self.row).map(Field::as_view)
    }

    /// The value, or the type's default where none is set.
    #[inline]
    pub fn get_or_default(&self) -> V {
        self.column.get(self.row).cloned().unwrap_or_default()
    }

    /// Sets the value.
    #[inline]
    pub fn set(&mut self, value: V) {
        self.column.set(self.row, value);
    }

    /// Changes the value in place, beginning with the type's default where none is set.
    #[inline]
    pub fn update(&mut self, change: impl FnOnce(&mut V)) {
        change(self.column.get_mut(self.row));
    }
}

impl<R: Reduce> ReducingCell<'_, R> {
    /// What was reduced so far, if anything.
    #[inline]
    pub fn get(&self) -> Option<<R::Value as Field>::View<'_>> {
        self.column.get(self.row).map(Field::as_view)
    }

    /// Reduces a further value into it.
    #[inline]
    pub fn add(&mut self, value: R::Value) {
        let value = match self.column.get(self.row) {
            Some(so_far) => R::reduce(so_far, value),
            None => value,
        };
        self.column.set(self.row, value);
    }
}

impl<V: Field> ListCell<'_, V> {
    /// The items, in the order in which they were added.
    pub fn items(&self) -> &[V] {
        self.column
            .get(self.row)
            .map_or(&[], |items| items.as_slice())
    }

    /// Adds an item at the end.
    ///
    /// The first change of a key after a checkpoint began copies its list once.
    pub fn push(&mut self, item: V) {
        Arc::make_mut(self.column.get_mut(self.row)).push(item);
    }

    /// Replaces all items; none unsets the state.
    pub fn replace(&mut self, items: Vec<V>) {
        if items.is_empty() {
            self.clear();
        } else {
            self.column.set(self.row, Arc::new(items));
        }
    }
}

impl<K: Key + Ord, V: Field> MapCell<'_, K, V> {
    /// The value of a map key, if it is set.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.column.get(self.row)?.get(key)
    }

    /// Sets the value of a map key.
    ///
    /// The first change of a key after a checkpoint began copies its map once.
    pub fn insert(&mut self, key: K, value: V) {
        Arc::make_mut(self.column.get_mut(self.row)).insert(key, value);
    }

    /// Removes a map key; the last one unsets the state.
    pub fn remove(&mut self, key: &K) {
        let Some(map) = self.column.get(self.row) else {
            return;
        };
        if map.contains_key(key) {
            if map.len() == 1 {
                self.clear();
            } else {
                Arc::make_mut(self.column.get_mut(self.row)).remove(key);
            }
        }
    }

    /// All entries, ordered by map key.
    pub fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.column
            .get(self.row)
            .into_iter()
            .flat_map(|map: &Arc<BTreeMap<K, V>>| map.iter())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.column.get(self.row).map_or(0, |map| map.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
