//! Records for people to read.

use std::io::Write;

use tidegate_engine::{Record, Result, Rows};

use super::Encoder;
use super::cell::{Cell, Column};
use super::json::{JsonLines, push_cell};

/// A record of one column is its value alone; one of several is a JSON object. One record a line,
/// unless texts have line ends in them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl<R: Record> Encoder<R> for Plain {
    fn extension(&self) -> &str {
        "txt"
    }

    fn encode(&self, rows: &Rows<R>, output: &mut Vec<u8>) -> Result<()> {
        let [array] = rows.batch().columns() else {
            return JsonLines.encode(rows, output);
        };
        let column = Column::of(array).ok_or("a column's type cannot be shown")?;
        for row in 0..rows.len() {
            match column.cell(row) {
                Cell::Text(text) => output.extend_from_slice(text.as_bytes()),
                // Writing to memory cannot fail.
                Cell::Moment(moment) => _ = write!(output, "{moment}"),
                cell => push_cell(&cell, output)?,
            }
            output.push(b'\n');
        }
        Ok(())
    }
}
