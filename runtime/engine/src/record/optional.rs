//! Columns that may hold nulls: `Option` of a field.

use std::fmt;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::{NullBuffer, NullBufferBuilder};
use arrow_schema::DataType;

use super::{Field, FieldBuilder, Record, SingleColumn};

/// A column of values and the nulls over them.
pub struct OptionColumn<F: Field> {
    values: F::Column,
    nulls: Option<NullBuffer>,
}

impl<F: Field> Clone for OptionColumn<F> {
    fn clone(&self) -> Self {
        Self {
            values: self.values.clone(),
            nulls: self.nulls.clone(),
        }
    }
}

/// Collects values and nulls. The bitmap of nulls is made at the first null.
pub struct OptionBuilder<F: Field> {
    values: F::Builder,
    nulls: NullBufferBuilder,
    /// What lies under a null.
    absent: F,
}

impl<F: Field> Default for OptionBuilder<F> {
    fn default() -> Self {
        Self {
            values: F::Builder::default(),
            nulls: NullBufferBuilder::new(0),
            absent: F::default(),
        }
    }
}

impl<F: Field> fmt::Debug for OptionBuilder<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OptionBuilder")
            .field("row_count", &self.nulls.len())
            .finish_non_exhaustive()
    }
}

impl<F: Field> Field for Option<F> {
    type View<'a> = Option<F::View<'a>>;
    type Column = OptionColumn<F>;
    type Builder = OptionBuilder<F>;

    const IS_NULLABLE: bool = true;

    fn data_type() -> DataType {
        const {
            assert!(
                !F::IS_NULLABLE,
                "an Option of an Option is no column type: a column has one kind of null"
            );
        }
        F::data_type()
    }

    fn type_name() -> String {
        format!("option<{}>", F::type_name())
    }

    fn values(array: &ArrayRef) -> Option<OptionColumn<F>> {
        Some(OptionColumn {
            values: F::values(array)?,
            nulls: array
                .nulls()
                .filter(|nulls| nulls.null_count() > 0)
                .cloned(),
        })
    }

    #[inline]
    fn view(column: &OptionColumn<F>, row: usize) -> Option<F::View<'_>> {
        match &column.nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => Some(F::view(&column.values, row)),
        }
    }

    #[inline]
    fn as_view(&self) -> Option<F::View<'_>> {
        self.as_ref().map(F::as_view)
    }

    #[inline]
    fn from_view(view: Option<F::View<'_>>) -> Self {
        view.map(F::from_view)
    }
}

impl<F: Field> FieldBuilder<Option<F>> for OptionBuilder<F> {
    fn reserve(&mut self, additional: usize) {
        self.values.reserve(additional);
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.values.is_full()
    }

    #[inline]
    fn push(&mut self, view: Option<F::View<'_>>) {
        match view {
            Some(view) => {
                self.values.push(view);
                self.nulls.append_non_null();
            }
            None => {
                self.values.push(self.absent.as_view());
                self.nulls.append_null();
            }
        }
    }

    fn finish_with(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let own = self.nulls.finish();
        self.values
            .finish_with(NullBuffer::union(own.as_ref(), nulls.as_ref()))
    }
}

super::field_as_record!([F: Field] Option<F>);
