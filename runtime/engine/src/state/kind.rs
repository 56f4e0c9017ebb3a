//! The kinds of state that a keyed operator declares, and how each is encoded.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field as ArrowField, Fields};

use super::block::Row;
use super::cell::{ListCell, MapCell, ReducingCell, ValueCell};
use super::column::Column;
use crate::key::Key;
use crate::record::{Field, FieldBuilder};

/// Bytes after which a batch of a state file is cut, however few rows they are, where they are
/// counted by the sizes of values. Texts are counted as they are in chunks.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// A kind of state: what a row holds, and how user code reaches it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a kind of state",
    label = "not a kind of state",
    note = "kinds of state are ValueState<V>, ReducingState<Sum<V>> (or Max, Min), ListState<V> \
            and MapState<K, V>, of column types"
)]
pub trait StateKind: Sized + 'static {
    /// What a row holds. Cheap to copy when a snapshot has its block: large values are shared.
    type Stored: Clone + Default + Send + Sync + 'static;
    /// What user code sees for one row.
    type Cell<'a>;
    /// Collects rows for a snapshot.
    type Values: Default + Send;
    /// The kind's name in state schemas.
    const KIND: &'static str;

    /// The type of its values in state schemas.
    fn type_name() -> String;
    /// The Arrow type of its column.
    fn data_type() -> DataType;
    /// Compares the parts of two values that lie in their blocks; any answer will do for values
    /// that are shared.
    fn looks_alike(stored: &Self::Stored, other: &Self::Stored) -> bool;
    /// A row's cell.
    fn cell(column: &mut Column<Self>, row: Row) -> Self::Cell<'_>;
    /// Appends a row to a snapshot.
    fn push(values: &mut Self::Values, stored: &Self::Stored);
    /// Whether so much was appended that the snapshot's batch should be cut, however few rows it
    /// has.
    fn is_full(values: &Self::Values) -> bool;
    /// The snapshot's column.
    fn finish(values: Self::Values, nulls: Option<NullBuffer>) -> ArrayRef;
    /// Reads a snapshot's column; `None` where its type is another.
    fn decode(array: &ArrayRef) -> Option<Vec<Option<Self::Stored>>>;
}

/// Collects one column of a snapshot.
pub(crate) struct Encoder<K: StateKind> {
    values: K::Values,
    nulls: NullBufferBuilder,
    unset: K::Stored,
}

impl<K: StateKind> Encoder<K> {
    pub(crate) fn new(row_count: usize) -> Self {
        Self {
            values: K::Values::default(),
            nulls: NullBufferBuilder::new(row_count),
            unset: K::Stored::default(),
        }
    }

    /// Whether so much was pushed that the batch should be cut, however few rows it has.
    pub(crate) fn is_full(&self) -> bool {
        self.nulls.len() * size_of::<K::Stored>() >= BATCH_BYTES || K::is_full(&self.values)
    }

    #[inline]
    pub(crate) fn push(&mut self, value: Option<&K::Stored>) {
        K::push(&mut self.values, value.unwrap_or(&self.unset));
        if value.is_some() {
            self.nulls.append_non_null()
        } else {
            self.nulls.append_null()
        }
    }

    pub(crate) fn finish(mut self) -> ArrayRef {
        K::finish(self.values, self.nulls.finish())
    }
}

fn decode_fields<F: Field>(array: &ArrayRef) -> Option<Vec<F>> {
    let column = F::column(array)?;
    Some(
        (0..array.len())
            .map(|row| F::from_view(F::view(&column, row)))
            .collect(),
    )
}

fn decode_present<F: Field>(array: &ArrayRef) -> Option<Vec<Option<F>>> {
    let column = F::values(array)?;
    let rows = 0..array.len();
    Some(
        rows.map(|row| {
            array
                .is_valid(row)
                .then(|| F::from_view(F::view(&column, row)))
        })
        .collect(),
    )
}

/// One value a key.
pub struct ValueState<V>(PhantomData<V>);

impl<V: Field> StateKind for ValueState<V> {
    type Stored = V;
    type Cell<'a> = ValueCell<'a, V>;
    type Values = V::Builder;
    const KIND: &'static str = "value";

    fn type_name() -> String {
        V::type_name()
    }

    fn data_type() -> DataType {
        const {
            assert!(
                !V::IS_NULLABLE,
                "a state is set or not set: keep its value, no Option"
            )
        };
        V::data_type()
    }

    #[inline]
    fn looks_alike(stored: &V, other: &V) -> bool {
        stored.as_view() == other.as_view()
    }

    #[inline]
    fn cell(column: &mut Column<Self>, row: Row) -> ValueCell<'_, V> {
        ValueCell::new(column, row)
    }

    #[inline]
    fn push(values: &mut V::Builder, stored: &V) {
        values.push(stored.as_view());
    }

    fn is_full(values: &V::Builder) -> bool {
        values.is_full()
    }

    fn finish(mut values: V::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
        values.finish_with(nulls)
    }

    fn decode(array: &ArrayRef) -> Option<Vec<Option<V>>> {
        decode_present(array)
    }
}

/// How two values become one.
pub trait Reduce: 'static {
    /// What is reduced.
    type Value: Field;
    /// Combines the value so far with a further one.
    fn reduce(so_far: &Self::Value, further: Self::Value) -> Self::Value;
}

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident, $bound:path, |$a:ident, $b:ident| $result:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name<V>(PhantomData<V>);

        impl<V: Field + $bound> Reduce for $name<V> {
            type Value = V;
            fn reduce($a: &V, $b: V) -> V {
                $result
            }
        }
    )*};
}

/// Values that add up; integers wrap around at their bounds.
pub trait Add {
    /// The sum.
    fn add(&self, other: Self) -> Self;
}

macro_rules! sums {
    ($($type:ty),*; $($float:ty),*) => {
        $(impl Add for $type {
            #[inline]
            fn add(&self, other: Self) -> Self {
                self.wrapping_add(other)
            }
        })*
        $(impl Add for $float {
            #[inline]
            fn add(&self, other: Self) -> Self {
                self + other
            }
        })*
    };
}
sums!(i8, i16, i32, i64, u8, u16, u32, u64; f32, f64);

reductions! {
    /// Adds values up; integers wrap around at their bounds.
    Sum, Add, |a, b| a.add(b);
    /// Keeps the largest value; of equal ones, the first.
    Max, PartialOrd, |a, b| if b > *a { b } else { a.clone() };
    /// Keeps the smallest value; of equal ones, the first.
    Min, PartialOrd, |a, b| if b < *a { b } else { a.clone() };
}

/// One value a key, into which further ones are reduced.
pub struct ReducingState<R>(PhantomData<R>);

impl<R: Reduce> StateKind for ReducingState<R> {
    type Stored = R::Value;
    type Cell<'a> = ReducingCell<'a, R>;
    type Values = <R::Value as Field>::Builder;
    const KIND: &'static str = "reducing";

    fn type_name() -> String {
        R::Value::type_name()
    }

    fn data_type() -> DataType {
        const {
            assert!(
                !R::Value::IS_NULLABLE,
                "a state is set or not set: no Option"
            )
        };
        R::Value::data_type()
    }

    #[inline]
    fn looks_alike(stored: &R::Value, other: &R::Value) -> bool {
        stored.as_view() == other.as_view()
    }

    #[inline]
    fn cell(column: &mut Column<Self>, row: Row) -> ReducingCell<'_, R> {
        ReducingCell::new(column, row)
    }

    #[inline]
    fn push(values: &mut Self::Values, stored: &R::Value) {
        values.push(stored.as_view());
    }

    fn is_full(values: &Self::Values) -> bool {
        values.is_full()
    }

    fn finish(mut values: Self::Values, nulls: Option<NullBuffer>) -> ArrayRef {
        values.finish_with(nulls)
    }

    fn decode(array: &ArrayRef) -> Option<Vec<Option<R::Value>>> {
        decode_present(array)
    }
}

/// Collects rows of several values each.
pub struct ListValues<B> {
    pub(super) items: B,
    offsets: Vec<i32>,
}

impl<B: Default> Default for ListValues<B> {
    fn default() -> Self {
        Self {
            items: B::default(),
            offsets: vec![0],
        }
    }
}

impl<B> ListValues<B> {
    pub(super) fn end_row(&mut self, added: usize) {
        let last = self.offsets.last().copied().unwrap_or(0) as usize + added;
        self.offsets
            .push(i32::try_from(last).expect("a snapshot batch has below 2^31 list items"));
    }

    /// Whether so many items of a type were collected that the batch should be cut.
    pub(super) fn is_full<V: Field<Builder = B>>(&self) -> bool
    where
        B: FieldBuilder<V>,
    {
        let count = self.offsets.last().copied().unwrap_or(0) as usize;
        count * size_of::<V>() >= BATCH_BYTES || self.items.is_full()
    }

    fn take_offsets(&mut self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(std::mem::take(&mut self.offsets)))
    }
}

/// Any number of values a key, in the order in which they were added.
pub struct ListState<V>(PhantomData<V>);

impl<V: Field> ListState<V> {
    fn item_field() -> Arc<ArrowField> {
        Arc::new(ArrowField::new("item", V::data_type(), V::IS_NULLABLE))
    }
}

impl<V: Field> StateKind for ListState<V> {
    type Stored = Arc<Vec<V>>;
    type Cell<'a> = ListCell<'a, V>;
    type Values = ListValues<V::Builder>;
    const KIND: &'static str = "list";

    fn type_name() -> String {
        V::type_name()
    }

    fn data_type() -> DataType {
        DataType::List(Self::item_field())
    }

    fn looks_alike(stored: &Self::Stored, other: &Self::Stored) -> bool {
        Arc::ptr_eq(stored, other)
    }

    fn cell(column: &mut Column<Self>, row: Row) -> ListCell<'_, V> {
        ListCell::new(column, row)
    }

    fn push(values: &mut Self::Values, stored: &Arc<Vec<V>>) {
        stored
            .iter()
            .for_each(|item| values.items.push(item.as_view()));
        values.end_row(stored.len());
    }

    fn is_full(values: &Self::Values) -> bool {
        values.is_full::<V>()
    }

    fn finish(mut values: Self::Values, nulls: Option<NullBuffer>) -> ArrayRef {
        let offsets = values.take_offsets();
        Arc::new(ListArray::new(
            Self::item_field(),
            offsets,
            values.items.finish(),
            nulls,
        ))
    }

    fn decode(array: &ArrayRef) -> Option<Vec<Option<Arc<Vec<V>>>>> {
        let lists = array.as_any().downcast_ref::<ListArray>()?;
        let rows = (0..lists.len()).map(|row| {
            let items = decode_fields::<V>(&lists.value(row))?;
            Some(lists.is_valid(row).then(|| Arc::new(items)))
        });
        rows.collect()
    }
}

/// A map of its own for each key, ordered by the map's keys.
pub struct MapState<K, V>(PhantomData<(K, V)>);

/// Collects rows of a map state.
pub struct MapValues<K, V> {
    keys: ListValues<K>,
    values: V,
}

impl<K: Default, V: Default> Default for MapValues<K, V> {
    fn default() -> Self {
        Self {
            keys: ListValues::default(),
            values: V::default(),
        }
    }
}

impl<K: Key + Ord, V: Field> MapState<K, V> {
    fn entry_fields() -> Fields {
        Fields::from(vec![
            ArrowField::new("key", K::data_type(), false),
            ArrowField::new("value", V::data_type(), V::IS_NULLABLE),
        ])
    }

    fn entries_field() -> Arc<ArrowField> {
        Arc::new(ArrowField::new(
            "entries",
            DataType::Struct(Self::entry_fields()),
            false,
        ))
    }
}

impl<K: Key + Ord, V: Field> StateKind for MapState<K, V> {
    type Stored = Arc<BTreeMap<K, V>>;
    type Cell<'a> = MapCell<'a, K, V>;
    type Values = MapValues<K::Builder, V::Builder>;
    const KIND: &'static str = "map";

    fn type_name() -> String {
        format!("{} -> {}", K::type_name(), V::type_name())
    }

    fn data_type() -> DataType {
        const {
            assert!(
                !K::IS_NULLABLE,
                "the key of a map's entry is always there: use no Option"
            )
        };
        DataType::Map(Self::entries_field(), true)
    }

    fn looks_alike(stored: &Self::Stored, other: &Self::Stored) -> bool {
        Arc::ptr_eq(stored, other)
    }

    fn cell(column: &mut Column<Self>, row: Row) -> MapCell<'_, K, V> {
        MapCell::new(column, row)
    }

    fn push(values: &mut Self::Values, stored: &Self::Stored) {
        for (key, value) in stored.iter() {
            values.keys.items.push(key.as_view());
            values.values.push(value.as_view());
        }
        values.keys.end_row(stored.len());
    }

    fn is_full(values: &Self::Values) -> bool {
        values.keys.is_full::<K>() || values.values.is_full()
    }

    fn finish(mut values: Self::Values, nulls: Option<NullBuffer>) -> ArrayRef {
        let offsets = values.keys.take_offsets();
        let columns = vec![values.keys.items.finish(), values.values.finish()];
        let entries = StructArray::new(Self::entry_fields(), columns, None);
        Arc::new(MapArray::new(
            Self::entries_field(),
            offsets,
            entries,
            nulls,
            true,
        ))
    }

    fn decode(array: &ArrayRef) -> Option<Vec<Option<Self::Stored>>> {
        let maps = array.as_any().downcast_ref::<MapArray>()?;
        let rows = (0..maps.len()).map(|row| {
            let entries = maps.value(row);
            let keys = decode_fields::<K>(entries.column(0))?;
            let values = decode_fields::<V>(entries.column(1))?;
            let map = keys.into_iter().zip(values).collect();
            Some(maps.is_valid(row).then(|| Arc::new(map)))
        });
        rows.collect()
    }
}
