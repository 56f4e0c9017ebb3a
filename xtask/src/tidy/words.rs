//! Words that must not stand in code, everywhere or outside tests, or in a pure crate.

use super::Finding;
use super::source::Source;
use super::text::{line_of, word_offsets};

/// What must not be written, and why.
struct Ban {
    text: &'static str,
    is_word: bool,
    is_for_tests_too: bool,
    reason: &'static str,
}

const BANS: &[Ban] = &[
    Ban::everywhere("unsafe", true, "it is forbidden in every crate"),
    Ban::everywhere("todo!", false, "finish it, or file an issue"),
    Ban::everywhere("unimplemented!", false, "finish it, or file an issue"),
    Ban::everywhere("dbg!", false, "use `tracing`, or nothing"),
    Ban {
        text: ".unwrap()",
        is_word: false,
        is_for_tests_too: false,
        reason: "return an error, or `expect` with the reason why it holds",
    },
];

impl Ban {
    const fn everywhere(text: &'static str, is_word: bool, reason: &'static str) -> Self {
        Self {
            text,
            is_word,
            is_for_tests_too: true,
            reason,
        }
    }
}

/// Crates that take no file, network, clock, environment, randomness or logger.
const PURE: &[&str] = &["runtime/protocol/src/"];
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::io::stdin",
    "std::io::stdout",
    "Instant::now",
    "SystemTime::now",
    "tracing::",
    "println!",
    "eprintln!",
    "RandomState",
];
/// Crates that hold the custom resources' types: they neither wait nor talk to anybody.
const CLIENTLESS: &[&str] = &["controller/api/src/"];
const CLIENT_WORDS: &[&str] = &["tokio::", "kube::Client", "kube::client", "std::net"];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ban in BANS {
        for line in lines_with(source, ban.text, ban.is_word) {
            if ban.is_for_tests_too || !source.is_test(line) {
                let message = format!("`{}`: {}", ban.text, ban.reason);
                findings.push(Finding::new(&source.path, line, message));
            }
        }
    }
    let reason = "this crate is pure; pass it in as an argument";
    findings.extend(check_crates(source, PURE, IMPURE, reason));
    let reason = "this crate holds types only; talk to the API server in `controller`";
    findings.extend(check_crates(source, CLIENTLESS, CLIENT_WORDS, reason));
    findings
}

fn check_crates(source: &Source, crates: &[&str], words: &[&str], reason: &str) -> Vec<Finding> {
    if !crates.iter().any(|prefix| source.path.starts_with(prefix)) {
        return Vec::new();
    }
    let found = words.iter().flat_map(|word| {
        let lines = lines_with(source, word, false).into_iter();
        let lines = lines.filter(|line| !source.is_test(*line));
        lines.map(move |line| Finding::new(&source.path, line, format!("`{word}`: {reason}")))
    });
    found.collect()
}

fn lines_with(source: &Source, text: &str, is_word: bool) -> Vec<usize> {
    let code = &source.code;
    let offsets: Vec<usize> = if is_word {
        word_offsets(code, text).collect()
    } else {
        let starts_anew = |at: &usize| {
            !text.starts_with(super::text::is_word) || !code[..*at].ends_with(super::text::is_word)
        };
        code.match_indices(text)
            .map(|(at, _)| at)
            .filter(starts_anew)
            .collect()
    };
    offsets.into_iter().map(|at| line_of(code, at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let source = Source::parse(path, text.to_string());
        check(&source).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn each_banned_word_is_found_in_code_but_not_in_comments_or_strings() {
        for bad in [
            "unsafe {}",
            "todo!()",
            "unimplemented!()",
            "dbg!(1)",
            "b.unwrap()",
        ] {
            assert_eq!(
                lines("a/src/b.rs", &format!("fn a() {{\n    {bad}\n}}\n")),
                [2],
                "{bad}"
            );
            assert_eq!(
                lines("a/src/b.rs", &format!("// {bad}\nlet a = \"{bad}\";\n")),
                [0; 0]
            );
        }
        assert_eq!(
            lines("a/src/b.rs", "#![forbid(unsafe_code)]\nmy_todo!()\n"),
            [0; 0]
        );
    }

    #[test]
    fn tests_may_unwrap_but_not_leave_work_undone() {
        assert_eq!(
            lines(
                "a/tests/b.rs",
                "fn a() {\n    b.unwrap();\n    todo!()\n}\n"
            ),
            [3]
        );
    }

    #[test]
    fn a_pure_crate_reads_no_clock_and_no_file() {
        let text = "use std::fs;\nfn a() { Instant::now(); }\n";
        assert_eq!(lines("runtime/protocol/src/log.rs", text), [1, 2]);
        assert_eq!(lines("runtime/storage/src/log.rs", text), [0; 0]);
        assert_eq!(lines("runtime/protocol/tests/log.rs", text), [0; 0]);
    }

    #[test]
    fn the_types_crate_knows_no_runtime_and_no_client() {
        assert_eq!(
            lines("controller/api/src/lib.rs", "use kube::Client;\n"),
            [1]
        );
        assert_eq!(
            lines("controller/api/src/lib.rs", "use kube::CustomResource;\n"),
            [0; 0]
        );
    }
}
