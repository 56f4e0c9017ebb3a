//! Sentences that fit.

/// The text, cut at a character so that it has at most so many bytes.
pub(crate) fn bounded(text: &str, bytes_max: usize) -> String {
    const CUT: &str = "…";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max.saturating_sub(CUT.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{CUT}", text[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = bounded(&"é".repeat(2000), 1024);
        assert_eq!((text.len(), text.chars().count()), (1023, 511));
        assert_eq!(bounded("short", 5), "short");
    }
}
