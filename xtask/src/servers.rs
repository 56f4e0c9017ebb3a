//! `cargo xtask servers`: builds the servers that tests start, so that the first test does not
//! have to wait for them.

use std::time::Instant;

use tidegate_testkit::{Program, cache_folder, cluster};

use crate::step::{self, Failure};

pub(crate) const ABOUT: &str = "build the servers that tests start, into the cache";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step::flags(arguments, &[])?;
    for program in Program::ALL {
        install(program)?;
    }
    install_cluster()
}

/// Builds the test cluster's programs unless the cache has them.
pub(crate) fn install_cluster() -> Result<(), Failure> {
    if cluster::is_built() {
        return Ok(());
    }
    let cache = cache_folder().map_err(|e| Failure::new(e.to_string()))?;
    let place = cache.display();
    eprintln!("xtask: building the test cluster into {place} (once, about eight minutes) …");
    let start = Instant::now();
    cluster::build().map_err(|e| Failure::new(with_cause(&e)))?;
    eprintln!(
        "xtask: the test cluster took {:.1} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Builds one program unless the cache has it; returns where it is.
pub(crate) fn install(program: Program) -> Result<std::path::PathBuf, Failure> {
    let what = format!("{} {}", program.name(), program.version());
    if !program.is_installed() {
        let cache = cache_folder().map_err(|e| Failure::new(e.to_string()))?;
        eprintln!("xtask: building {what} into {} (once) …", cache.display());
    }
    let start = Instant::now();
    let path = program
        .install()
        .map_err(|e| Failure::new(with_cause(&e)))?;
    if start.elapsed().as_secs() > 0 {
        eprintln!("xtask: {what} took {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(path)
}

pub(crate) fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(cause) => format!("{error}: {}", with_cause(cause)),
    }
}
