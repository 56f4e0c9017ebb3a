//! Reading Rust without a parser: comments and literals blanked, brackets matched.

/// The same text with comments and the insides of literals replaced by spaces, so that whatever
/// is found is code. Every character keeps its line and column.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment_end(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(
                chars[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    code
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_or_comment_end(chars: &[char], at: usize) -> usize {
    let peek = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let follows_word = at > 0 && is_word(chars[at - 1]);
    match (chars[at], peek(1)) {
        ('/', '/') => find(chars, at, |c| c == '\n'),
        ('/', '*') => block_comment_end(chars, at),
        ('"', _) => string_end(chars, at),
        ('r', '"' | '#') if !follows_word || matches!(chars[at - 1], 'b' | 'c') => {
            raw_string_end(chars, at)
        }
        // A lifetime has no closing quote after its first character.
        ('\'', '\\') => find(chars, at + 3, |c| c == '\'') + 1,
        ('\'', _) if peek(2) == '\'' => at + 3,
        _ => at,
    }
}

fn find(chars: &[char], from: usize, is_end: impl Fn(char) -> bool) -> usize {
    (from..chars.len())
        .find(|at| is_end(chars[*at]))
        .unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], start: usize) -> usize {
    let quote = find(chars, start + 1, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        // A raw identifier.
        return start;
    }
    let hashes = quote - start - 1;
    let is_end = |at: usize| {
        let tail = chars.get(at + 1..at + 1 + hashes);
        chars[at] == '"' && tail.is_some_and(|tail| tail.iter().all(|c| *c == '#'))
    };
    let end = (quote + 1..chars.len()).find(|at| is_end(*at));
    end.map_or(chars.len(), |at| at + 1 + hashes)
}

/// Whether a character can be part of an identifier.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Byte offsets at which `word` stands alone in `code`.
pub(crate) fn word_offsets<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let is_edge = |c: Option<char>| !c.is_some_and(is_word);
            is_edge(code[..*at].chars().next_back())
                && is_edge(code[at + word.len()..].chars().next())
        })
}

/// An item from `start` on: where its body opens, if it has one, and the byte after its end.
pub(crate) struct Item {
    pub(crate) body: Option<usize>,
    pub(crate) end: usize,
}

/// Finds the end of the item that starts at byte `start`: its first `;` outside brackets, or the
/// brace that closes its body.
pub(crate) fn item_at(code: &str, start: usize) -> Item {
    let mut depth = 0_usize;
    let mut body = None;
    for (offset, byte) in code.as_bytes()[start..].iter().enumerate() {
        let at = start + offset;
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' => {
                if depth == 0 {
                    body = body.or(Some(at));
                }
                depth += 1;
            }
            // A field or a variant ends where what holds it does.
            b'}' if depth == 0 => return Item { body, end: at },
            b'}' => {
                depth -= 1;
                if depth == 0 && body.is_some() {
                    return Item { body, end: at + 1 };
                }
            }
            b';' if depth == 0 => {
                return Item {
                    body: None,
                    end: at + 1,
                };
            }
            _ => {}
        }
    }
    Item {
        body,
        end: code.len(),
    }
}

/// The line of a byte offset, counted from 1.
pub(crate) fn line_of(code: &str, offset: usize) -> usize {
    code[..offset].bytes().filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_is_kept() {
        let text = "let a = \"unsafe \\\" {\"; // todo!()\n/* x /* y */ { */ b('{', '\\'');";
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        assert!(code.contains("let a =") && code.contains("b("));
        assert!(!code.contains("unsafe") && !code.contains("todo") && !code.contains('{'));
    }

    #[test]
    fn raw_strings_end_at_their_hashes_and_lifetimes_are_no_literals() {
        let code = code_only("fn f<'a>(x: &'a str) { g(br#\"}\"}\"#); r#type; h(r\"\\\") }");
        assert_eq!(code.matches('}').count(), 1);
        assert!(code.contains("&'a str") && code.contains("r#type") && code.contains("h("));
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(
            word_offsets("unsafe_code unsafe", "unsafe").collect::<Vec<_>>(),
            [12]
        );
    }

    #[test]
    fn an_item_ends_at_its_own_brace_or_semicolon() {
        let code = "fn f(a: [u8; 4]) { if x { } } fn g();";
        assert_eq!(item_at(code, 0).end, 29);
        let declared = item_at(code, 30);
        assert_eq!((declared.body, declared.end), (None, code.len()));
        assert_eq!(item_at("a: u8 } fn f() {}", 0).end, 6);
    }
}
