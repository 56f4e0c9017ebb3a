//! Lists as a field: `Vec` of another field.
//!
//! `Vec<u8>` is bytes and no list, so what can be an item is marked by [`ListItem`], which `u8` is
//! not.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::{Field, FieldBuilder, Record, SingleColumn, Timestamp};

/// A field that lists can hold; all but `u8`, whose `Vec` is bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an item of a list in a column",
    label = "not an item of lists",
    note = "items are column types other than u8 (a Vec<u8> is bytes), and structs of your own \
            with #[derive(Clone, Default, Record)]"
)]
pub trait ListItem: Field {}

macro_rules! list_items {
    ($($type:ty),*) => {$(impl ListItem for $type {})*};
}

list_items!(
    bool,
    i8,
    i16,
    i32,
    i64,
    u16,
    u32,
    u64,
    f32,
    f64,
    String,
    Vec<u8>,
    Timestamp
);
impl<F: Field> ListItem for Option<F> {}
impl<F: ListItem> ListItem for Vec<F> {}
impl<const N: usize> ListItem for [u8; N] where [u8; N]: Default {}

/// A list, borrowed from a column or from owned values.
pub struct ListView<'a, F: Field>(Items<'a, F>);

enum Items<'a, F: Field> {
    Owned(&'a [F]),
    /// Rows `start..end` of the column of all lists' items.
    Column(&'a F::Column, usize, usize),
}

impl<F: Field> Clone for Items<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Field> Copy for Items<'_, F> {}

impl<F: Field> Clone for ListView<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Field> Copy for ListView<'_, F> {}

impl<F: Field> Default for ListView<'_, F> {
    fn default() -> Self {
        Self(Items::Owned(&[]))
    }
}

impl<'a, F: Field> ListView<'a, F> {
    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        match self.0 {
            Items::Owned(items) => items.len(),
            Items::Column(_, start, end) => end - start,
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One item, counted from 0, if there are as many.
    #[inline]
    pub fn get(&self, index: usize) -> Option<F::View<'a>> {
        match self.0 {
            Items::Owned(items) => items.get(index).map(F::as_view),
            Items::Column(items, start, end) if index < end - start => {
                Some(F::view(items, start + index))
            }
            Items::Column(..) => None,
        }
    }

    /// All items in order.
    #[inline]
    pub fn iter(&self) -> ListIter<'a, F> {
        ListIter {
            list: *self,
            rest: 0..self.len(),
        }
    }

    /// An owned copy.
    pub fn to_vec(&self) -> Vec<F> {
        match self.0 {
            Items::Owned(items) => items.to_vec(),
            Items::Column(..) => self.iter().map(F::from_view).collect(),
        }
    }
}

impl<'a, F: Field> From<&'a [F]> for ListView<'a, F> {
    fn from(items: &'a [F]) -> Self {
        Self(Items::Owned(items))
    }
}

impl<'a, F: Field> From<&'a Vec<F>> for ListView<'a, F> {
    fn from(items: &'a Vec<F>) -> Self {
        Self(Items::Owned(items))
    }
}

impl<'a, F: Field, const N: usize> From<&'a [F; N]> for ListView<'a, F> {
    fn from(items: &'a [F; N]) -> Self {
        Self(Items::Owned(items))
    }
}

impl<F: Field> PartialEq for ListView<'_, F> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<F: Field> fmt::Debug for ListView<'_, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, F: Field> IntoIterator for ListView<'a, F> {
    type Item = F::View<'a>;
    type IntoIter = ListIter<'a, F>;

    #[inline]
    fn into_iter(self) -> ListIter<'a, F> {
        self.iter()
    }
}

/// The items of a list, in order.
#[derive(Debug, Clone)]
pub struct ListIter<'a, F: Field> {
    list: ListView<'a, F>,
    rest: Range<usize>,
}

impl<'a, F: Field> Iterator for ListIter<'a, F> {
    type Item = F::View<'a>;

    #[inline]
    fn next(&mut self) -> Option<F::View<'a>> {
        self.list.get(self.rest.next()?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl<F: Field> ExactSizeIterator for ListIter<'_, F> {}

impl<F: Field> DoubleEndedIterator for ListIter<'_, F> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.list.get(self.rest.next_back()?)
    }
}

/// A column of lists: the items of all of them, and where each list ends.
pub struct ListColumn<F: Field> {
    offsets: OffsetBuffer<i32>,
    items: F::Column,
}

impl<F: Field> Clone for ListColumn<F> {
    fn clone(&self) -> Self {
        Self {
            offsets: self.offsets.clone(),
            items: self.items.clone(),
        }
    }
}

/// Items after which a chunk is cut, however few rows they are.
const CHUNK_ITEMS: usize = 1 << 20;

/// Collects lists.
pub struct ListBuilder<F: Field> {
    offsets: Vec<i32>,
    items: F::Builder,
    item_count: usize,
}

impl<F: Field> Default for ListBuilder<F> {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            items: F::Builder::default(),
            item_count: 0,
        }
    }
}

impl<F: ListItem> Field for Vec<F> {
    type View<'a> = ListView<'a, F>;
    type Column = ListColumn<F>;
    type Builder = ListBuilder<F>;

    fn data_type() -> DataType {
        DataType::List(item_field::<F>())
    }

    fn type_name() -> String {
        format!("list<{}>", F::type_name())
    }

    fn values(array: &ArrayRef) -> Option<ListColumn<F>> {
        let array = array.as_any().downcast_ref::<ListArray>()?;
        Some(ListColumn {
            offsets: array.offsets().clone(),
            items: F::column(array.values())?,
        })
    }

    #[inline]
    fn view(column: &ListColumn<F>, row: usize) -> ListView<'_, F> {
        // Offsets are never negative.
        let (start, end) = (
            column.offsets[row] as usize,
            column.offsets[row + 1] as usize,
        );
        ListView(Items::Column(&column.items, start, end))
    }

    #[inline]
    fn as_view(&self) -> ListView<'_, F> {
        ListView::from(self)
    }

    #[inline]
    fn from_view(view: ListView<'_, F>) -> Self {
        view.to_vec()
    }
}

fn item_field<F: Field>() -> Arc<arrow_schema::Field> {
    Arc::new(super::arrow_field::<F>("item"))
}

impl<F: ListItem> FieldBuilder<Vec<F>> for ListBuilder<F> {
    fn reserve(&mut self, additional: usize) {
        self.offsets.reserve(additional);
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.items.is_full() || self.item_count >= CHUNK_ITEMS
    }

    #[inline]
    fn push(&mut self, view: ListView<'_, F>) {
        view.iter().for_each(|item| self.items.push(item));
        self.item_count += view.len();
        let end = i32::try_from(self.item_count).expect("a chunk's lists have below 2^31 items");
        self.offsets.push(end);
    }

    fn finish_with(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        self.item_count = 0;
        // Offsets only grow, since each is the number of items after a push.
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let items = self.items.finish();
        Arc::new(ListArray::new(item_field::<F>(), offsets, items, nulls))
    }
}

impl<F: ListItem> Record for Vec<F> {
    super::field_as_record!(@items);
}
