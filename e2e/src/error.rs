//! What can go wrong while a test server is built, started or talked to.

use std::io;
use std::path::{Path, PathBuf};

/// Why a server could not be had. Tests unwrap it, so each message names the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// None of the variables that place the cache is set.
    #[error("no folder for the cache: set TIDEGATE_CACHE, XDG_CACHE_HOME or HOME")]
    NoCacheFolder,
    /// A file or folder could not be read, written, locked or moved.
    #[error("cannot {action} {}", path.display())]
    File {
        /// The verb: `create`, `lock`, `rename`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A tool that builds test servers is not installed, or cannot be run.
    #[error("cannot run {tool}, which builds {program}: install it and put it on PATH")]
    Tool {
        /// The tool: `go`, `npm` or `cargo`.
        tool: &'static str,
        /// The server's name.
        program: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A tool ran and failed, or did not leave the program where it was expected.
    #[error("building {program} {version} failed; the output is in {}:\n{tail}", log.display())]
    Build {
        /// The server's name.
        program: &'static str,
        /// The version wanted.
        version: &'static str,
        /// The whole output.
        log: PathBuf,
        /// The output's last lines.
        tail: String,
    },
    /// A server's process could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The server's name.
        program: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A server ended, or did not answer within the deadline.
    #[error("{program} {what} on port {port}; its last output:\n{tail}")]
    NotReady {
        /// The server's name.
        program: String,
        /// What happened instead.
        what: &'static str,
        /// The port that it was told to serve.
        port: u16,
        /// Its output's last lines.
        tail: String,
    },
    /// No free port was found.
    #[error("no free port on loopback between {first} and {last}: end stale servers")]
    NoPort {
        /// The lowest port tried.
        first: u16,
        /// The highest port tried.
        last: u16,
    },
}

impl Error {
    /// Wraps a system error about `path`.
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}
