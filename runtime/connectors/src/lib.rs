//! Sources, sinks and formats.

mod bad_records;

pub use bad_records::{BadRecordHandler, BadRecords};
