//! The README's two commands, which newcomers and CI run as they stand.

use super::Finding;

const COMMANDS: [(&str, &str); 2] = [
    ("## Try it", "cargo run --release -p word-count"),
    ("## Test it", "cargo xtask test"),
];

/// Checks that each command stands alone in the only fenced block under its heading, and that
/// CI runs the test command.
pub(crate) fn check(readme: &str, ci: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (heading, command) in COMMANDS {
        if blocks_under(readme, heading) != [vec![command]] {
            let message = format!("`{heading}` needs one fenced block that holds `{command}` only");
            findings.push(Finding::new("README.md", 0, message));
        }
    }
    let (_, test_command) = COMMANDS[1];
    let runs_it = |line: &str| line.trim().trim_start_matches("exec ") == test_command;
    if !ci.lines().any(runs_it) {
        findings.push(Finding::new(
            ".ci/run",
            0,
            format!("does not run `{test_command}`"),
        ));
    }
    findings
}

/// The lines of each fenced block between this heading and the next of its level.
fn blocks_under<'a>(readme: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let mut lines = readme
        .lines()
        .skip_while(|line| line.trim_end() != heading)
        .skip(1);
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("# ") || line.starts_with("## ") {
            break;
        }
        if line.trim_start().starts_with("```") {
            blocks.push(
                lines
                    .by_ref()
                    .take_while(|line| line.trim() != "```")
                    .collect(),
            );
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# A\n## Try it\nText.\n```sh\ncargo run --release -p word-count\n```\n\
        ## Test it\n```sh\ncargo xtask test\n```\n## More\n```sh\nls\n```\n";
    const CI: &str = "#!/usr/bin/env bash\ncargo xtask test\n";

    #[test]
    fn the_two_commands_alone_in_their_blocks_pass() {
        assert_eq!(check(GOOD, CI), []);
    }

    #[test]
    fn a_second_line_a_second_block_and_a_missing_heading_are_refused() {
        let second_line = GOOD.replace("cargo xtask test\n", "cd x\ncargo xtask test\n");
        assert_eq!(check(&second_line, CI).len(), 1);
        let second_block = GOOD.replace("Text.\n", "```\nls\n```\n");
        assert_eq!(check(&second_block, CI).len(), 1);
        assert_eq!(check(&GOOD.replace("## Try it", "## Use it"), CI).len(), 1);
    }

    #[test]
    fn a_ci_that_runs_something_else_is_refused() {
        assert_eq!(check(GOOD, "cargo test\n").len(), 1);
        assert_eq!(check(GOOD, "# cargo xtask test\n").len(), 1);
    }
}
