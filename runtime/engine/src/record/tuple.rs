//! Tuples: records of columns `_0`, `_1` and so on, and struct columns of the same parts.

use arrow_array::ArrayRef;
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use super::structure::{
    arrow_field, as_struct, struct_column, struct_part, struct_type, struct_type_name,
};
use super::{Field, FieldBuilder, ListItem, Record, RecordBuilder};

macro_rules! tuples {
    ($($count:literal: $($part:ident $index:tt $name:literal),+;)*) => {$(
        impl<$($part: Field),+> Field for ($($part,)+) {
            type View<'a> = ($($part::View<'a>,)+);
            type Column = ($($part::Column,)+);
            type Builder = ($($part::Builder,)+);

            fn data_type() -> DataType {
                struct_type(<Self as Record>::fields())
            }

            fn type_name() -> String {
                struct_type_name(&[$(($name, $part::type_name())),+])
            }

            fn values(array: &ArrayRef) -> Option<Self::Column> {
                let array = as_struct(array, $count)?;
                Some(($(struct_part::<$part>(array, $index, $name)?,)+))
            }

            #[inline]
            fn view(column: &Self::Column, row: usize) -> <Self as Field>::View<'_> {
                ($($part::view(&column.$index, row),)+)
            }

            #[inline]
            fn as_view(&self) -> <Self as Field>::View<'_> {
                ($(self.$index.as_view(),)+)
            }

            #[inline]
            fn from_view(view: <Self as Field>::View<'_>) -> Self {
                ($($part::from_view(view.$index),)+)
            }
        }

        impl<$($part: Field),+> ListItem for ($($part,)+) {}

        impl<$($part: Field),+> FieldBuilder<($($part,)+)> for ($($part::Builder,)+) {
            fn reserve(&mut self, additional: usize) {
                $(self.$index.reserve(additional);)+
            }

            #[inline]
            fn is_full(&self) -> bool {
                $(self.$index.is_full())||+
            }

            #[inline]
            fn push(&mut self, view: <($($part,)+) as Field>::View<'_>) {
                $(self.$index.push(view.$index);)+
            }

            fn finish_with(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
                let fields = <($($part,)+) as Record>::fields();
                struct_column(fields, vec![$(self.$index.finish()),+], nulls)
            }
        }

        impl<$($part: Field),+> Record for ($($part,)+) {
            type View<'a> = ($($part::View<'a>,)+);
            type Columns = ($($part::Column,)+);
            type Builder = ($($part::Builder,)+);

            fn fields() -> Vec<arrow_schema::Field> {
                vec![$(arrow_field::<$part>($name)),+]
            }

            fn columns(arrays: &[ArrayRef]) -> Option<Self::Columns> {
                let arrays: &[ArrayRef; $count] = arrays.try_into().ok()?;
                Some(($($part::column(&arrays[$index])?,)+))
            }

            #[inline]
            fn view(columns: &Self::Columns, row: usize) -> <Self as Record>::View<'_> {
                <Self as Field>::view(columns, row)
            }

            #[inline]
            fn as_view(&self) -> <Self as Record>::View<'_> {
                <Self as Field>::as_view(self)
            }

            #[inline]
            fn from_view(view: <Self as Record>::View<'_>) -> Self {
                <Self as Field>::from_view(view)
            }
        }

        impl<$($part: Field),+> RecordBuilder<($($part,)+)> for ($($part::Builder,)+) {
            fn reserve(&mut self, additional: usize) {
                <Self as FieldBuilder<($($part,)+)>>::reserve(self, additional);
            }

            #[inline]
            fn is_full(&self) -> bool {
                <Self as FieldBuilder<($($part,)+)>>::is_full(self)
            }

            #[inline]
            fn push(&mut self, view: <($($part,)+) as Field>::View<'_>) {
                <Self as FieldBuilder<($($part,)+)>>::push(self, view);
            }

            fn finish(&mut self) -> Vec<ArrayRef> {
                vec![$(self.$index.finish()),+]
            }
        }
    )*};
}

tuples! {
    2: A 0 "_0", B 1 "_1";
    3: A 0 "_0", B 1 "_1", C 2 "_2";
    4: A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3";
    5: A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4";
    6: A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4", F 5 "_5";
}
