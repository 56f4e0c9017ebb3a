//! `cargo xtask`: the one door to the project's chores. Each chore is a module of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match xtask::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            xtask::report(&failure);
            ExitCode::FAILURE
        }
    }
}
