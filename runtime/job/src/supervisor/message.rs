//! The termination message: what Kubernetes shows of a container that has ended.

use std::path::{Path, PathBuf};
use std::{env, fs};

use tidegate_api::pod::TERMINATION_LOG_PATH;

use crate::model::LastExitView;

/// Another path for the message.
const PATH_ENV: &str = "TIDEGATE_TERMINATION_LOG";
/// Kubernetes reads no more.
const BYTES_MAX: usize = 4096;

/// Writes why the supervisor ends, where somebody reads it.
pub(super) fn write(ended: &LastExitView, crash_count: usize) {
    let text = render(ended, crash_count);
    let path = match env::var_os(PATH_ENV) {
        Some(path) => PathBuf::from(path),
        // Outside of a container there is no such file, and nobody who would read it.
        None if Path::new(TERMINATION_LOG_PATH).exists() => TERMINATION_LOG_PATH.into(),
        None => return,
    };
    if let Err(error) = fs::write(&path, text) {
        super::say(&format!("cannot write {}: {error}", path.display()));
    }
}

/// One line that says what happened, then the last lines, the newest of them where not all fit.
fn render(ended: &LastExitView, crash_count: usize) -> String {
    let mut text = format!("the job process {}", ended.description);
    if crash_count > 1 {
        text.push_str(&format!(
            "; it crashed {crash_count} times and did not run in between"
        ));
    }
    let mut left = BYTES_MAX.saturating_sub(text.len());
    let fits = |line: &&String| {
        let size = line.len() + 1;
        let is_room = size <= left;
        left = left.saturating_sub(size);
        is_room
    };
    let kept: Vec<_> = ended.last_lines.iter().rev().take_while(fits).collect();
    for line in kept.into_iter().rev() {
        text.push('\n');
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(lines: Vec<String>) -> LastExitView {
        LastExitView {
            time_ms: 0,
            exit_code: Some(101),
            signal: None,
            description: "ended with exit code 101".to_owned(),
            category: None,
            last_lines: lines,
        }
    }

    #[test]
    fn the_message_says_what_happened_and_ends_with_the_newest_lines() {
        let lines = vec!["thread panicked".to_owned(), "at the disco".to_owned()];
        let expected = "the job process ended with exit code 101; it crashed 5 times and did not \
                        run in between\nthread panicked\nat the disco";
        assert_eq!(render(&ended(lines), 5), expected);
    }

    #[test]
    fn the_message_is_no_longer_than_kubernetes_reads() {
        let lines = (0..20).map(|number| format!("{number} {}", "x".repeat(398)));
        let text = render(&ended(lines.collect()), 1);
        assert!(text.len() <= BYTES_MAX && text.len() > BYTES_MAX - 500);
        assert!(text.lines().last().unwrap().starts_with("19 "));
    }
}
