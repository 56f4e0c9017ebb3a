//! The project's chores: what a developer runs is what CI runs.
//!
//! ```text
//!   cargo xtask test ──► fmt ─► lint ─► servers ─► cargo test, tidy included ─► summary
//! ```
//!
//! A chore is a module with a `run(arguments)`; the table below is all that knows them. This
//! crate must build in seconds, so it runs other crates rather than depend on them.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod cluster;
mod e2e;
mod fmt;
mod generate;
mod image;
mod lint;
mod operator;
mod servers;
mod step;
mod test;
pub mod tidy;

pub use step::{Failure, report, workspace_root};

struct Chore {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<(), Failure>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "test",
        usage: "",
        about: test::ABOUT,
        run: test::run,
    },
    Chore {
        name: "fmt",
        usage: "[--check]",
        about: fmt::ABOUT,
        run: fmt::run,
    },
    Chore {
        name: "lint",
        usage: "[--advisories]",
        about: lint::ABOUT,
        run: lint::run,
    },
    Chore {
        name: "tidy",
        usage: "[PATH]",
        about: tidy::ABOUT,
        run: tidy::run,
    },
    Chore {
        name: "generate",
        usage: "[--check]",
        about: generate::ABOUT,
        run: generate::run,
    },
    Chore {
        name: "servers",
        usage: "",
        about: servers::ABOUT,
        run: servers::run,
    },
    Chore {
        name: "cluster",
        usage: cluster::USAGE,
        about: cluster::ABOUT,
        run: cluster::run,
    },
    Chore {
        name: "image",
        usage: "[--profile P] [NAME…]",
        about: image::ABOUT,
        run: image::run,
    },
    Chore {
        name: "operator",
        usage: "[--dev]",
        about: operator::ABOUT,
        run: operator::run,
    },
    Chore {
        name: "e2e",
        usage: "[NAME…]",
        about: e2e::ABOUT,
        run: e2e::run,
    },
    Chore {
        name: "bench",
        usage: "[operator] [--json] [NAME…]",
        about: bench::ABOUT,
        run: bench::run,
    },
];

/// Runs the chore that the first argument names.
///
/// # Errors
/// When there is no such chore, or it failed.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        println!("{}", usage());
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        println!("{}", usage());
        return Ok(());
    }
    let chore = CHORES.iter().find(|chore| chore.name == name);
    let chore = chore.ok_or_else(|| Failure::new(format!("no chore `{name}`\n\n{}", usage())))?;
    (chore.run)(rest)
}

fn usage() -> String {
    let line = |chore: &Chore| {
        let call = format!("{} {}", chore.name, chore.usage);
        format!("  cargo xtask {call:<24} {}\n", chore.about)
    };
    format!("chores:\n{}", CHORES.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_chore_is_named_together_with_the_known_ones() {
        let failure = run(&["tset".to_string()]).unwrap_err().to_string();
        assert!(failure.contains("no chore `tset`") && failure.contains("cargo xtask test"));
    }
}
