//! The typed API: streams of records, described step by step.
//!
//! ```ignore
//! pipeline
//!     .source("lines", TextFiles::new("books/*.txt"))
//!     .flat_map::<String>(|line, out| line.split(' ').for_each(|word| out.push(word)))
//!     .key_by::<String>(|word| word)
//!     .process("count", CountWords)
//!     .sink("counts", Print::new());
//! ```

mod erased;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use tidegate_protocol::MaxParallelism;

use crate::error::Result;
use crate::exchange::{HashPartitioner, KeySelector};
use crate::graph::{Edge, Exchange, GraphBuilder, GraphError, JobGraph, NodeBody, NodeIndex};
use crate::key::Key;
use crate::operator::{
    Filter, FlatMap, KeyedProcess, Map, OperatorContext, Process, Transform, WatermarkStrategy,
    Watermarks,
};
use crate::record::{Output, Record};
use crate::sink::Sink;
use crate::source::Source;
use crate::state::KeyTable;
use erased::{ErasedSink, ErasedSource};

/// Where a job's description begins.
#[derive(Default)]
pub struct Pipeline {
    builder: Rc<RefCell<GraphBuilder>>,
    max: MaxParallelism,
}

impl Pipeline {
    /// An empty description.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of key groups, and so the highest parallelism the job can ever have. It is part
    /// of the state's format: a job keeps it for life.
    pub fn set_max_parallelism(&mut self, max: MaxParallelism) {
        self.max = max;
    }

    /// Reads a source. `id` names the source's positions in checkpoints: 1 to 63 lower-case
    /// letters, digits or dashes, unique in the job, and the same in every later version of it.
    pub fn source<S: Source>(&self, id: &str, source: S) -> Stream<S::Item> {
        let body = NodeBody::Source(Arc::new(ErasedSource(source)));
        let node = self.builder.borrow_mut().add(id, body, None, Vec::new());
        Stream {
            builder: Rc::clone(&self.builder),
            node,
            record: PhantomData,
        }
    }

    /// Ends the description.
    ///
    /// # Errors
    /// What was described is no job: ids that are used twice or not valid, no source, or an
    /// operator whose output goes nowhere.
    pub fn build(self) -> Result<JobGraph, GraphError> {
        self.builder.take().build(self.max)
    }
}

/// A stream of records. Cloned, it can be used in several places.
pub struct Stream<T: Record> {
    builder: Rc<RefCell<GraphBuilder>>,
    node: NodeIndex,
    record: PhantomData<T>,
}

impl<T: Record> Clone for Stream<T> {
    fn clone(&self) -> Self {
        Self {
            builder: Rc::clone(&self.builder),
            node: self.node,
            record: PhantomData,
        }
    }
}

impl<T: Record> Stream<T> {
    fn then<U: Record>(
        self,
        kind: &str,
        factory: impl Fn(&OperatorContext) -> Box<dyn Transform> + Send + Sync + 'static,
    ) -> Stream<U> {
        let inputs = vec![Edge {
            from: self.node,
            exchange: Exchange::Forward,
        }];
        let body = NodeBody::Transform(Arc::new(factory));
        let node = self.builder.borrow_mut().add_unnamed(kind, body, inputs);
        Stream {
            builder: self.builder,
            node,
            record: PhantomData,
        }
    }

    /// Names the last operator, for people: it is what messages, metrics and the graph call it. For
    /// operators that were made without an id, such as [`Stream::map`]: the id of a source or of
    /// [`KeyedStream::process`] names what checkpoints hold, so [`Pipeline::build`] refuses another
    /// name for it.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        self.builder.borrow_mut().rename(self.node, id);
        self
    }

    /// One record for each record.
    #[must_use]
    pub fn map<U: Record>(
        self,
        function: impl Fn(T::View<'_>) -> U + Send + Sync + 'static,
    ) -> Stream<U> {
        let function = Arc::new(function);
        self.then("map", move |_| {
            let function = Arc::clone(&function);
            Box::new(Map::<T, U, _>::new(move |view: T::View<'_>| function(view)))
        })
    }

    /// The records for which a condition holds.
    #[must_use]
    pub fn filter(self, condition: impl Fn(T::View<'_>) -> bool + Send + Sync + 'static) -> Self {
        let condition = Arc::new(condition);
        self.then("filter", move |_| {
            let condition = Arc::clone(&condition);
            Box::new(Filter::<T, _>::new(move |view: T::View<'_>| {
                condition(view)
            }))
        })
    }

    /// Any number of records for each record, pushed as borrowed views or emitted as owned records.
    #[must_use]
    pub fn flat_map<U: Record>(
        self,
        function: impl Fn(T::View<'_>, &mut Output<U>) + Send + Sync + 'static,
    ) -> Stream<U> {
        self.try_flat_map(move |view, output| {
            function(view, output);
            Ok(())
        })
    }

    /// As [`Stream::flat_map`], with an error that restarts the job from its last checkpoint, or
    /// ends it if it is a [`crate::PermanentError`].
    #[must_use]
    pub fn try_flat_map<U: Record>(
        self,
        function: impl Fn(T::View<'_>, &mut Output<U>) -> Result<()> + Send + Sync + 'static,
    ) -> Stream<U> {
        let function = Arc::new(function);
        self.then("flat-map", move |_| {
            let function = Arc::clone(&function);
            Box::new(FlatMap::<T, U, _>::new(
                move |view: T::View<'_>, output: &mut Output<U>| function(view, output),
            ))
        })
    }

    /// As [`Stream::try_flat_map`], with a function of its own for each subtask, made with the
    /// subtask's metrics: what counts bad records uses it.
    #[must_use]
    pub fn flat_map_with<U, F>(
        self,
        make: impl Fn(&Arc<crate::OperatorMetrics>) -> F + Send + Sync + 'static,
    ) -> Stream<U>
    where
        U: Record,
        F: FnMut(T::View<'_>, &mut Output<U>) -> Result<()> + 'static,
    {
        self.then("flat-map", move |context| {
            Box::new(FlatMap::<T, U, F>::new(make(&context.metrics)))
        })
    }

    /// Reads each record's event time, milliseconds since the epoch, and makes watermarks. Next to
    /// the source, before any exchange, it follows each split on its own.
    #[must_use]
    pub fn assign_timestamps(
        self,
        strategy: WatermarkStrategy,
        time_of: impl Fn(T::View<'_>) -> i64 + Send + Sync + 'static,
    ) -> Self {
        let time_of = Arc::new(time_of);
        self.then("timestamps", move |_| {
            let time_of = Arc::clone(&time_of);
            let operator =
                Watermarks::<T, _>::new(move |view: T::View<'_>| time_of(view), strategy);
            Box::new(operator)
        })
    }

    /// The records of both streams, in any order.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let edge = |from| Edge {
            from,
            exchange: Exchange::Forward,
        };
        let inputs = vec![edge(self.node), edge(other.node)];
        let node = self
            .builder
            .borrow_mut()
            .add_unnamed("union", NodeBody::Union, inputs);
        Self {
            builder: self.builder,
            node,
            record: PhantomData,
        }
    }

    /// Groups records by a key, given as a borrowed view: `.key_by::<String>(|visit| visit.user)`.
    #[must_use]
    pub fn key_by<K: Key>(
        self,
        selector: impl for<'a> KeySelector<'a, T, K> + Send + Sync + 'static,
    ) -> KeyedStream<K, T, impl for<'a> KeySelector<'a, T, K> + Send + Sync + 'static> {
        KeyedStream {
            stream: self,
            selector: Arc::new(selector),
            key: PhantomData,
        }
    }

    /// Ends the stream in a sink. `id` names the sink's transactions in checkpoints, as
    /// [`Pipeline::source`] says.
    pub fn sink(self, id: &str, sink: impl Sink<Item = T>) {
        let inputs = vec![Edge {
            from: self.node,
            exchange: Exchange::Forward,
        }];
        let body = NodeBody::Sink(Arc::new(ErasedSink(sink)));
        self.builder.borrow_mut().add(id, body, None, inputs);
    }
}

/// A stream grouped by key.
pub struct KeyedStream<K: Key, T: Record, F> {
    stream: Stream<T>,
    selector: Arc<F>,
    key: PhantomData<K>,
}

impl<K, T, F> KeyedStream<K, T, F>
where
    K: Key,
    T: Record,
    F: for<'a> KeySelector<'a, T, K> + Send + Sync + 'static,
{
    /// Runs user code with state and timers for each key. `id` names its state in checkpoints, as
    /// [`Pipeline::source`] says.
    #[must_use]
    pub fn process<P>(self, id: &str, function: P) -> Stream<P::Output>
    where
        P: KeyedProcess<Key = K, Input = T>,
    {
        let partition_by = Arc::clone(&self.selector);
        let exchange = Exchange::Hash(Arc::new(move |parallelism, max| {
            let selector = Arc::clone(&partition_by);
            Box::new(HashPartitioner::<T, K, _>::new(selector, parallelism, max))
        }));
        let selector = self.selector;
        let factory = move |context: &OperatorContext| -> Box<dyn Transform> {
            let selector = Arc::clone(&selector);
            Box::new(Process::new(function.clone(), selector, context.clone()))
        };
        let inputs = vec![Edge {
            from: self.stream.node,
            exchange,
        }];
        let schema = KeyTable::<K, P::State>::schema();
        let body = NodeBody::Transform(Arc::new(factory));
        let node = self
            .stream
            .builder
            .borrow_mut()
            .add(id, body, Some(schema), inputs);
        Stream {
            builder: self.stream.builder,
            node,
            record: PhantomData,
        }
    }
}
