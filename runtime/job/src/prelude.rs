//! What most programs use: `use tidegate::prelude::*;`.

pub use tidegate_connectors::{
    BadRecords, Csv, CsvFiles, Discard, FileSink, Generator, JsonLines, Lines, ParseLines, Print,
    SocketLines, TextFiles,
};
pub use tidegate_engine::state::{ListState, MapState, ReducingState, ValueState};
pub use tidegate_engine::{
    BoxError, Field, Key, KeyedContext, KeyedProcess, KeyedStream, Output, PermanentError,
    Pipeline, Record, Result, SourceOutput, State, Stream, Timestamp, WatermarkStrategy,
};

pub use crate::{Arguments, Program};
