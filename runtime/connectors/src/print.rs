//! A sink that prints.

use std::io::{self, Write};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_engine::{PermanentError, Record, Result, Rows, Sink, SinkContext, SinkWriter};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::encode::{Encoder, Plain};

/// Bytes collected before they are printed while records keep coming.
const BUFFER_BYTES: usize = 64 << 10;

type Target = Arc<Mutex<dyn Write + Send>>;

/// Prints each record as a line on standard output, at the latest when input pauses. It is not
/// transactional: after a failure, records since the last checkpoint are printed again.
pub struct Print<R, E = Plain> {
    encoder: E,
    target: Target,
    record: PhantomData<fn(R)>,
}

impl<R: Record> Default for Print<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Record> Print<R> {
    /// Prints records of one column as their value, others as JSON objects.
    pub fn new() -> Self {
        Self::with_encoder(Plain)
    }
}

impl<R: Record, E: Encoder<R>> Print<R, E> {
    /// Prints records in a given format.
    pub fn with_encoder(encoder: E) -> Self {
        Self::to(encoder, Arc::new(Mutex::new(io::stdout())))
    }

    fn to(encoder: E, target: Target) -> Self {
        Self {
            encoder,
            target,
            record: PhantomData,
        }
    }
}

impl<R: Record, E: Encoder<R>> Sink for Print<R, E> {
    type Item = R;
    type Writer = Printer<R, E>;

    fn writer(&self, context: SinkContext) -> Result<Printer<R, E>> {
        self.encoder.check()?;
        Ok(Printer {
            encoder: self.encoder.clone(),
            target: Arc::clone(&self.target),
            io: context.io,
            buffer: Vec::new(),
            printing: None,
            record: PhantomData,
        })
    }
}

/// Prints the records of one subtask.
pub struct Printer<R, E> {
    encoder: E,
    target: Target,
    io: Handle,
    buffer: Vec<u8>,
    /// What is being printed; at most one, so that lines stay in order.
    printing: Option<JoinHandle<io::Result<Vec<u8>>>>,
    record: PhantomData<fn(R)>,
}

impl<R: Record, E: Encoder<R>> Printer<R, E> {
    /// Waits until what was handed on is printed; its memory is used again.
    async fn finish(&mut self) -> Result<()> {
        let Some(printing) = &mut self.printing else {
            return Ok(());
        };
        let result = printing.await;
        self.printing = None;
        let mut printed = result?.map_err(closed)?;
        if self.buffer.is_empty() {
            printed.clear();
            self.buffer = printed;
        }
        Ok(())
    }

    async fn hand_on(&mut self) -> Result<()> {
        self.finish().await?;
        let bytes = std::mem::take(&mut self.buffer);
        let target = Arc::clone(&self.target);
        self.printing = Some(self.io.spawn_blocking(move || {
            let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
            target.write_all(&bytes)?;
            target.flush()?;
            Ok(bytes)
        }));
        Ok(())
    }
}

fn closed(error: io::Error) -> PermanentError {
    PermanentError::with_source(
        "cannot print to standard output: it was closed by its reader, or its disk is full",
        error,
    )
}

impl<R: Record, E: Encoder<R>> SinkWriter for Printer<R, E> {
    type Item = R;

    async fn write(&mut self, rows: &Rows<R>) -> Result<()> {
        self.encoder.encode(rows, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER_BYTES {
            self.hand_on().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.hand_on().await?;
        }
        self.finish().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rows, sink_context};

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printer<R: Record>(target: Target) -> Printer<R, Plain> {
        Print::to(Plain, target).writer(sink_context(1, 0)).unwrap()
    }

    #[tokio::test]
    async fn lines_are_printed_whole_and_in_order_when_flushed() {
        let printed = Arc::new(Mutex::new(Vec::new()));
        let mut printer = printer::<u64>(printed.clone());
        let numbers: Vec<u64> = (0..20_000).collect();
        for part in numbers.chunks(3000) {
            printer.write(&rows(part)).await.unwrap();
        }
        printer.flush().await.unwrap();
        let expected: String = numbers.iter().map(|number| format!("{number}\n")).collect();
        assert_eq!(
            String::from_utf8(printed.lock().unwrap().clone()).unwrap(),
            expected
        );
    }

    #[tokio::test]
    async fn one_column_is_a_value_and_several_are_an_object() {
        let printed = Arc::new(Mutex::new(Vec::new()));
        let mut text = printer::<String>(printed.clone());
        text.write(&rows(&["a \"b\"".to_owned()])).await.unwrap();
        text.flush().await.unwrap();
        let mut pair = printer::<(String, u64)>(printed.clone());
        pair.write(&rows(&[("a".to_owned(), 1)])).await.unwrap();
        pair.flush().await.unwrap();
        let printed = printed.lock().unwrap().clone();
        assert_eq!(printed, b"a \"b\"\n{\"_0\":\"a\",\"_1\":1}\n");
    }

    #[tokio::test]
    async fn a_closed_output_ends_the_job_with_a_reason() {
        let mut printer = printer::<u64>(Arc::new(Mutex::new(Closed)));
        printer.write(&rows(&[1_u64])).await.unwrap();
        let error = printer.flush().await.unwrap_err();
        assert!(tidegate_engine::is_permanent(error.as_ref()));
        assert!(error.to_string().contains("standard output"));
    }
}
