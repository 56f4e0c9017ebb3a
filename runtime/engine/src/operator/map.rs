//! `map`: one record for each record.

use std::marker::PhantomData;

use crate::chunk::{Chunk, Element};
use crate::error::Result;
use crate::operator::Transform;
use crate::operator::flat_map::{pass_on, rows_of};
use crate::record::{Output, Record};

/// Applies a function to each record.
pub(crate) struct Map<T: Record, U: Record, F> {
    function: F,
    output: Output<U>,
    input: PhantomData<T>,
}

impl<T: Record, U: Record, F> Map<T, U, F> {
    pub(crate) fn new(function: F) -> Self {
        Self {
            function,
            output: Output::default(),
            input: PhantomData,
        }
    }
}

impl<T, U, F> Transform for Map<T, U, F>
where
    T: Record,
    U: Record,
    F: Fn(T::View<'_>) -> U,
{
    fn on_chunk(&mut self, chunk: Chunk, output: &mut Vec<Element>) -> Result<()> {
        let rows = rows_of::<T>(&chunk);
        self.output.set_timestamp(None);
        for (row, view) in rows.iter().enumerate() {
            if let Some(timestamps) = &chunk.timestamps {
                self.output.set_timestamp(Some(timestamps[row]));
            }
            self.output.emit(&(self.function)(view));
        }
        pass_on(&mut self.output, &chunk, output);
        Ok(())
    }
}
