//! JSON lines: one object a record.

use std::io::Write;

use tidegate_engine::{Record, Result, Rows};

use super::Encoder;
use super::cell::{Cell, Column, push_hex, push_integer};

/// One JSON object a line, its members named as the columns.
///
/// Timestamps are RFC 3339 texts, bytes hexadecimal texts; numbers that JSON does not have, such as
/// `NaN`, are `null`.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonLines;

impl JsonLines {
    /// JSON lines.
    pub fn new() -> Self {
        Self
    }
}

impl<R: Record> Encoder<R> for JsonLines {
    fn extension(&self) -> &str {
        "jsonl"
    }

    fn encode(&self, rows: &Rows<R>, output: &mut Vec<u8>) -> Result<()> {
        let fields = R::fields();
        let columns = fields.iter().zip(rows.batch().columns());
        let columns: Option<Vec<_>> = columns
            .map(|(field, array)| Some((field.name().as_str(), Column::of(array)?)))
            .collect();
        let columns = columns.ok_or("a column's type has no notation in JSON")?;
        for row in 0..rows.len() {
            push_object(&columns, row, output)?;
            output.push(b'\n');
        }
        Ok(())
    }
}

fn push_object(
    columns: &[(&str, Column<'_>)],
    row: usize,
    output: &mut Vec<u8>,
) -> serde_json::Result<()> {
    output.push(b'{');
    for (index, (name, column)) in columns.iter().enumerate() {
        if index > 0 {
            output.push(b',');
        }
        serde_json::to_writer(&mut *output, name)?;
        output.push(b':');
        push_cell(&column.cell(row), output)?;
    }
    output.push(b'}');
    Ok(())
}

pub(super) fn push_cell(cell: &Cell<'_>, output: &mut Vec<u8>) -> serde_json::Result<()> {
    match *cell {
        Cell::Null => output.extend_from_slice(b"null"),
        Cell::Bool(true) => output.extend_from_slice(b"true"),
        Cell::Bool(false) => output.extend_from_slice(b"false"),
        Cell::Signed(value) => push_integer(value, output),
        Cell::Unsigned(value) => push_integer(value, output),
        Cell::Float32(value) => serde_json::to_writer(output, &value)?,
        Cell::Float64(value) => serde_json::to_writer(output, &value)?,
        Cell::Text(text) => serde_json::to_writer(output, text)?,
        Cell::Bytes(bytes) => {
            output.push(b'"');
            push_hex(bytes, output);
            output.push(b'"');
        }
        // Writing to memory cannot fail.
        Cell::Moment(moment) => _ = write!(output, "\"{moment}\""),
        Cell::List(items, start, end) => {
            output.push(b'[');
            for item in start..end {
                if item > start {
                    output.push(b',');
                }
                push_cell(&items.cell(item), output)?;
            }
            output.push(b']');
        }
        Cell::Struct(parts, row) => push_object(parts, row, output)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_engine::Timestamp;

    use super::*;
    use crate::testing::rows;

    fn encode<R: Record>(records: &[R]) -> Vec<Value> {
        let mut output = Vec::new();
        JsonLines.encode(&rows(records), &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn each_record_is_an_object_of_its_columns() {
        let records: Vec<(String, Option<u64>, f64)> = vec![
            ("a \"b\"\n\u{1}é".into(), Some(u64::MAX), 0.1),
            (String::new(), None, f64::INFINITY),
        ];
        assert_eq!(
            encode(&records),
            [
                json!({"_0": "a \"b\"\n\u{1}é", "_1": u64::MAX, "_2": 0.1}),
                json!({"_0": "", "_1": null, "_2": null}),
            ]
        );
    }

    #[test]
    fn lists_nested_records_moments_and_bytes_have_a_notation() {
        type Row = (Vec<i32>, (bool, Timestamp), Vec<u8>);
        let records: Vec<Row> = vec![
            (
                vec![1, -2],
                (true, Timestamp::from_unix_ms(250)),
                vec![1, 171],
            ),
            (vec![], (false, Timestamp::from_unix_ms(0)), vec![]),
        ];
        assert_eq!(
            encode(&records),
            [
                json!({"_0": [1, -2], "_1": {"_0": true, "_1": "1970-01-01T00:00:00.250Z"},
                       "_2": "01ab"}),
                json!({"_0": [], "_1": {"_0": false, "_1": "1970-01-01T00:00:00.000Z"},
                       "_2": ""}),
            ]
        );
    }
}
