//! CSV files: rows as records, by the names in the header.
//!
//! ```text
//! paths ─▶ a split a file ─▶ a thread finds rows ─▶ the reader makes typed columns
//! ```

mod columns;
mod cursor;
mod rows;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use tidegate_engine::{
    PermanentError, ReadStatus, Record, Result, Rows, Source, SourceContext, SourceOutput,
    SourceReader, Split, SplitState,
};
use tokio::sync::mpsc;

use crate::bad_records::{BadRecordHandler, BadRecords};
use crate::rate::{self, RateLimit};
use crate::text_files::{FileRange, discover, range_of};
use columns::{CellProblem, ColumnBuilder, places};
use cursor::{CellRows, FILE_BEGIN, Place, Row};
use rows::Batch;

/// Reads CSV files (RFC 4180) with a header: each row is a record whose fields are the columns of
/// the same names, in any order; other columns are left out.
///
/// Fields are integers, floats, booleans, text, and options of these, for which an empty cell is
/// `None`. Rows are at most 16 MiB long. A row that lacks a cell or has one that does not fit is a
/// bad record. Files must not change while a job reads them; `.gz` files are unpacked. Unless told
/// otherwise a file is read by one subtask, since a line end in quotes looks like the end of a row
/// to whoever begins to read in the middle.
pub struct CsvFiles<R> {
    patterns: Vec<String>,
    delimiter: u8,
    records_per_second: Option<u64>,
    bad_records: BadRecords,
    split_bytes: u64,
    record: PhantomData<fn() -> R>,
}

impl<R: Record> CsvFiles<R> {
    /// Files by path, folder or glob pattern such as `orders/*.csv`. Names that begin with a dot
    /// are left out unless the pattern has that dot.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self {
            patterns: vec![pattern.into()],
            delimiter: b',',
            records_per_second: None,
            bad_records: BadRecords::Fail,
            split_bytes: u64::MAX,
            record: PhantomData,
        }
    }

    /// Adds a further path, folder or pattern.
    #[must_use]
    pub fn and(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// Another character than the comma stands between columns: `b';'`, `b'\t'`.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Cuts files into byte ranges of about this size, which subtasks read independently. Only for
    /// files in which no cell holds a line end. Errors then name bytes instead of lines, but for a
    /// file's first range.
    #[must_use]
    pub fn with_split_bytes(mut self, split_bytes: u64) -> Self {
        self.split_bytes = split_bytes.max(1);
        self
    }

    /// Reads at most this many records a second, over all subtasks.
    #[must_use]
    pub fn with_rate(mut self, records_per_second: u64) -> Self {
        self.records_per_second = Some(records_per_second);
        self
    }

    /// What becomes of rows that cannot be read.
    #[must_use]
    pub fn on_bad_records(mut self, policy: BadRecords) -> Self {
        self.bad_records = policy;
        self
    }
}

impl<R: Record> Source for CsvFiles<R> {
    type Item = R;
    type Reader = CsvReader<R>;

    fn discover(&self, known: &[SplitState]) -> Result<Vec<Split>> {
        discover(&self.patterns, self.split_bytes, known)
    }

    fn reader(&self, splits: Vec<SplitState>, context: SourceContext) -> Result<CsvReader<R>> {
        let positions = splits.iter().map(|state| {
            let position = state.position.clone();
            position.map(serde_json::from_value).transpose()
        });
        let metrics = Arc::clone(&context.metrics);
        let rate = self.records_per_second;
        Ok(CsvReader {
            ranges: splits.iter().map(range_of).collect::<Result<_>>()?,
            positions: positions.collect::<Result<_, _>>()?,
            columns: R::fields()
                .iter()
                .map(ColumnBuilder::new)
                .collect::<Result<_>>()?,
            bad_records: BadRecordHandler::new(&self.bad_records, &context.operator, metrics)?,
            rate: rate.map(|rate| RateLimit::new(rate, context.parallelism)),
            delimiter: self.delimiter,
            splits,
            context,
            current: 0,
            file: None,
            record: PhantomData,
        })
    }
}

/// A file that is being read.
struct OpenFile {
    batches: mpsc::Receiver<Result<Batch>>,
    /// Where the record's columns stand; known once the header is.
    places: Vec<usize>,
    column_count: usize,
    rows: CellRows,
    /// The first row not pushed yet.
    next_row: usize,
    end: Place,
}

impl OpenFile {
    fn is_drained(&self) -> bool {
        self.next_row == self.rows.len()
    }
}

/// Reads one subtask's files, one after the other.
pub struct CsvReader<R> {
    context: SourceContext,
    bad_records: BadRecordHandler,
    rate: Option<RateLimit>,
    delimiter: u8,
    splits: Vec<SplitState>,
    ranges: Vec<FileRange>,
    positions: Vec<Option<Place>>,
    columns: Vec<ColumnBuilder>,
    current: usize,
    file: Option<OpenFile>,
    record: PhantomData<fn() -> R>,
}

impl<R: Record> CsvReader<R> {
    /// Makes sure that there is a row to push; `false` at the end of all splits.
    async fn fill(&mut self, output: &mut SourceOutput<R>) -> Result<bool> {
        while self.file.as_ref().is_none_or(OpenFile::is_drained) {
            let Some(range) = self.ranges.get(self.current) else {
                return Ok(false);
            };
            if self.splits[self.current].is_ended {
                self.current += 1;
                continue;
            }
            let place = self.positions[self.current];
            let file = self.file.get_or_insert_with(|| OpenFile {
                batches: rows::start(range.clone(), place, self.delimiter, &self.context.io),
                places: Vec::new(),
                column_count: 0,
                rows: CellRows::default(),
                next_row: 0,
                end: place.unwrap_or(FILE_BEGIN),
            });
            match file.batches.recv().await.transpose()? {
                Some(batch) => {
                    if file.places.is_empty() {
                        // A file of blank lines has an empty header, which is told like any other.
                        let header = batch.header.get(0).unwrap_or_default();
                        let path = range.path.display().to_string();
                        file.places = places(&R::fields(), &header, &path)?;
                        file.column_count = header.len();
                    }
                    file.rows = batch.rows;
                    file.next_row = 0;
                    file.end = batch.end;
                }
                None => {
                    self.file = None;
                    self.splits[self.current].is_ended = true;
                    // A split's place in the list of its subtask fits.
                    output.end_split(self.current as u32);
                }
            }
        }
        Ok(true)
    }

    /// Pushes up to `allowed` rows; gives the number taken. Does not wait, so that a position never
    /// parts from what was pushed.
    fn push(&mut self, output: &mut SourceOutput<R>, allowed: u64) -> Result<u64> {
        let Some(file) = &mut self.file else {
            return Ok(0);
        };
        let path = self.ranges[self.current].path.display().to_string();
        let (mut taken, mut row_count) = (0, 0);
        while taken < allowed
            && let Some(row) = file.rows.get(file.next_row)
        {
            taken += 1;
            file.next_row += 1;
            match check(&self.columns, &file.places, file.column_count, &row) {
                Ok(()) => {
                    row_count += 1;
                    for (column, place) in self.columns.iter_mut().zip(&file.places) {
                        column.push(row.cell(*place));
                    }
                }
                Err((column, problem)) => {
                    let row_place = match row.place {
                        Place { byte, line: 0 } => format!("{path}, byte {byte}"),
                        Place { line, .. } => format!("{path}, line {line}"),
                    };
                    let place = match column.is_empty() {
                        true => row_place,
                        false => format!("{row_place}, column `{column}`"),
                    };
                    let cells: Vec<_> = row.cells().map(String::from_utf8_lossy).collect();
                    self.bad_records.bad(&place, &problem, &cells.join(","))?;
                }
            }
        }
        let next = file
            .rows
            .get(file.next_row)
            .map_or(file.end, |row| row.place);
        output.begin_split(self.current as u32);
        if row_count > 0 {
            let arrays = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
            push_rows(arrays, output)?;
        }
        self.positions[self.current] = Some(next);
        Ok(taken)
    }
}

fn check(
    columns: &[ColumnBuilder],
    places: &[usize],
    column_count: usize,
    row: &Row<'_>,
) -> Result<(), CellProblem> {
    if row.len() != column_count {
        let found = row.len();
        let problem = format!("the row has {found} cells, the header {column_count}");
        return Err((String::new(), problem));
    }
    let mut cells = columns.iter().zip(places);
    cells.try_for_each(|(column, place)| column.check(row.cell(*place)))
}

fn push_rows<R: Record>(arrays: Vec<ArrayRef>, output: &mut SourceOutput<R>) -> Result<()> {
    let batch = RecordBatch::try_new(R::schema(), arrays)?;
    let rows = Rows::<R>::of(&batch)
        .ok_or_else(|| PermanentError::new("the record's columns are not those of its fields"))?;
    rows.iter().for_each(|view| output.push(view));
    Ok(())
}

impl<R: Record> SourceReader for CsvReader<R> {
    type Item = R;

    async fn read(&mut self, output: &mut SourceOutput<R>) -> Result<ReadStatus> {
        let allowed = rate::allowed(&mut self.rate, output.wanted_rows()).await;
        if !self.fill(output).await? {
            return Ok(ReadStatus::Ended);
        }
        let count = self.push(output, allowed)?;
        if let Some(rate) = &mut self.rate {
            rate.took(count);
        }
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<SplitState> {
        let states = self.splits.iter().zip(&self.positions);
        states
            .map(|(state, position)| {
                state.read_to(
                    position
                        .map(|place| serde_json::json!({ "byte": place.byte, "line": place.line })),
                    state.is_ended,
                )
            })
            .collect()
    }
}
