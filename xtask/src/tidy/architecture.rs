//! The page that says which file holds what must not name files that are gone.

use super::Finding;

pub(crate) const PAGE: &str = "docs/ARCHITECTURE.md";

/// Checks every path in backticks in the table under "Concept → file".
pub(crate) fn check(page: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_table = false;
    let mut row_count = 0;
    for (index, line) in page.lines().enumerate() {
        if line.starts_with("## ") {
            is_table = line == "## Concept → file";
        }
        if !is_table || !line.starts_with("| ") {
            continue;
        }
        row_count += 1;
        for path in line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|part| part.ends_with(".rs"))
        {
            if !exists(path) {
                let message = format!("{path} is gone; name the file that holds this now");
                findings.push(Finding::new(PAGE, index + 1, message));
            }
        }
    }
    if row_count == 0 {
        findings.push(Finding::new(
            PAGE,
            0,
            "has no table under `## Concept → file`",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_TEXT: &str = "# A\n## Concept → file\n| concept | where |\n\
        | `map`, and more | `a/src/b.rs`, `a/src/c.rs` |\n## More\n| x | `a/src/d.rs` |\n";

    #[test]
    fn a_file_that_is_gone_is_named_with_its_line() {
        let findings = check(PAGE_TEXT, |path| path == "a/src/b.rs");
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 4);
        assert!(findings[0].message.contains("a/src/c.rs"));
    }

    #[test]
    fn a_page_without_the_table_is_refused() {
        assert_eq!(check("# A\n", |_| true).len(), 1);
    }
}
