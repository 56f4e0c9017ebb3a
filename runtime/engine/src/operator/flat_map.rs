//! `flat_map`: any number of records for each record.

use std::marker::PhantomData;

use crate::chunk::{Chunk, Element};
use crate::error::Result;
use crate::operator::Transform;
use crate::record::{Output, Record, Rows};

/// Applies a function that pushes records for each record.
pub(crate) struct FlatMap<T: Record, U: Record, F> {
    function: F,
    output: Output<U>,
    input: PhantomData<T>,
}

impl<T: Record, U: Record, F> FlatMap<T, U, F> {
    pub(crate) fn new(function: F) -> Self {
        Self {
            function,
            output: Output::default(),
            input: PhantomData,
        }
    }
}

impl<T, U, F> Transform for FlatMap<T, U, F>
where
    T: Record,
    U: Record,
    F: FnMut(T::View<'_>, &mut Output<U>) -> Result<()>,
{
    fn on_chunk(&mut self, chunk: Chunk, output: &mut Vec<Element>) -> Result<()> {
        let rows = rows_of::<T>(&chunk);
        match &chunk.timestamps {
            None => {
                self.output.set_timestamp(None);
                for view in rows.iter() {
                    (self.function)(view, &mut self.output)?;
                }
            }
            Some(timestamps) => {
                for (view, timestamp) in rows.iter().zip(timestamps.iter()) {
                    self.output.set_timestamp(Some(*timestamp));
                    (self.function)(view, &mut self.output)?;
                }
            }
        }
        pass_on(&mut self.output, &chunk, output);
        Ok(())
    }
}

/// A chunk's rows as the type that the graph's types promise.
pub(crate) fn rows_of<T: Record>(chunk: &Chunk) -> Rows<T> {
    Rows::of(&chunk.batch).expect("the typed API connects operators of one record type only")
}

/// Hands on what came of one input chunk.
pub(crate) fn pass_on<U: Record>(from: &mut Output<U>, input: &Chunk, output: &mut Vec<Element>) {
    for mut chunk in from.take_all() {
        chunk.split = input.split;
        output.push(Element::Chunk(chunk));
    }
}
