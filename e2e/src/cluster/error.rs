//! What can go wrong around the test cluster.

use std::io;
use std::path::PathBuf;

/// Why the cluster, or something in it, could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program could not be built, or a file not be had.
    #[error(transparent)]
    Testkit(#[from] crate::Error),
    /// No cluster runs.
    #[error("no test cluster runs; start one with `cargo xtask cluster up`")]
    NotUp,
    /// The cluster in use was not started here.
    #[error(
        "cannot {action} in a cluster that TIDEGATE_TEST_KUBECONFIG names: \
         unset it and run `cargo xtask cluster up`"
    )]
    External {
        /// What was wanted.
        action: &'static str,
    },
    /// Programs that the distribution has are missing, and cannot be installed from here.
    #[error("the test cluster needs {missing}; install: {packages}")]
    Packages {
        /// The missing programs.
        missing: String,
        /// The Debian packages that have them.
        packages: String,
    },
    /// Only root can set up a node.
    #[error(
        "the test cluster needs root; run as root, or name a cluster in TIDEGATE_TEST_KUBECONFIG"
    )]
    NotRoot,
    /// A program could not be run at all.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// Its exit status.
        status: String,
        /// What it printed on standard error.
        output: String,
    },
    /// Something did not come up, or ended, while the cluster started.
    #[error("{what}; last lines of {}:\n{tail}", log.display())]
    Component {
        /// What happened.
        what: String,
        /// The whole output.
        log: PathBuf,
        /// The output's last lines.
        tail: String,
    },
    /// A condition was not reached in time.
    #[error("waited {seconds} s for {what}; last seen: {seen}")]
    Deadline {
        /// The condition.
        what: String,
        /// How long it was waited for.
        seconds: u64,
        /// What was seen instead.
        seen: String,
    },
    /// The cluster's first process refused a request or did not answer.
    #[error("the cluster's first process did not take `{request}`: {answer}")]
    Control {
        /// The request.
        request: String,
        /// Its answer, or what is known of the failure.
        answer: String,
    },
    /// A file that describes the cluster cannot be understood.
    #[error(
        "cannot read {}; run `cargo xtask cluster down` and `cargo xtask cluster up`",
        path.display()
    )]
    State {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
}
