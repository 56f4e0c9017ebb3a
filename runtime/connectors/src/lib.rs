//! Sources, sinks and formats.

mod bad_records;
mod parse;

pub use bad_records::{BadRecordHandler, BadRecords};
pub use parse::ParseLines;
