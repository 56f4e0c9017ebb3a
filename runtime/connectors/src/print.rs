//! A sink that prints.

use std::io::{self, Write};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;
use tidegate_engine::{PermanentError, Record, Result, Rows, Sink, SinkContext, SinkWriter};
use tidegate_protocol::CheckpointId;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::encode::{Encoder, Plain};

/// Bytes collected before they are printed while records keep coming.
const BUFFER_BYTES: usize = 64 << 10;

type Target = Arc<Mutex<dyn Write + Send>>;

/// Prints each record as a line on standard output, at the latest when input pauses or a checkpoint
/// covers it. It is not transactional: after a failure, records since the last checkpoint are
/// printed again.
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
            lines: Lines {
                target: Arc::clone(&self.target),
                waiting: Arc::default(),
            },
            io: context.io,
            printing: None,
            record: PhantomData,
        })
    }
}

/// Prints the records of one subtask.
pub struct Printer<R, E> {
    encoder: E,
    lines: Lines,
    io: Handle,
    /// What was asked for last on account of the buffer's size; at most one, so that it is bounded.
    printing: Option<JoinHandle<io::Result<()>>>,
    record: PhantomData<fn(R)>,
}

/// Lines of one subtask that wait to be printed, and where they go. Whoever prints has the target's
/// lock from before the lines are taken until they are printed or back, so they stay in order, and
/// a print that has ended well leaves none of the lines that waited when it was asked for.
#[derive(Clone)]
struct Lines {
    target: Target,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Memory to use again.
    spare: Vec<u8>,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints what waits; what cannot be printed waits on. Blocks.
    fn print(&self) -> io::Result<()> {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = {
            let waiting = &mut *self.lock();
            let spare = std::mem::take(&mut waiting.spare);
            std::mem::replace(&mut waiting.bytes, spare)
        };
        let (printed, result) = write_all(&mut *target, &bytes);
        bytes.drain(..printed);
        let waiting = &mut *self.lock();
        if bytes.is_empty() {
            waiting.spare = bytes;
        } else {
            bytes.append(&mut waiting.bytes);
            waiting.bytes = bytes;
        }
        drop(target);
        result
    }
}

/// Writes as much as it can, and flushes; tells how many bytes the target took.
fn write_all(target: &mut dyn Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match target.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, target.flush())
}

impl<R: Record, E: Encoder<R>> Printer<R, E> {
    /// Waits until what was handed on is printed.
    async fn finish(&mut self) -> Result<()> {
        let Some(printing) = &mut self.printing else {
            return Ok(());
        };
        let result = printing.await;
        self.printing = None;
        Ok(result?.map_err(closed)?)
    }

    async fn hand_on(&mut self) -> Result<()> {
        self.finish().await?;
        self.printing = Some(self.print());
        Ok(())
    }

    fn print(&self) -> JoinHandle<io::Result<()>> {
        let lines = self.lines.clone();
        self.io.spawn_blocking(move || lines.print())
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
        let size_bytes = {
            let bytes = &mut self.lines.lock().bytes;
            self.encoder.encode(rows, bytes)?;
            bytes.len()
        };
        if size_bytes >= BUFFER_BYTES {
            self.hand_on().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.finish().await?;
        let is_empty = self.lines.lock().bytes.is_empty();
        if !is_empty {
            self.hand_on().await?;
        }
        self.finish().await
    }

    /// A checkpoint that covers lines is complete only once they are printed: none is read again.
    /// What follows the barrier may be printed with them.
    fn pre_commit(&mut self, _: CheckpointId) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        let printing = self.print();
        Ok(Box::pin(async move {
            printing.await?.map_err(closed)?;
            Ok(Vec::new())
        }))
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

    /// Takes so many bytes before it is full; freed of its limit, it takes all.
    struct Limited {
        printed: Vec<u8>,
        room: usize,
    }

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(self.room);
            self.room -= count;
            self.printed.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn checkpoint(printer: &mut Printer<u64, Plain>) -> Result<Vec<Value>> {
        printer.pre_commit(CheckpointId::FIRST)?.await
    }

    #[tokio::test]
    async fn what_a_checkpoint_covers_is_printed_before_it_is_complete() {
        let printed = Arc::new(Mutex::new(Vec::new()));
        let mut printer = printer::<u64>(printed.clone());
        printer.write(&rows(&[1_u64, 2])).await.unwrap();
        checkpoint(&mut printer).await.unwrap();
        assert_eq!(*printed.lock().unwrap(), b"1\n2\n");
        // Also what was handed on and is not printed yet.
        let numbers = vec![3_u64; BUFFER_BYTES];
        printer.write(&rows(&numbers)).await.unwrap();
        printer.write(&rows(&[4_u64])).await.unwrap();
        let held = printed.lock().unwrap();
        let pre_commit = printer.pre_commit(CheckpointId::FIRST).unwrap();
        drop(held);
        pre_commit.await.unwrap();
        let expected = format!("1\n2\n{}4\n", "3\n".repeat(BUFFER_BYTES));
        assert_eq!(*printed.lock().unwrap(), expected.as_bytes());
    }

    #[tokio::test]
    async fn a_checkpoint_whose_lines_cannot_be_printed_fails_and_the_next_has_them_once() {
        let target = Arc::new(Mutex::new(Limited {
            printed: Vec::new(),
            room: 3,
        }));
        let mut printer = printer::<u64>(target.clone());
        printer.write(&rows(&[1_u64, 2, 3])).await.unwrap();
        let error = checkpoint(&mut printer).await.unwrap_err();
        assert!(error.to_string().contains("standard output"), "{error}");
        target.lock().unwrap().room = usize::MAX;
        printer.write(&rows(&[4_u64])).await.unwrap();
        checkpoint(&mut printer).await.unwrap();
        assert_eq!(target.lock().unwrap().printed, b"1\n2\n3\n4\n");
    }
}
