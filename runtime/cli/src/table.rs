//! Tables and figures for people.

/// A column's place for what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a head, columns as wide as their longest cell.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<H: Into<String>>(columns: impl IntoIterator<Item = (H, Align)>) -> Self {
        let columns = columns
            .into_iter()
            .map(|(head, align)| (head.into(), align))
            .collect();
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row; a cell's line breaks and other control characters are escaped.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(
            row.len(),
            self.columns.len(),
            "a row has a cell for each column"
        );
        self.rows
            .push(row.iter().map(|cell| escaped(cell)).collect());
    }

    /// The table's text, a line for each row.
    pub(crate) fn render(&self) -> String {
        let width = |text: &String| text.chars().count();
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (head, _))| {
                let cells = self.rows.iter().map(|row| width(&row[index]));
                cells.chain([width(head)]).max().unwrap_or_default()
            })
            .collect();
        let heads = self.columns.iter().map(|(head, _)| head.clone()).collect();
        let mut text = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                match align {
                    Align::Left => line += &format!("{cell:<width$}  "),
                    Align::Right => line += &format!("{cell:>width$}  "),
                }
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

fn escaped(cell: &str) -> String {
    cell.chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}

/// A size with three digits and a unit, powers of 1000: `1.25 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

/// One thing or several: `1 file`, `2 files`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

/// A time in milliseconds since the epoch, as RFC 3339 has it, in UTC.
pub(crate) fn time(milliseconds: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    let (days, in_day) = (
        milliseconds.div_euclid(DAY_MS),
        milliseconds.rem_euclid(DAY_MS),
    );
    let (year, month, day) = date(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, millisecond) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// The date of a day since the epoch: Howard Hinnant's `civil_from_days`.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new([("NAME", Align::Left), ("SIZE", Align::Right)]);
        table.push(vec!["a".into(), "1".into()]);
        table.push(vec!["größer".into(), "12345".into()]);
        assert_eq!(
            table.render(),
            "NAME     SIZE\na           1\ngrößer  12345\n"
        );
    }

    #[test]
    fn a_cell_cannot_break_its_line_or_steer_the_terminal() {
        let mut table = Table::new([("KEY", Align::Left)]);
        table.push(vec!["a\n\u{1b}[2J".into()]);
        assert_eq!(table.render(), "KEY\na\\n\\u{1b}[2J\n");
    }

    #[rstest]
    #[case(0, "0 B")]
    #[case(999, "999 B")]
    #[case(1000, "1.00 kB")]
    #[case(12_345, "12.3 kB")]
    #[case(999_949, "1.00 MB")]
    #[case(u64::MAX, "18.4 EB")]
    fn sizes_have_three_digits_and_a_unit(#[case] bytes: u64, #[case] expected: &str) {
        assert_eq!(size(bytes), expected);
    }

    #[rstest]
    #[case(0, "1970-01-01T00:00:00.000Z")]
    #[case(951_782_400_000, "2000-02-29T00:00:00.000Z")]
    #[case(1_795_510_861_234, "2026-11-24T09:01:01.234Z")]
    #[case(-1, "1969-12-31T23:59:59.999Z")]
    fn times_are_those_of_the_calendar(#[case] milliseconds: i64, #[case] expected: &str) {
        assert_eq!(time(milliseconds), expected);
    }
}
