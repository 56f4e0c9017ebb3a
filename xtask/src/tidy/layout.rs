//! Rules about a file as a whole: its length, its first line, its name, its columns.

use super::Finding;
use super::source::Source;

/// A file without its tests is refused above this; look for a seam at 400.
const MAX_FILE_LINES: usize = 600;
const MAX_COLUMNS: usize = 100;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = [
    "util", "utils", "helper", "helpers", "manager", "common", "misc",
];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |line, message: String| findings.push(Finding::new(&source.path, line, message));
    let lines = source.product_line_count();
    if lines > MAX_FILE_LINES {
        add(
            0,
            format!("{lines} lines without tests; split it below {MAX_FILE_LINES}"),
        );
    }
    if !opens_with_doc(&source.text) && !is_unit_tests(&source.path) {
        add(
            1,
            "open with `//!`: what the module owns and must not know".to_string(),
        );
    }
    for part in source.path.trim_end_matches(".rs").split('/') {
        if EMPTY_NAMES.contains(&part) {
            add(
                0,
                format!("`{part}` names nothing; name the module after what it holds"),
            );
        }
    }
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS {
            add(
                index + 1,
                format!("{columns} columns; wrap at {MAX_COLUMNS}"),
            );
        }
    }
    findings
}

/// Unit tests in a file of their own belong to the module beside them, which has the doc.
fn is_unit_tests(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/src/") && path.contains("/tests/")
}

fn opens_with_doc(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with("#!"));
    first.is_some_and(|line| line.starts_with("//!"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(path, text.to_string());
        check(&source).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_of_601_lines_is_refused_and_test_lines_do_not_count() {
        let long = format!("//! A.\n{}", "fn a() {}\n".repeat(600));
        assert_eq!(messages("a/src/b.rs", &long).len(), 1);
        let tested = format!(
            "//! A.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn a() {}\n".repeat(599),
            "fn b() {}\n".repeat(99)
        );
        assert_eq!(messages("a/src/b.rs", &tested), [""; 0]);
    }

    #[test]
    fn a_module_without_its_doc_is_refused() {
        assert_eq!(messages("a/src/b.rs", "// A.\nfn a() {}\n").len(), 1);
        assert_eq!(messages("a/src/b.rs", "").len(), 1);
        assert_eq!(messages("a/src/b.rs", "#![allow(x)]\n\n//! A.\n"), [""; 0]);
        assert_eq!(messages("a/src/b/tests.rs", "use super::*;\n"), [""; 0]);
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        assert_eq!(messages("a/src/utils.rs", "//! A.\n").len(), 1);
        assert_eq!(messages("a/tests/common/mod.rs", "//! A.\n").len(), 1);
        assert_eq!(messages("a/src/commonality.rs", "//! A.\n"), [""; 0]);
    }

    #[test]
    fn a_line_of_101_columns_is_refused_whatever_its_bytes() {
        let line = |columns: usize| format!("//! A.\n//{}\n", "é".repeat(columns - 2));
        assert_eq!(messages("a/src/b.rs", &line(100)), [""; 0]);
        assert_eq!(messages("a/src/b.rs", &line(101)).len(), 1);
    }
}
