//! Whatever part of an operator fails, the failure names that operator.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;

use futures::future::BoxFuture;
use harness::Job;
use serde_json::Value;
use tidegate_engine::{
    KeyedContext, KeyedProcess, Output, Pipeline, ReadStatus, Result, Rows, Sink, SinkContext,
    SinkWriter, Source, SourceContext, SourceOutput, SourceReader, Split, SplitState,
};
use tidegate_protocol::{CheckpointId, FromWorker};

/// Which part fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Snapshot,
    Map,
    Selector,
    OtherSelector,
    Process,
    Write,
    Flush,
    PreCommit,
}

/// One number, and then silence.
#[derive(Clone)]
struct One(Part);

struct OneReader {
    part: Part,
    is_read: bool,
}

impl Source for One {
    type Item = u64;
    type Reader = OneReader;

    fn discover(&self, _: &[SplitState]) -> Result<Vec<Split>> {
        Ok(vec![Split {
            id: "one".into(),
            weight: 1,
            spec: Value::Null,
        }])
    }

    fn reader(&self, _: Vec<SplitState>, _: SourceContext) -> Result<OneReader> {
        Ok(OneReader {
            part: self.0,
            is_read: false,
        })
    }
}

impl SourceReader for OneReader {
    type Item = u64;

    async fn read(&mut self, output: &mut SourceOutput<u64>) -> Result<ReadStatus> {
        if self.is_read {
            std::future::pending::<()>().await;
        }
        self.is_read = true;
        output.push(1);
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<SplitState> {
        assert_ne!(self.part, Part::Snapshot, "failed");
        Vec::new()
    }
}

#[derive(Clone)]
struct Same(Part);

impl KeyedProcess for Same {
    type Key = u64;
    type Input = u64;
    type Output = u64;
    type State = ();

    fn process(
        &mut self,
        number: u64,
        _: &mut KeyedContext<'_, u64, ()>,
        output: &mut Output<u64>,
    ) -> Result<()> {
        assert_ne!(self.0, Part::Process, "failed");
        output.push(number);
        Ok(())
    }
}

#[derive(Clone)]
struct End(Part);

impl Sink for End {
    type Item = u64;
    type Writer = Self;

    fn writer(&self, _: SinkContext) -> Result<Self> {
        Ok(self.clone())
    }

    fn commit(&self, _: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

impl SinkWriter for End {
    type Item = u64;

    async fn write(&mut self, _: &Rows<u64>) -> Result<()> {
        assert_ne!(self.0, Part::Write, "failed");
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        assert_ne!(self.0, Part::Flush, "failed");
        Ok(())
    }

    fn pre_commit(&mut self, _: CheckpointId) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        assert_ne!(self.0, Part::PreCommit, "failed");
        Ok(Box::pin(async { Ok(Vec::new()) }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_the_operator_whose_part_failed() {
    let cases = [
        (Part::Snapshot, "one"),
        (Part::Map, "plus"),
        (Part::Selector, "same"),
        (Part::OtherSelector, "other"),
        (Part::Process, "same"),
        (Part::Write, "end"),
        (Part::Flush, "end"),
        (Part::PreCommit, "end"),
    ];
    for (part, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let pipeline = Pipeline::new();
        let fails_at = move |own: Part, number: u64| {
            assert_ne!(part, own, "failed");
            number
        };
        let numbers = pipeline
            .source("one", One(part))
            .map(move |number| fails_at(Part::Map, number))
            .named("plus");
        let same = numbers
            .clone()
            .key_by::<u64>(move |number| fails_at(Part::Selector, number));
        let other = numbers.key_by::<u64>(move |number| fails_at(Part::OtherSelector, number));
        same.process("same", Same(part)).sink("end", End(part));
        other
            .process("other", Same(Part::Map))
            .sink("other-end", End(Part::Map));
        let mut job = Job::new(pipeline.build().unwrap(), folder.path()).await;
        job.begin(None, 2).await;
        job.trigger_only(false);
        let operator = loop {
            match job.event().await {
                FromWorker::Failed { operator, .. } => break operator,
                FromWorker::Running { .. } => {
                    job.trigger_only(false);
                }
                _ => {}
            }
        };
        assert_eq!(operator.as_deref(), Some(expected), "{part:?}");
        job.shutdown().await;
    }
}
