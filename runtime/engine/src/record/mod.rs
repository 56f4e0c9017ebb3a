//! How a Rust type becomes columns and a row of columns is read back without copying.
//!
//! A [`Record`] is what a stream carries: one or more columns. A [`Field`] is what one column
//! holds. User code sees borrowed [views](Record::View) of rows and pushes views into builders;
//! nothing is allocated for a record that the user does not allocate.

mod fixed_bytes;
mod list;
mod optional;
mod output;
mod primitive;
mod structure;
#[cfg(test)]
mod tests;
mod text;
mod timestamp;
mod tuple;

pub use list::{ListItem, ListIter, ListView};
pub use output::Output;
#[doc(hidden)]
pub use structure::{
    arrow_field, as_struct, struct_column, struct_part, struct_type, struct_type_name,
};
pub use timestamp::Timestamp;

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Schema, SchemaRef};

/// What one column holds: numbers, text, bytes, optional ones, lists, and nested records.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be held in a column",
    label = "not a column type",
    note = "column types are bool, i8 to i64, u8 to u64, f32, f64, String, Vec<u8>, [u8; N], \
            Timestamp, an Option, a Vec or a tuple of column types, and structs of them",
    note = "a struct of your own becomes one with #[derive(Clone, Default, Record)]",
    note = "a moment is a Timestamp, a duration a u64 with its unit in the field's name"
)]
pub trait Field: Clone + Default + Send + Sync + 'static {
    /// A row's value, borrowed from its column.
    type View<'a>: Copy + PartialEq + Debug;
    /// The column, downcast once for each chunk.
    type Column: Clone + 'static;
    /// Collects rows into a column.
    type Builder: FieldBuilder<Self>;

    /// Whether a column may hold nulls.
    const IS_NULLABLE: bool = false;

    /// The column's Arrow type.
    fn data_type() -> DataType;

    /// The name in state schemas: stable for ever.
    fn type_name() -> String;

    /// Downcasts a column whose nulls are seen to elsewhere, so that a row hidden by one may read
    /// as any value; `None` where it has another type.
    fn values(array: &ArrayRef) -> Option<Self::Column>;

    /// Downcasts a column; `None` where it has another type, or nulls that the type cannot hold.
    fn column(array: &ArrayRef) -> Option<Self::Column> {
        if Self::IS_NULLABLE || array.null_count() == 0 {
            Self::values(array)
        } else {
            None
        }
    }

    /// Reads a row.
    ///
    /// # Panics
    /// Where `row` is not below the column's length.
    fn view(column: &Self::Column, row: usize) -> Self::View<'_>;

    /// The view of an owned value.
    fn as_view(&self) -> Self::View<'_>;

    /// An owned copy of a view.
    fn from_view(view: Self::View<'_>) -> Self;
}

/// Collects a column.
pub trait FieldBuilder<F: Field>: Default + Send + 'static {
    /// Makes room for this many rows more.
    fn reserve(&mut self, additional: usize);

    /// Appends a row.
    fn push(&mut self, view: F::View<'_>);

    /// Whether so many bytes were collected that the chunk should be cut, however few rows they
    /// are.
    #[inline]
    fn is_full(&self) -> bool {
        false
    }

    /// Takes what was collected, with nulls where `nulls` says so; the builder is empty afterwards.
    ///
    /// # Panics
    /// Where `nulls` is not as long as the column.
    fn finish_with(&mut self, nulls: Option<NullBuffer>) -> ArrayRef;

    /// Takes what was collected; the builder is empty afterwards.
    fn finish(&mut self) -> ArrayRef {
        self.finish_with(None)
    }
}

/// What a stream carries: a fixed list of columns. Derive it with `#[derive(Record)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be carried by a stream",
    label = "not a record",
    note = "records are structs with #[derive(Clone, Default, Record)], column types such as u64 \
            or String, and tuples of column types"
)]
pub trait Record: Clone + Send + Sync + 'static {
    /// A row, borrowed from its columns.
    type View<'a>: Copy;
    /// The columns, downcast once for each chunk.
    type Columns: Clone + 'static;
    /// Collects rows into columns.
    type Builder: RecordBuilder<Self>;

    /// The columns' names and types.
    fn fields() -> Vec<arrow_schema::Field>;

    /// Downcasts columns given in the order of [`Record::fields`]; `None` where one has another
    /// type.
    fn columns(arrays: &[ArrayRef]) -> Option<Self::Columns>;

    /// Reads a row.
    ///
    /// # Panics
    /// Where `row` is not below the columns' length.
    fn view(columns: &Self::Columns, row: usize) -> Self::View<'_>;

    /// The view of an owned record.
    fn as_view(&self) -> Self::View<'_>;

    /// An owned copy of a view.
    fn from_view(view: Self::View<'_>) -> Self;

    /// The Arrow schema.
    fn schema() -> SchemaRef {
        Arc::new(Schema::new(Self::fields()))
    }
}

/// Collects a record's columns.
pub trait RecordBuilder<R: Record>: Default + Send + 'static {
    /// Makes room for this many rows more.
    fn reserve(&mut self, additional: usize);

    /// Appends a row.
    fn push(&mut self, view: R::View<'_>);

    /// Whether so many bytes were collected that the chunk should be cut, however few rows they
    /// are.
    #[inline]
    fn is_full(&self) -> bool {
        false
    }

    /// Takes the columns collected; the builder is empty afterwards.
    fn finish(&mut self) -> Vec<ArrayRef>;
}

/// A single column as a record: its one column is named `value`.
macro_rules! field_as_record {
    (@items) => {
        type View<'a> = <Self as Field>::View<'a>;
        type Columns = <Self as Field>::Column;
        type Builder = SingleColumn<Self>;

        fn fields() -> Vec<arrow_schema::Field> {
            vec![super::arrow_field::<Self>("value")]
        }

        #[inline]
        fn columns(arrays: &[ArrayRef]) -> Option<Self::Columns> {
            match arrays {
                [array] => <Self as Field>::column(array),
                _ => None,
            }
        }

        #[inline]
        fn view(columns: &Self::Columns, row: usize) -> <Self as Field>::View<'_> {
            <Self as Field>::view(columns, row)
        }

        #[inline]
        fn as_view(&self) -> <Self as Field>::View<'_> {
            <Self as Field>::as_view(self)
        }

        #[inline]
        fn from_view(view: <Self as Field>::View<'_>) -> Self {
            <Self as Field>::from_view(view)
        }
    };
    ([$param:ident: $bound:path] $type:ty) => {
        impl<$param: $bound> Record for $type {
            super::field_as_record!(@items);
        }
    };
    ($($type:ty),* $(,)?) => {$(
        impl Record for $type {
            super::field_as_record!(@items);
        }
    )*};
}
use field_as_record;

/// The builder of a record that is one field.
#[derive(Debug)]
pub struct SingleColumn<F: Field> {
    builder: F::Builder,
}

impl<F: Field> Default for SingleColumn<F> {
    fn default() -> Self {
        Self {
            builder: F::Builder::default(),
        }
    }
}

impl<F> RecordBuilder<F> for SingleColumn<F>
where
    F: Field + for<'a> Record<View<'a> = <F as Field>::View<'a>>,
{
    #[inline]
    fn reserve(&mut self, additional: usize) {
        self.builder.reserve(additional);
    }

    #[inline]
    fn push(&mut self, view: <F as Field>::View<'_>) {
        self.builder.push(view);
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![self.builder.finish()]
    }
}

/// A chunk's rows, read as records of one type.
#[derive(Clone)]
pub struct Rows<R: Record> {
    columns: R::Columns,
    batch: RecordBatch,
}

impl<R: Record> Rows<R> {
    /// Reads a batch's columns; `None` where they are not this record's.
    pub fn of(batch: &RecordBatch) -> Option<Self> {
        let columns = R::columns(batch.columns())?;
        Some(Self {
            columns,
            batch: batch.clone(),
        })
    }

    /// The rows as Arrow columns, for formats that take any record.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batch.num_rows() == 0
    }

    /// One row.
    ///
    /// # Panics
    /// Where `row` is not below [`Rows::len`].
    #[inline]
    pub fn get(&self, row: usize) -> R::View<'_> {
        R::view(&self.columns, row)
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = R::View<'_>> {
        (0..self.len()).map(|row| R::view(&self.columns, row))
    }
}
