//! `filter`: the records for which a condition holds.

use std::marker::PhantomData;

use crate::chunk::{Chunk, Element};
use crate::error::Result;
use crate::operator::Transform;
use crate::operator::flat_map::{pass_on, rows_of};
use crate::record::{Output, Record};

/// Keeps some records.
pub(crate) struct Filter<T: Record, F> {
    condition: F,
    output: Output<T>,
    input: PhantomData<T>,
}

impl<T: Record, F> Filter<T, F> {
    pub(crate) fn new(condition: F) -> Self {
        Self {
            condition,
            output: Output::default(),
            input: PhantomData,
        }
    }
}

impl<T, F> Transform for Filter<T, F>
where
    T: Record,
    F: Fn(T::View<'_>) -> bool,
{
    fn on_chunk(&mut self, chunk: Chunk, output: &mut Vec<Element>) -> Result<()> {
        let rows = rows_of::<T>(&chunk);
        self.output.set_timestamp(None);
        for (row, view) in rows.iter().enumerate() {
            if (self.condition)(view) {
                if let Some(timestamps) = &chunk.timestamps {
                    self.output.set_timestamp(Some(timestamps[row]));
                }
                self.output.push(view);
            }
        }
        pass_on(&mut self.output, &chunk, output);
        Ok(())
    }
}
