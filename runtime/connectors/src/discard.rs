//! A sink that forgets.

use std::marker::PhantomData;

use tidegate_engine::{Record, Result, Rows, Sink, SinkContext, SinkWriter};

/// Takes records and does nothing with them: for measurements.
#[derive(Debug)]
pub struct Discard<R>(PhantomData<fn(R)>);

impl<R> Default for Discard<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Discard<R> {
    /// Makes one.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R: Record> Sink for Discard<R> {
    type Item = R;
    type Writer = Self;

    fn writer(&self, _: SinkContext) -> Result<Self> {
        Ok(Self::new())
    }
}

impl<R: Record> SinkWriter for Discard<R> {
    type Item = R;

    async fn write(&mut self, _: &Rows<R>) -> Result<()> {
        Ok(())
    }
}
