//! The last lines of a stream, in bounded memory.

use std::collections::VecDeque;

/// How many lines are kept.
const LINES_MAX: usize = 20;
/// The longest line kept, in bytes; the rest of it is left out.
const LINE_BYTES_MAX: usize = 400;

/// The last lines so far.
#[derive(Debug, Default)]
pub(super) struct LastLines {
    lines: VecDeque<String>,
    /// The line that has not ended yet.
    open: Vec<u8>,
}

impl LastLines {
    /// Takes the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = LINE_BYTES_MAX.saturating_sub(self.open.len());
            self.open.extend_from_slice(&text[..text.len().min(room)]);
            if is_whole {
                self.close();
            }
        }
    }

    /// All that is kept, oldest first.
    pub(super) fn take(&mut self) -> Vec<String> {
        self.close();
        std::mem::take(&mut self.lines).into()
    }

    fn close(&mut self) {
        let bytes = std::mem::take(&mut self.open);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if text.is_empty() {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_whatever_pieces_they_come_in() {
        let mut last = LastLines::default();
        for piece in ["one\ntw", "o\n\n", "thr", "ee"] {
            last.push(piece.as_bytes());
        }
        assert_eq!(last.take(), ["one", "two", "three"]);
    }

    #[test]
    fn only_the_last_lines_and_their_beginnings_are_kept() {
        let mut last = LastLines::default();
        for number in 0..100 {
            last.push(format!("{number} {}\n", "x".repeat(1000)).as_bytes());
        }
        let lines = last.take();
        assert_eq!(lines.len(), LINES_MAX);
        assert!(lines[0].starts_with("80 x"), "{}", lines[0]);
        assert_eq!(lines[19].len(), LINE_BYTES_MAX);
    }
}
