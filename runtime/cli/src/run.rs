//! `tidegate run` and `tidegate validate`: from a manifest's file to a job process.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_api::ValidJob;
use tidegate_api::job_config::{JobConfig, OutputConfig, OutputFormat, StorageConfig};
use tidegate_api::spec::Program;
use tidegate_api::start_from::is_bare_path;
use tidegate_api::validate::{Logic, Start};
use tidegate_storage::StorageUrl;

use crate::args::{ManifestArgs, RunArgs, ValidateArgs};
use crate::failure::{EXIT_INVALID, Failure, print, with_causes};
use crate::launch::{self, Ended, Launch};
use crate::manifest;
use crate::program::{self, Search};
use crate::yaml::LENGTH_LIMIT;

/// Where checkpoints are kept when nobody says.
const DEFAULT_STATE_FOLDER: &str = "tidegate-data";
const STANDARD_INPUT: &str = "-";

/// Runs a manifest's job and gives its exit code.
///
/// # Errors
/// The manifest or an option is wrong, or the job cannot be started.
pub(crate) fn run(mut args: RunArgs) -> Result<u8, Failure> {
    let start_from = args.start_from.as_ref();
    if let Some(text) = start_from.filter(|text| is_bare_path(text)) {
        return Err(Failure::invalid(format!(
            "--start-from {text}: a folder begins with `/` or `./`, unlike a checkpoint's name; \
             write --start-from ./{text}"
        )));
    }
    // In quotes, since a URL may hold what means something in YAML.
    args.manifest
        .sets
        .extend(start_from.map(|text| format!("spec.startFrom={}", json!(text))));
    let job = read_job(&args.manifest)?;
    let file = args.manifest.file.display().to_string();
    let program = runnable(&job, &file)?.clone();
    let config = configure(&job, &args)?;
    let path = find_program(&program, &args)?;
    let config_file = write_config(&config)?;
    if !args.json {
        announce(&config, &path);
    }
    let launch = Launch {
        program: path.clone(),
        arguments: arguments(&program, args.arguments),
        environment: program
            .env
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect(),
        config: config_file.path().to_owned(),
        keeps_errors: args.json,
    };
    let ended = launch::run(launch).map_err(|error| {
        let reason = with_causes(&error);
        Failure::failed(format!(
            "the program {} cannot be started: {reason}",
            path.display()
        ))
    })?;
    tell_end(&ended, &config, args.json);
    Ok(ended.exit_code())
}

/// Checks a manifest.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn validate(args: &ValidateArgs) -> Result<u8, Failure> {
    let job = read_job(&args.manifest)?;
    if args.json {
        let document = json!({"valid": true, "namespace": job.namespace, "name": job.name});
        print(&format!("{document}\n"))?;
    } else {
        print(&format!("{}/{} is valid\n", job.namespace, job.name))?;
    }
    Ok(0)
}

fn read_job(args: &ManifestArgs) -> Result<ValidJob, Failure> {
    let is_stdin = args.file.as_os_str() == STANDARD_INPUT;
    let name = if is_stdin {
        "standard input".to_owned()
    } else {
        args.file.display().to_string()
    };
    let bytes = if is_stdin {
        read_bounded(std::io::stdin().lock())
    } else {
        std::fs::File::open(&args.file).and_then(read_bounded)
    };
    let bytes = bytes.map_err(|error| {
        Failure::invalid(format!(
            "the manifest {name} cannot be read: {error}; check its path"
        ))
    })?;
    if bytes.len() > LENGTH_LIMIT {
        let text = format!("{name} is longer than {LENGTH_LIMIT} bytes; a manifest is shorter");
        return Err(Failure::invalid(text));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::invalid(format!(
            "{name} is no UTF-8 text: see its byte {at}; save it as UTF-8"
        ))
    })?;
    manifest::read(&text, args.job.as_deref(), &args.sets).map_err(|problems| Failure {
        messages: problems
            .iter()
            .map(|problem| problem.render(&name, &args.sets).to_string())
            .collect(),
        exit_code: EXIT_INVALID,
    })
}

/// Reads a manifest, or as much of a longer file as shows that it is none.
fn read_bounded(file: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LENGTH_LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The program of a job that can be run here.
fn runnable<'a>(job: &'a ValidJob, file: &str) -> Result<&'a Program, Failure> {
    if job.is_suspended {
        return Err(Failure::invalid(format!(
            "{file}: spec.suspend: the job is to stand still; run it with --set spec.suspend=false"
        )));
    }
    match &job.logic {
        Logic::Program(program) => Ok(program),
        Logic::Sql(_) => Err(Failure::invalid(format!(
            "{file}: spec.sql: this version of tidegate runs programs only, and SQL comes with a \
             later one; give spec.program"
        ))),
    }
}

fn configure(job: &ValidJob, args: &RunArgs) -> Result<JobConfig, Failure> {
    let folder = std::env::current_dir().map_err(|error| lost_folder(&error))?;
    if let Some(address) = &args.listen {
        check_address(address)?;
    }
    let start = Start {
        storage: storage(job, args.state_dir.as_deref(), &folder)?,
        listen_address: args.listen.clone(),
        output: OutputConfig {
            format: if args.json {
                OutputFormat::Json
            } else {
                OutputFormat::Text
            },
            is_terminal: !args.json && std::io::stderr().is_terminal(),
        },
        parent_process_id: Some(std::process::id()),
    };
    job.job_config(start).map_err(|error| {
        Failure::invalid(format!(
            "spec.startFrom: {error}; without a cluster, give the name as job-number, or the URL \
             of the job's folder with #number"
        ))
    })
}

/// Where checkpoints are kept: the option, the manifest or the default, in this order.
fn storage(
    job: &ValidJob,
    state_dir: Option<&str>,
    current_folder: &Path,
) -> Result<StorageConfig, Failure> {
    let mut storage = match (state_dir, &job.storage) {
        (Some(""), _) => {
            let text = "--state-dir is empty; give a folder or a URL";
            return Err(Failure::invalid(text));
        }
        // The server and region of the manifest belong to the manifest's URL.
        (Some(url), _) => StorageConfig {
            url: url.to_owned(),
            endpoint: None,
            region: None,
        },
        (None, Some(storage)) => storage.clone(),
        (None, None) => {
            let url = DEFAULT_STATE_FOLDER.to_owned();
            StorageConfig {
                url,
                endpoint: None,
                region: None,
            }
        }
    };
    StorageUrl::parse(&storage.url).map_err(|error| {
        let named = match state_dir {
            Some(_) => "--state-dir",
            None => "spec.checkpoint.storage.url",
        };
        Failure::invalid(format!("{named}: {error}"))
    })?;
    if !storage.url.contains("://") {
        let folder: PathBuf = current_folder.join(&storage.url).components().collect();
        storage.url = folder.display().to_string();
    }
    Ok(storage)
}

/// A folder that relative paths belong to is gone.
fn lost_folder(reason: &std::io::Error) -> Failure {
    Failure::failed(format!(
        "the current folder cannot be used: {reason}; change to a folder that is there, and give \
         --state-dir as a whole path if state is to be kept elsewhere"
    ))
}

fn check_address(address: &str) -> Result<(), Failure> {
    let is_address = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains("://") && port.parse::<u16>().is_ok()
    });
    if is_address {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "--listen {address}: expected a host and a port, as in 127.0.0.1:8082"
    )))
}

fn find_program(program: &Program, args: &RunArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = &args.program {
        return named_program(path);
    }
    let parent = args.manifest.file.parent().unwrap_or(Path::new(""));
    let manifest_folder = std::path::absolute(parent.join(".")).unwrap_or(parent.to_owned());
    let current_folder = std::env::current_dir().unwrap_or_default();
    let around = [current_folder, manifest_folder.clone()];
    let own = std::env::current_exe().ok();
    let search = Search {
        name: program::name_of(program).to_owned(),
        path: program
            .command
            .first()
            .filter(|text| text.contains('/'))
            .map(PathBuf::from),
        manifest_folder,
        own_folder: own.as_deref().and_then(Path::parent).map(Path::to_owned),
        target_folders: program::target_folders(
            &around,
            std::env::var_os("CARGO_TARGET_DIR"),
            Path::exists,
        ),
        path_variable: std::env::var_os("PATH"),
    };
    search
        .find(program::probe)
        .map_err(|error| Failure::invalid(error.to_string()))
}

fn named_program(path: &Path) -> Result<PathBuf, Failure> {
    let shown = path.display();
    match program::probe(path) {
        // A bare name would be looked up in PATH.
        program::Probe::Program(_) => Ok(std::path::absolute(path).unwrap_or(path.to_owned())),
        program::Probe::Absent if path.is_dir() => Err(Failure::invalid(format!(
            "--program {shown}: it is a folder; give the path of the program's file"
        ))),
        program::Probe::Absent => Err(Failure::invalid(format!(
            "--program {shown}: there is no such file; check its path"
        ))),
        program::Probe::NotExecutable => Err(Failure::invalid(format!(
            "--program {shown}: it may not be executed; allow it with chmod +x"
        ))),
    }
}

/// The manifest's arguments, those of its command first, and those of the command line.
fn arguments(program: &Program, more: Vec<OsString>) -> Vec<OsString> {
    let of_command = program.command.iter().skip(1);
    of_command
        .chain(&program.args)
        .map(OsString::from)
        .chain(more)
        .collect()
}

fn write_config(config: &JobConfig) -> Result<tempfile::NamedTempFile, Failure> {
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix("tidegate-")
            .suffix(".json")
            .tempfile()?;
        file.write_all(config.to_json().as_bytes())?;
        Ok(file)
    };
    write().map_err(|error: std::io::Error| {
        let folder = std::env::temp_dir();
        let folder = folder.display();
        Failure::failed(format!(
            "the job's settings cannot be written to {folder}: {error}; make it a folder that may \
             be written and has space, or name another one by TMPDIR"
        ))
    })
}

fn announce(config: &JobConfig, program: &Path) {
    let JobConfig {
        namespace, name, ..
    } = config;
    let shown = program.display();
    let is_debug = program.components().any(|part| part.as_os_str() == "debug");
    let hint = if is_debug {
        " (a debug build: slow; build with --release for speed)"
    } else {
        ""
    };
    let _ = writeln!(
        std::io::stderr(),
        "running {namespace}/{name} from {shown}{hint}"
    );
}

/// Tells how the job ended where the job itself could not.
fn tell_end(ended: &Ended, config: &JobConfig, is_json: bool) {
    if is_json {
        if ended.exit_code() != 0 {
            let document = json!({
                "event": "processEnded",
                "exitCode": ended.exit_code(),
                "signal": ended.signal(),
                "lastErrorLines": ended.last_lines,
            });
            // How the job ended matters more than that its last line is lost.
            if let Err(failure) = print(&format!("{document}\n")) {
                let _ = writeln!(std::io::stderr(), "error: {}", failure.messages.join(": "));
            }
        }
    } else if let Some(signal) = ended.signal() {
        let folder = config.job_folder();
        let _ = writeln!(
            std::io::stderr(),
            "the job process was ended by signal {signal}; run it again to go on from the newest \
             checkpoint in {folder}"
        );
    }
}

#[cfg(test)]
mod tests;
