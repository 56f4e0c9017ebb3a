//! Comma-separated values, as RFC 4180 describes them, with `\n` as the line end.

use std::io::Write;

use arrow_schema::DataType;
use tidegate_engine::{PermanentError, Record, Result, Rows};

use super::Encoder;
use super::cell::{Cell, Column, push_hex, push_integer};

/// One line a record, its columns in order, under a header of their names.
///
/// Text with delimiters, quotes or line ends stands in quotes. A null is nothing at all, an empty
/// text
/// is `""`. Bytes are hexadecimal, timestamps RFC 3339. Lists and nested records have no notation.
#[derive(Debug, Clone, Copy)]
pub struct Csv {
    has_header: bool,
    delimiter: u8,
}

impl Default for Csv {
    fn default() -> Self {
        Self::new()
    }
}

impl Csv {
    /// With commas and a header in each file.
    pub fn new() -> Self {
        Self {
            has_header: true,
            delimiter: b',',
        }
    }

    /// Leaves the header out, so that files can be joined end to end.
    #[must_use]
    pub fn without_header(mut self) -> Self {
        self.has_header = false;
        self
    }

    /// Puts another character between the columns: `b';'`, `b'\t'`.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    fn push_text(&self, text: &[u8], output: &mut Vec<u8>) {
        let is_special =
            |byte: &u8| matches!(byte, b'"' | b'\n' | b'\r') || *byte == self.delimiter;
        if !text.is_empty() && !text.iter().any(is_special) {
            output.extend_from_slice(text);
            return;
        }
        output.push(b'"');
        let mut rest = text;
        while let Some(quote) = memchr::memchr(b'"', rest) {
            output.extend_from_slice(&rest[..=quote]);
            output.push(b'"');
            rest = &rest[quote + 1..];
        }
        output.extend_from_slice(rest);
        output.push(b'"');
    }

    fn push_cell(&self, cell: &Cell<'_>, output: &mut Vec<u8>) {
        match *cell {
            Cell::Bool(true) => output.extend_from_slice(b"true"),
            Cell::Bool(false) => output.extend_from_slice(b"false"),
            Cell::Signed(value) => push_integer(value, output),
            Cell::Unsigned(value) => push_integer(value, output),
            // Writing to memory cannot fail.
            Cell::Float32(value) => _ = write!(output, "{value}"),
            Cell::Float64(value) => _ = write!(output, "{value}"),
            Cell::Text(text) => self.push_text(text.as_bytes(), output),
            Cell::Bytes(bytes) => push_hex(bytes, output),
            Cell::Moment(moment) => _ = write!(output, "{moment}"),
            // `check` has refused lists and structs.
            Cell::Null | Cell::List(..) | Cell::Struct(..) => {}
        }
    }
}

impl<R: Record> Encoder<R> for Csv {
    fn extension(&self) -> &str {
        if self.delimiter == b'\t' {
            "tsv"
        } else {
            "csv"
        }
    }

    fn check(&self) -> Result<()> {
        if !self.delimiter.is_ascii() || matches!(self.delimiter, b'"' | b'\n' | b'\r') {
            let delimiter = char::from(self.delimiter);
            let message = format!(
                "{delimiter:?} cannot delimit CSV columns: take an ASCII character other than a \
                 quote or a line end, such as ',' or ';' or a tab"
            );
            return Err(PermanentError::new(message).into());
        }
        for field in R::fields() {
            if matches!(field.data_type(), DataType::List(_) | DataType::Struct(_)) {
                let name = field.name();
                let message = format!(
                    "column `{name}` is a list or a nested record, which CSV has no notation for: \
                     write JSON lines, or map the records to plain columns before the sink"
                );
                return Err(PermanentError::new(message).into());
            }
        }
        Ok(())
    }

    fn begin(&self, output: &mut Vec<u8>) {
        if !self.has_header {
            return;
        }
        for (index, field) in R::fields().iter().enumerate() {
            if index > 0 {
                output.push(self.delimiter);
            }
            self.push_text(field.name().as_bytes(), output);
        }
        output.push(b'\n');
    }

    fn encode(&self, rows: &Rows<R>, output: &mut Vec<u8>) -> Result<()> {
        let columns: Option<Vec<_>> = rows.batch().columns().iter().map(Column::of).collect();
        let columns = columns.ok_or("a column's type has no notation in CSV")?;
        for row in 0..rows.len() {
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    output.push(self.delimiter);
                }
                self.push_cell(&column.cell(row), output);
            }
            output.push(b'\n');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_engine::Timestamp;

    use super::*;
    use crate::testing::rows;

    type Row = (String, Option<i64>, f64, bool);

    fn encode<R: Record>(csv: Csv, records: &[R]) -> String {
        let mut output = Vec::new();
        Encoder::<R>::begin(&csv, &mut output);
        csv.encode(&rows(records), &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn columns_stand_in_order_under_their_names_and_special_text_is_quoted() {
        let records: Vec<Row> = vec![
            ("plain".into(), Some(-7), 0.5, true),
            ("a,b \"c\"\nd".into(), None, 1e21, false),
            (String::new(), Some(0), f64::NAN, true),
        ];
        assert_eq!(
            encode(Csv::new(), &records),
            "_0,_1,_2,_3\nplain,-7,0.5,true\n\"a,b \"\"c\"\"\nd\",,1000000000000000000000,false\n\
             \"\",0,NaN,true\n"
        );
    }

    #[test]
    fn another_delimiter_is_quoted_instead_of_the_comma() {
        let records: Vec<(String, u8)> = vec![("a,b".into(), 1), ("c;d".into(), 2)];
        let csv = Csv::new().with_delimiter(b';').without_header();
        assert_eq!(encode(csv, &records), "a,b;1\n\"c;d\";2\n");
    }

    #[test]
    fn moments_and_bytes_have_a_notation() {
        let records = vec![(Timestamp::from_unix_ms(0), vec![0_u8, 255])];
        let csv = Csv::new().without_header();
        assert_eq!(encode(csv, &records), "1970-01-01T00:00:00.000Z,00ff\n");
    }

    #[test]
    fn a_list_column_is_refused_by_name() {
        let error = Encoder::<(u64, Vec<u64>)>::check(&Csv::new()).unwrap_err();
        assert!(error.to_string().contains("column `_1`"), "{error}");
    }

    proptest! {
        #[test]
        fn a_csv_reader_reads_back_what_was_written(
            texts in prop::collection::vec(("[a,;\"\r\n ]{0,8}", "\\PC{0,6}"), 1..20)
        ) {
            let written = encode(Csv::new(), &texts);
            let mut reader = ::csv::Reader::from_reader(written.as_bytes());
            let read: Vec<(String, String)> = reader
                .records()
                .map(|record| record.unwrap())
                .map(|record| (record[0].to_owned(), record[1].to_owned()))
                .collect();
            prop_assert_eq!(read, texts);
        }
    }
}
