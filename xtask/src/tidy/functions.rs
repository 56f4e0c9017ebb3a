//! Rules about functions: how long they are and how much they take.

use super::Finding;
use super::source::Source;
use super::text::{is_word, item_at, line_of, word_offsets};

const MAX_FUNCTION_LINES: usize = 70;
/// Besides `self`.
const MAX_PARAMETERS: usize = 5;

/// Test code is left alone: a long story told in order reads better than its pieces.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let code = &source.code;
    let mut findings = Vec::new();
    for start in word_offsets(code, "fn") {
        let line = line_of(code, start);
        let name: String = code[start + 2..]
            .trim_start()
            .chars()
            .take_while(|c| is_word(*c))
            .collect();
        // Without a name it is a function pointer's type.
        if name.is_empty() || source.is_test(line) {
            continue;
        }
        let item = item_at(code, start);
        let lines = line_of(code, item.end.saturating_sub(1)) + 1 - line;
        let mut add = |message| findings.push(Finding::new(&source.path, line, message));
        if item.body.is_some() && lines > MAX_FUNCTION_LINES {
            add(format!(
                "`{name}` has {lines} lines; at most {MAX_FUNCTION_LINES}"
            ));
        }
        let parameters = parameter_count(&code[start..item.body.unwrap_or(item.end)]);
        if parameters > MAX_PARAMETERS {
            add(format!(
                "`{name}` takes {parameters} parameters; at most {MAX_PARAMETERS}, make a type"
            ));
        }
    }
    findings
}

/// How many parameters, `self` not counted, the signature takes.
fn parameter_count(signature: &str) -> usize {
    // Arrows would close angle brackets that they did not open.
    let signature = signature.replace("->", "  ").replace("=>", "  ");
    let mut depth = 0_i32;
    let mut parameters: Vec<String> = vec![String::new()];
    let mut is_inside = false;
    for c in signature.chars() {
        match c {
            '(' if depth == 0 && !is_inside => is_inside = true,
            ')' if depth == 0 && is_inside => break,
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth -= 1,
            ',' if depth == 0 && is_inside => parameters.push(String::new()),
            _ => {}
        }
        if is_inside && let Some(parameter) = parameters.last_mut() {
            parameter.push(c);
        }
    }
    let is_own = |parameter: &String| {
        let name = parameter.split(':').next().unwrap_or_default();
        let name = name.trim_matches(|c: char| !is_word(c));
        !name.is_empty() && name.rsplit([' ', '&']).next() != Some("self")
    };
    parameters
        .iter()
        .filter(|parameter| is_own(parameter))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let source = Source::parse("a/src/b.rs", text.to_string());
        check(&source).iter().map(ToString::to_string).collect()
    }

    fn function_of(lines: usize) -> String {
        format!("fn a() {{\n{}}}\n", "    b();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_of_71_lines_is_refused() {
        assert_eq!(messages(&function_of(70)), [""; 0]);
        assert_eq!(
            messages(&function_of(71)),
            ["a/src/b.rs:1: `a` has 71 lines; at most 70"]
        );
    }

    #[test]
    fn test_functions_may_be_long() {
        let text = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function_of(90));
        assert_eq!(messages(&text), [""; 0]);
    }

    #[test]
    fn six_parameters_besides_self_are_refused() {
        let five =
            "fn a<F: Fn(u8, u8) -> u8>(&mut self, a: (u8, u8), b: F, c: u8, d: u8, e: M<u8, u8>,)";
        assert_eq!(parameter_count(five), 5);
        assert_eq!(
            messages("fn a(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}\n").len(),
            1
        );
        assert_eq!(messages("type A = fn(u8, u8, u8, u8, u8, u8);\n"), [""; 0]);
    }

    #[test]
    fn the_receiver_is_not_counted_in_any_form() {
        for receiver in [
            "self",
            "&self",
            "&mut self",
            "mut self",
            "&'a self",
            "self: Arc<Self>",
        ] {
            assert_eq!(
                parameter_count(&format!("fn a({receiver})")),
                0,
                "{receiver}"
            );
        }
    }
}
