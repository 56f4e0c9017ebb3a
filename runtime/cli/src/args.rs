//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tidegate_protocol::LogNumber;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed, or damage was found; 2 the command line or the manifest is wrong. \
`tidegate run` passes the job's own exit code on, and 128 and the number for a signal.";

/// A day: whoever asks for longer than that would not know of an end.
const PROBE_SECONDS_MAX: u64 = 86_400;

/// Stateful stream processing with exactly-once results.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the StreamJob of a manifest on this machine.
    ///
    /// The job goes on from its newest checkpoint, if there is one. Ctrl-C stops it with a
    /// savepoint; a second Ctrl-C stops it at once.
    Run(Box<RunArgs>),
    /// Check a manifest without running it.
    Validate(ValidateArgs),
    /// Look at a job's checkpoints.
    #[command(subcommand)]
    Checkpoints(CheckpointsCommand),
    /// Look at a job's state.
    #[command(subcommand)]
    State(StateCommand),
    /// Ask an address, as in http://host:8080/readyz, whether it is well.
    Probe(ProbeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// The address; an answer of 200 means that it is.
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// Ask again for this long while the answer is another, or none.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        value_parser = clap::value_parser!(u64).range(..=PROBE_SECONDS_MAX)
    )]
    pub(crate) timeout_seconds: u64,
}

/// Which job of which file, with which changes.
#[derive(Debug, Args)]
pub(crate) struct ManifestArgs {
    /// The manifest, as kubectl takes it; - reads standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The StreamJob to take, by name or namespace/name, where the file holds several.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Give a field of the manifest another value, as in --set spec.parallelism=4; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub(crate) sets: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    /// The program to run; found by the name of the manifest's command or image when left out.
    #[arg(long, value_name = "PATH")]
    pub(crate) program: Option<PathBuf>,
    /// Keep checkpoints here (a folder or a URL), whatever the manifest says.
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) state_dir: Option<String>,
    /// Start from this state, whatever the manifest says: Latest, Empty, a checkpoint's name such
    /// as my-job-42, or a job's folder with #42 behind it.
    #[arg(long, value_name = "WHERE")]
    pub(crate) start_from: Option<String>,
    /// Serve the job API, metrics and health at this address, as in 127.0.0.1:8082.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Print what happens as JSON, one document a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Arguments for the program, after those of the manifest.
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    /// Print the result as one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where a job's checkpoints are.
#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    /// A job's folder or URL, or a storage folder or URL together with --job.
    #[arg(value_name = "FOLDER|URL")]
    pub(crate) location: String,
    /// The job, as name or namespace/name; left out where the location is the job's own folder, or
    /// a folder of this machine that holds one job only.
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub(crate) job: Option<String>,
    /// The S3 server, as in http://localhost:9000, where the URL names none.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// The bucket's region, where the URL names none.
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointsCommand {
    /// List the checkpoints and savepoints that are kept.
    List(FolderArgs),
    /// Show one checkpoint: its operators, files and source positions.
    Show {
        #[command(flatten)]
        folder: FolderArgs,
        /// The checkpoint's number; the newest when left out.
        #[arg(value_name = "CHECKPOINT", value_parser = Wanted::parse)]
        wanted: Option<Wanted>,
    },
    /// Read every file of every checkpoint, or of one, and check it against its checksum.
    Verify {
        #[command(flatten)]
        folder: FolderArgs,
        /// The checkpoint's number; all when left out.
        #[arg(value_name = "CHECKPOINT", value_parser = Wanted::parse)]
        wanted: Option<Wanted>,
    },
    /// Give up one checkpoint or savepoint of a job that does not run, and remove its files.
    ///
    /// One that is not kept is no failure. A run of the job that goes on after all is fenced and
    /// stops.
    Release {
        #[command(flatten)]
        folder: FolderArgs,
        /// The checkpoint's number; or, as in entry-8, its log entry's where that cannot be read.
        #[arg(value_name = "CHECKPOINT", value_parser = Wanted::parse)]
        wanted: Wanted,
    },
    /// Remove everything that a job keeps: checkpoints, savepoints and its log.
    ///
    /// The location is the job's own folder, or a storage folder together with --job. What the job
    /// did not write stays. A folder or bucket that is gone is no failure.
    Purge(FolderArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Print the rows of an operator's state.
    Dump(DumpArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
    /// The checkpoint's number; the newest when left out.
    #[arg(long, value_name = "CHECKPOINT", value_parser = checkpoint_number)]
    pub(crate) checkpoint: Option<u64>,
    /// The operator, by id or name; left out where one operator only keeps state by key.
    #[arg(long, value_name = "NAME")]
    pub(crate) operator: Option<String>,
    /// Print this key's rows only.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Print at most this many rows.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = row_count)]
    pub(crate) limit: usize,
}

/// A checkpoint as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// By its number.
    Checkpoint(u64),
    /// By its log entry, as in `entry-8`: what the entry holds cannot be read.
    Entry(LogNumber),
}

impl Wanted {
    const ENTRY_PREFIX: &str = "entry-";

    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix(Self::ENTRY_PREFIX) {
            None => checkpoint_number(text).map(Self::Checkpoint),
            Some(number) => number
                .parse()
                .ok()
                .and_then(|number| LogNumber::new(number).ok())
                .map(Self::Entry)
                .ok_or_else(|| "expected a log entry's number, as in entry-8".to_owned()),
        }
    }

    /// How a log entry that cannot be read is named.
    pub(crate) fn entry_name(number: LogNumber) -> String {
        format!("{}{number}", Self::ENTRY_PREFIX)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(id) => write!(f, "checkpoint {id}"),
            Self::Entry(number) => write!(f, "log entry {number}"),
        }
    }
}

fn checkpoint_number(text: &str) -> Result<u64, String> {
    let wanted = "expected a checkpoint's number, as `tidegate checkpoints list` tells it";
    text.parse().map_err(|_| wanted.to_owned())
}

fn row_count(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "expected a number of rows".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_probe_without_end_is_refused() {
        let probe = |seconds| {
            let words = [
                "tidegate",
                "probe",
                "http://a",
                "--timeout-seconds",
                seconds,
            ];
            Cli::try_parse_from(words).map_err(|error| error.to_string())
        };
        assert!(probe("86400").is_ok());
        let error = probe("18446744073709551615").unwrap_err();
        assert!(error.contains("is not in 0..=86400"), "{error}");
        assert!(error.contains("--timeout-seconds"), "{error}");
    }
}
