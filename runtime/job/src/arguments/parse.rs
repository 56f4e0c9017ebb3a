//! From the words of a command line to settings and the program's own values.

use std::ffi::OsString;

use lexopt::Arg;
use tidegate_api::job_config::JobConfig;

use super::standard::{STANDARD, StandardOptions};
use super::{ArgumentError, Arguments, Declared};

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// `--help`.
    Help,
    /// To run.
    Run {
        /// The program's own values.
        arguments: Arguments,
        /// The settings of the standard options; `None` where they come from elsewhere.
        config: Option<Box<JobConfig>>,
    },
}

/// Reads a command line. `standard` is `None` where the settings come from a file: then the
/// standard options are refused.
///
/// # Errors
/// Anything that neither the framework nor the program knows, or that has the wrong form.
pub(crate) fn parse(
    words: impl IntoIterator<Item = OsString>,
    declared: &[Declared],
    mut standard: Option<StandardOptions>,
) -> Result<Parsed, ArgumentError> {
    check_names(declared)?;
    let mut arguments = Arguments::new(declared);
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(word) = parser.next().map_err(|error| of_lexopt(&error))? {
        let name = match word {
            Arg::Short('h') => "help".to_owned(),
            Arg::Long(name) => name.to_owned(),
            Arg::Short(letter) => return Err(unknown(format!("-{letter}"), "")),
            Arg::Value(value) => {
                let argument = text(value)?;
                return Err(ArgumentError::Unexpected { argument });
            }
        };
        if name == "help" {
            return Ok(Parsed::Help);
        }
        if let Some(option) = declared.iter().find(|option| option.name == name) {
            let value_name = option.value_name.as_deref().unwrap_or_default();
            let value = take_value(&mut parser, &name, value_name)?;
            if value_name.is_empty() {
                arguments.flags.insert(name);
            } else {
                arguments.values.insert(name, value);
            }
            continue;
        }
        let Some(option) = STANDARD.iter().find(|option| option.name == name) else {
            return Err(unknown(format!("--{name}"), ""));
        };
        let Some(standard) = &mut standard else {
            let hint = ": this job is started with a job file, which sets it";
            return Err(unknown(format!("--{name}"), hint));
        };
        let value = take_value(&mut parser, &name, option.value_name)?;
        standard.set(&name, &value)?;
    }
    let config = standard.map(StandardOptions::into_config).transpose()?;
    Ok(Parsed::Run {
        arguments,
        config: config.map(Box::new),
    })
}

/// A name that stands for two things would silently mean one of them.
fn check_names(declared: &[Declared]) -> Result<(), ArgumentError> {
    for (index, option) in declared.iter().enumerate() {
        let is_standard = STANDARD.iter().any(|standard| standard.name == option.name);
        let is_declared = declared[..index]
            .iter()
            .any(|other| other.name == option.name);
        if is_standard || is_declared || option.name == "help" {
            let name = option.name.clone();
            return Err(ArgumentError::Clash { name });
        }
    }
    Ok(())
}

/// The value of the option just read; empty for a flag, which has no value name.
fn take_value(
    parser: &mut lexopt::Parser,
    name: &str,
    value_name: &str,
) -> Result<String, ArgumentError> {
    if value_name.is_empty() {
        return match parser.optional_value() {
            None => Ok(String::new()),
            Some(value) => Err(ArgumentError::UnexpectedValue {
                name: name.to_owned(),
                value: text(value)?,
            }),
        };
    }
    let missing = |_| ArgumentError::MissingValue {
        name: name.to_owned(),
        value_name: value_name.to_owned(),
    };
    text(parser.value().map_err(missing)?)
}

fn text(value: OsString) -> Result<String, ArgumentError> {
    value.into_string().map_err(|value| ArgumentError::NotText {
        argument: value.to_string_lossy().into_owned(),
    })
}

fn unknown(option: String, hint: &str) -> ArgumentError {
    ArgumentError::Unknown {
        option,
        hint: hint.to_owned(),
    }
}

/// What lexopt itself refuses: a value after a flag that was not asked for.
fn of_lexopt(error: &lexopt::Error) -> ArgumentError {
    ArgumentError::Unexpected {
        argument: error.to_string(),
    }
}
