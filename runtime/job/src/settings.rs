//! Where a program's settings come from: a file that its starter names, or its own command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::Path;
use std::{env, fs, io};

use tidegate_api::job_config::{JOB_CONFIG_ENV, JobConfig};

use crate::arguments::{Arguments, Declared, Parsed, StandardOptions, help_text, parse};
use crate::error::StartError;

/// Where a job serves its API when its starter leaves that to it: a free port of this machine only.
const CHOSEN_ADDRESS: &str = "127.0.0.1:0";

/// What the process was started for.
pub(crate) enum Settings {
    /// To print this.
    Help(String),
    /// To run.
    Run {
        arguments: Arguments,
        config: Box<JobConfig>,
    },
}

/// Reads the settings of this process.
///
/// # Errors
/// A settings file that cannot be read or used, or a command line that nobody understands.
pub(crate) fn read(about: &str, declared: &[Declared]) -> Result<Settings, StartError> {
    let mut words = env::args_os();
    let program = words.next().unwrap_or_default();
    let program = program_name(&program);
    let file = match env::var_os(JOB_CONFIG_ENV) {
        Some(path) => Some(read_file(Path::new(&path))?),
        None => None,
    };
    let has_standard = file.is_none();
    let is_terminal = io::stderr().is_terminal();
    let standard = has_standard.then(|| StandardOptions::new(&program, is_terminal));
    match (parse(words, declared, standard)?, file) {
        (Parsed::Help, _) => {
            let text = help_text(&program, about, declared, has_standard);
            Ok(Settings::Help(text))
        }
        (Parsed::Run { arguments, config }, file) => {
            let config = config.or(file).expect("settings come from one of the two");
            Ok(Settings::Run { arguments, config })
        }
    }
}

fn read_file(path: &Path) -> Result<Box<JobConfig>, StartError> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| StartError::ReadConfig {
        path: shown.clone(),
        source,
    })?;
    let mut config = JobConfig::from_json(&text).map_err(|source| StartError::Config {
        path: shown,
        source,
    })?;
    if config.secure_api.is_none() {
        config
            .listen_address
            .get_or_insert_with(|| CHOSEN_ADDRESS.to_owned());
    }
    Ok(Box::new(config))
}

/// The program's file name, without folder and ending.
fn program_name(program: &OsString) -> String {
    let stem = Path::new(program).file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settings_file_that_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.json");
        let error = read_file(&path).unwrap_err();
        assert!(error.to_string().contains("job.json"), "{error}");
        fs::write(&path, "{}").unwrap();
        let error = read_file(&path).unwrap_err();
        assert!(matches!(error, StartError::Config { .. }));
    }
}
