//! How records become bytes: the formats that sinks write.

mod cell;
mod csv;
mod json;
mod plain;

use std::marker::PhantomData;

use tidegate_engine::{Record, Result, Rows};

pub use csv::Csv;
pub use json::JsonLines;
pub use plain::Plain;

/// A format, as a sink that writes bytes needs it.
pub trait Encoder<R: Record>: Clone + Send + Sync + 'static {
    /// What the names of files in this format end with, without a dot.
    fn extension(&self) -> &str;

    /// Says whether records of this type can be written; asked before the first.
    ///
    /// # Errors
    /// A column that the format has no notation for.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Appends what each file begins with.
    fn begin(&self, output: &mut Vec<u8>) {
        let _ = output;
    }

    /// Appends some records.
    ///
    /// # Errors
    /// A record that cannot be written; fails the attempt.
    fn encode(&self, rows: &Rows<R>, output: &mut Vec<u8>) -> Result<()>;
}

/// Each record is text, and becomes a line of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines;

impl Encoder<String> for Lines {
    fn extension(&self) -> &str {
        "txt"
    }

    fn encode(&self, rows: &Rows<String>, output: &mut Vec<u8>) -> Result<()> {
        for line in rows.iter() {
            output.extend_from_slice(line.as_bytes());
            output.push(b'\n');
        }
        Ok(())
    }
}

/// A format of the user's own: a function that appends a record's bytes, line end included.
///
/// ```ignore
/// Text::<WordCount, _>::new("txt", |count, output| {
///     let _ = writeln!(output, "{:>7} {}", count.count, count.word);
/// })
/// ```
pub struct Text<R, F> {
    extension: &'static str,
    function: F,
    record: PhantomData<fn(R)>,
}

impl<R, F: Clone> Clone for Text<R, F> {
    fn clone(&self) -> Self {
        Self {
            extension: self.extension,
            function: self.function.clone(),
            record: PhantomData,
        }
    }
}

impl<R: Record, F> Text<R, F>
where
    F: Fn(R::View<'_>, &mut Vec<u8>) + Clone + Send + Sync + 'static,
{
    /// A format whose files' names end with `.extension`.
    pub fn new(extension: &'static str, function: F) -> Self {
        Self {
            extension,
            function,
            record: PhantomData,
        }
    }
}

impl<R: Record, F> Encoder<R> for Text<R, F>
where
    F: Fn(R::View<'_>, &mut Vec<u8>) + Clone + Send + Sync + 'static,
{
    fn extension(&self) -> &str {
        self.extension
    }

    fn encode(&self, rows: &Rows<R>, output: &mut Vec<u8>) -> Result<()> {
        for view in rows.iter() {
            (self.function)(view, output);
        }
        Ok(())
    }
}
