//! Sources and sinks with the types of their records erased.

use futures::future::{BoxFuture, LocalBoxFuture};
use serde_json::Value;
use tidegate_protocol::CheckpointId;

use crate::chunk::Chunk;
use crate::error::Result;
use crate::graph::{AnySink, AnySource, AnyWriter, SourceHead};
use crate::operator::rows_of;
use crate::sink::{Sink, SinkContext, SinkRecovery, SinkWriter};
use crate::source::{
    ReadStatus, Replay, Source, SourceContext, SourceOutput, SourceReader, Split, SplitState,
};

pub(super) struct ErasedSource<S>(pub(super) S);

impl<S: Source> AnySource for ErasedSource<S> {
    fn discover(&self, known: &[SplitState]) -> Result<Vec<Split>> {
        self.0.discover(known)
    }

    fn head(&self, splits: Vec<SplitState>, context: SourceContext) -> Result<Box<dyn SourceHead>> {
        let reader = self.0.reader(splits, context)?;
        Ok(Box::new(Reading {
            reader,
            output: SourceOutput::default(),
        }))
    }

    fn replay(&self) -> Replay {
        self.0.replay()
    }
}

struct Reading<R: SourceReader> {
    reader: R,
    output: SourceOutput<R::Item>,
}

impl<R: SourceReader> SourceHead for Reading<R> {
    fn read(&mut self) -> LocalBoxFuture<'_, Result<ReadStatus>> {
        Box::pin(self.reader.read(&mut self.output))
    }

    fn want(&mut self, rows: usize) {
        self.output.want(rows);
    }

    fn take(&mut self, is_all: bool) -> (Vec<Chunk>, Vec<u32>) {
        if is_all || self.output.len() >= self.output.wanted_rows() {
            self.output.inner().cut();
        }
        (
            self.output.inner().take_ready(),
            self.output.take_ended_splits(),
        )
    }

    fn has_rest(&self) -> bool {
        !self.output.is_empty()
    }

    fn snapshot(&self) -> Vec<SplitState> {
        self.reader.snapshot()
    }
}

pub(super) struct ErasedSink<S>(pub(super) S);

impl<S: Sink> AnySink for ErasedSink<S> {
    fn writer(&self, context: SinkContext) -> Result<Box<dyn AnyWriter>> {
        Ok(Box::new(Writing(self.0.writer(context)?)))
    }

    fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        self.0.commit(transactions)
    }

    fn recover(
        &self,
        recovery: SinkRecovery,
        transactions: Vec<Value>,
    ) -> BoxFuture<'static, Result<()>> {
        self.0.recover(recovery, transactions)
    }

    fn location(&self) -> Option<String> {
        self.0.location()
    }
}

struct Writing<W>(W);

impl<W: SinkWriter> AnyWriter for Writing<W> {
    fn write<'a>(&'a mut self, chunk: &'a Chunk) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { self.0.write(&rows_of::<W::Item>(chunk)).await })
    }

    fn flush(&mut self) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(self.0.flush())
    }

    fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        self.0.pre_commit(checkpoint)
    }
}
