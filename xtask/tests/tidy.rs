//! The tidy test: this workspace follows its own style rules.

use xtask::tidy::{self, Finding};
use xtask::{Failure, workspace_root};

fn assert_none(findings: Result<Vec<Finding>, Failure>) {
    let findings = findings.expect("the workspace can be read and cargo runs");
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} findings:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

#[test]
fn sources_follow_the_style_rules() {
    assert_none(tidy::check_sources(&workspace_root()));
}

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    assert_none(tidy::check_edges());
}

#[test]
fn the_two_commands_of_the_readme_stand_alone_and_ci_runs_the_tests() {
    assert_none(tidy::check_commands(&workspace_root()));
}

#[test]
fn files_that_the_architecture_names_are_there() {
    assert_none(tidy::check_architecture(&workspace_root()));
}

#[test]
fn generated_files_are_what_their_generators_print() {
    assert_none(tidy::check_generated());
}
