//! One Rust source, with what is test code in it marked.

use std::collections::BTreeSet;

use super::text::{code_only, item_at, line_of};

/// A source file as the rules see it.
///
/// # Invariants
/// `code` has the lines of `text`, with comments and the insides of literals blanked, and
/// `is_test_line` has one entry for each.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the workspace's folder, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
    is_test_line: Vec<bool>,
    declared_test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn parse(path: &str, text: String) -> Self {
        let code = code_only(&text);
        let mut is_test_line = vec![is_test_path(path); text.lines().count()];
        let mut declared_test_modules = Vec::new();
        for start in test_attributes(&code) {
            let item = item_at(&code, after_attributes(&code, start));
            let last = line_of(&code, item.end.saturating_sub(1));
            let lines = is_test_line.len();
            is_test_line[line_of(&code, start) - 1..last.min(lines)].fill(true);
            if item.body.is_none()
                && let Some(name) = module_name(&code[start..item.end])
            {
                declared_test_modules.push(format!("{}/{name}", module_folder(path)));
            }
        }
        Self {
            path: path.to_string(),
            text,
            code,
            is_test_line,
            declared_test_modules,
        }
    }

    /// The modules, as paths without ending, that this source declares for tests only.
    pub(crate) fn declared_test_modules(&self) -> Vec<String> {
        self.declared_test_modules.clone()
    }

    /// Marks the whole source as test code if it is one of these modules or lies in one.
    pub(crate) fn mark_if_in(&mut self, test_modules: &BTreeSet<String>) {
        let stem = self.path.trim_end_matches(".rs");
        let mut prefixes = stem
            .match_indices('/')
            .map(|(at, _)| &stem[..at])
            .chain([stem]);
        if prefixes.any(|prefix| test_modules.contains(prefix)) {
            self.is_test_line.fill(true);
        }
    }

    /// Whether the line, counted from 1, is test code.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.is_test_line.get(line - 1).copied().unwrap_or(false)
    }

    /// How many lines are not test code.
    pub(crate) fn product_line_count(&self) -> usize {
        self.is_test_line
            .iter()
            .filter(|is_test| !**is_test)
            .count()
    }
}

fn is_test_path(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.any(|part| matches!(part, "tests" | "tests.rs" | "benches"))
}

/// Where `#[cfg(test)]` and `#[cfg(all(test, …))]` stand.
fn test_attributes(code: &str) -> Vec<usize> {
    let plain = code.match_indices("#[cfg(test)]");
    let combined = code.match_indices("#[cfg(all(test");
    plain.chain(combined).map(|(at, _)| at).collect()
}

/// The first byte after the attributes that start at `start`.
fn after_attributes(code: &str, start: usize) -> usize {
    let mut at = start;
    while code[at..].starts_with("#[") {
        let mut depth = 0_usize;
        let closes = |c: char| {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            c == ']' && depth == 0
        };
        let Some(length) = code[at..].find(closes) else {
            return code.len();
        };
        let rest = &code[at + length + 1..];
        at = code.len() - rest.trim_start().len();
    }
    at
}

/// The name in `… mod NAME;`.
fn module_name(item: &str) -> Option<&str> {
    let (_, name) = item.trim_end_matches(';').rsplit_once("mod ")?;
    Some(name.trim())
}

/// Where the modules that `path` declares lie.
fn module_folder(path: &str) -> &str {
    let stem = path.trim_end_matches(".rs");
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    if matches!(name, "lib" | "main" | "mod") {
        folder
    } else {
        stem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "//! A.\nfn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    {}\n}\n\
        fn b() {}\n#[cfg(test)]\nmod simulation;\n";

    #[test]
    fn a_test_module_is_marked_and_what_surrounds_it_is_not() {
        let source = Source::parse("a/src/lib.rs", SAMPLE.to_string());
        let marked: Vec<usize> = (1..=10).filter(|line| source.is_test(*line)).collect();
        assert_eq!(marked, [3, 4, 5, 6, 7, 9, 10]);
        assert_eq!(source.product_line_count(), 3);
    }

    #[test]
    fn a_module_declared_for_tests_is_test_code_with_all_below_it() {
        let parent = Source::parse("a/src/lib.rs", SAMPLE.to_string());
        let modules: BTreeSet<String> = parent.declared_test_modules().into_iter().collect();
        let is_all_test = |path: &str| {
            let mut source = Source::parse(path, "fn a() {}\n".to_string());
            source.mark_if_in(&modules);
            source.product_line_count() == 0
        };
        assert!(is_all_test("a/src/simulation.rs"));
        assert!(is_all_test("a/src/simulation/world.rs"));
        assert!(!is_all_test("a/src/simulation_rules.rs"));
        assert!(is_all_test("a/tests/kill.rs"));
        assert!(is_all_test("a/src/log/tests.rs"));
    }
}
