//! A program's command line: what the framework knows, and what the program declares besides.

mod help;
mod parse;
mod standard;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

pub(crate) use help::help_text;
pub(crate) use parse::{Parsed, parse};
pub(crate) use standard::StandardOptions;

/// An option that a program declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Without the dashes.
    pub(crate) name: String,
    /// What stands for its value in the help; `None` for a flag.
    pub(crate) value_name: Option<String>,
    pub(crate) default: Option<String>,
    pub(crate) help: String,
}

/// Why a command line cannot be used. Each message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// An option that neither the framework nor the program knows.
    #[error("unknown option `{option}`{hint}; `--help` lists what this program understands")]
    Unknown {
        /// As it was given, with its dashes.
        option: String,
        /// What else to know about it.
        hint: String,
    },
    /// A word without dashes.
    #[error("unexpected argument `{argument}`; `--help` lists what this program understands")]
    Unexpected {
        /// As it was given.
        argument: String,
    },
    /// An option at the end of the line that wants a value.
    #[error("`--{name}` needs a value: `--{name} {value_name}`")]
    MissingValue {
        /// Without the dashes.
        name: String,
        /// What stands for the value in the help.
        value_name: String,
    },
    /// A flag was given a value.
    #[error("`--{name}` takes no value, but was given `{value}`")]
    UnexpectedValue {
        /// Without the dashes.
        name: String,
        /// The value.
        value: String,
    },
    /// Bytes that are not UTF-8.
    #[error("an argument is not UTF-8: `{argument}`")]
    NotText {
        /// The argument, as far as it can be shown.
        argument: String,
    },
    /// A value of the wrong form.
    #[error("`--{name}` is `{value}`, which is no {wanted}: {problem}")]
    Invalid {
        /// Without the dashes.
        name: String,
        /// The value given.
        value: String,
        /// What stands for it in the help.
        wanted: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The program declares an option that there is already: a defect of the program.
    #[error("the program declares `--{name}`, which there is already; it needs another name")]
    Clash {
        /// Without the dashes.
        name: String,
    },
    /// A value of the right form that no job can have, or not with what another option says.
    #[error("`--{name}` is {value}: {problem}")]
    Refused {
        /// Without the dashes.
        name: String,
        /// The value given.
        value: String,
        /// What it must be.
        problem: String,
    },
    /// Settings that no single option is to blame for.
    #[error("the options cannot be used: {problem}")]
    Settings {
        /// What is wrong.
        problem: String,
    },
    /// A required option is absent.
    #[error("`--{name}` is required: {help}")]
    Required {
        /// Without the dashes.
        name: String,
        /// What the program says about it.
        help: String,
    },
    /// The program asks for an option that it did not declare: a defect of the program.
    #[error(
        "the program asks for `--{name}` but does not declare it; declare it on `Program` before \
         `run`"
    )]
    Undeclared {
        /// Without the dashes.
        name: String,
    },
}

/// The values of a program's own options.
///
/// ```
/// # use tidegate::{Arguments, ArgumentError};
/// # fn read(arguments: &Arguments) -> Result<(), ArgumentError> {
/// let input: std::path::PathBuf = arguments.get("input")?;
/// let limit: Option<u64> = arguments.get_optional("limit")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    declared: BTreeMap<String, Declared>,
    values: BTreeMap<String, String>,
    flags: BTreeSet<String>,
}

impl Arguments {
    pub(crate) fn new(declared: &[Declared]) -> Self {
        let named = declared
            .iter()
            .map(|option| (option.name.clone(), option.clone()));
        Self {
            declared: named.collect(),
            ..Self::default()
        }
    }

    /// The value of a declared option: as given, else its default.
    ///
    /// # Errors
    /// It was neither given nor has a default, or it is not of this type.
    pub fn get<T>(&self, name: &str) -> Result<T, ArgumentError>
    where
        T: FromStr<Err: Display>,
    {
        let declared = self.declared(name)?;
        self.get_optional(name)?
            .ok_or_else(|| ArgumentError::Required {
                name: name.to_owned(),
                help: declared.help.clone(),
            })
    }

    /// The value of a declared option, if it was given or has a default.
    ///
    /// # Errors
    /// It is not of this type.
    pub fn get_optional<T>(&self, name: &str) -> Result<Option<T>, ArgumentError>
    where
        T: FromStr<Err: Display>,
    {
        let declared = self.declared(name)?;
        let given = self.values.get(name).or(declared.default.as_ref());
        let parse = |value: &String| {
            value
                .parse()
                .map_err(|problem: T::Err| ArgumentError::Invalid {
                    name: name.to_owned(),
                    value: value.clone(),
                    wanted: declared.value_name.clone().unwrap_or_default(),
                    problem: problem.to_string(),
                })
        };
        given.map(parse).transpose()
    }

    /// Whether a declared option or flag was given.
    ///
    /// # Errors
    /// It was not declared.
    pub fn is_given(&self, name: &str) -> Result<bool, ArgumentError> {
        self.declared(name)?;
        Ok(self.flags.contains(name) || self.values.contains_key(name))
    }

    fn declared(&self, name: &str) -> Result<&Declared, ArgumentError> {
        self.declared
            .get(name)
            .ok_or_else(|| ArgumentError::Undeclared {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests;
