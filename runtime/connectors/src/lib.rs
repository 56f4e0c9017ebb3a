//! Sources, sinks and formats.

mod bad_records;
mod csv_files;
mod discard;
mod encode;
mod file_sink;
mod generator;
mod parse;
mod print;
mod rate;
mod socket;
#[cfg(test)]
mod testing;
mod text_files;

pub use bad_records::{BadRecordHandler, BadRecords};
pub use csv_files::CsvFiles;
pub use discard::Discard;
pub use encode::{Csv, Encoder, JsonLines, Lines, Plain, Text};
pub use file_sink::{FileSink, FileWriter};
pub use generator::{Generator, mix};
pub use parse::ParseLines;
pub use print::Print;
pub use socket::SocketLines;
pub use text_files::TextFiles;
