//! The end of a stream of text, in bounded memory.

use std::collections::VecDeque;

/// How many lines are kept.
const LINE_LIMIT: usize = 20;
/// How much of a line is kept.
const LENGTH_LIMIT: usize = 1024;

/// The last lines of what was pushed, each cut to a length.
#[derive(Debug, Default)]
pub(super) struct LastLines {
    lines: VecDeque<Vec<u8>>,
    /// The line that has no end yet.
    open: Vec<u8>,
}

impl LastLines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => self.close(),
                // A carriage return redraws the line.
                b'\r' => self.open.clear(),
                _ if self.open.len() < LENGTH_LIMIT => self.open.push(byte),
                _ => {}
            }
        }
    }

    fn close(&mut self) {
        let line = std::mem::take(&mut self.open);
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        if self.lines.len() == LINE_LIMIT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(super) fn into_lines(mut self) -> Vec<String> {
        self.close();
        self.lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut last = LastLines::default();
        // In pieces, as a pipe gives them.
        for piece in text.as_bytes().chunks(7) {
            last.push(piece);
        }
        last.into_lines()
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let text: String = (0..50).map(|number| format!("line {number}\n")).collect();
        let lines = lines(&text);
        assert_eq!(lines.len(), LINE_LIMIT);
        assert_eq!(lines.first().unwrap(), "line 30");
        assert_eq!(lines.last().unwrap(), "line 49");
    }

    #[test]
    fn a_last_line_without_an_end_is_kept_and_empty_ones_are_not() {
        assert_eq!(lines("a\n\n  \nb"), ["a", "b"]);
    }

    #[test]
    fn a_line_that_is_redrawn_counts_once() {
        assert_eq!(lines("10 %\r20 %\r30 %\ndone\n"), ["30 %", "done"]);
    }

    #[test]
    fn a_long_line_is_cut() {
        assert_eq!(lines(&"x".repeat(5000))[0].len(), LENGTH_LIMIT);
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let mut last = LastLines::default();
        last.push(&[0xff, b'a', b'\n']);
        assert_eq!(last.into_lines(), ["\u{fffd}a"]);
    }
}
