//! `cargo xtask fmt`: formats the sources, or checks that they are formatted.

use crate::step::{self, Failure, cargo};

pub(crate) const ABOUT: &str = "format the sources; with --check, only say what would change";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step::flags(arguments, &["--check"])?;
    let is_check = !arguments.is_empty();
    let command = if is_check {
        cargo(&["fmt", "--all", "--check"])
    } else {
        cargo(&["fmt", "--all"])
    };
    step::run("fmt", command, "run `cargo xtask fmt`")
}
