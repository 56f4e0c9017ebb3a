//! The check of what a job runs.

use super::Logic;
use super::fields::{Errors, check_length, refuse};
use crate::bounds;
use crate::labels::RESERVED_ENV_PREFIX;
use crate::spec::{EnvVar, Program, StreamJobSpec};

pub(super) fn check_logic(spec: &StreamJobSpec, errors: &mut Errors) -> Option<Logic> {
    match (&spec.sql, &spec.program) {
        (Some(sql), None) => check_sql(sql, errors),
        (None, Some(program)) => check_program(program, errors),
        (Some(_), Some(_)) => {
            refuse(
                errors,
                "spec",
                "both sql and program are given",
                "remove one of them",
            );
            None
        }
        (None, None) => {
            let remedy = "give one of them, as in program: {image: my-job:1.0}";
            refuse(errors, "spec", "neither sql nor program is given", remedy);
            None
        }
    }
}

fn check_sql(sql: &str, errors: &mut Errors) -> Option<Logic> {
    if sql.trim().is_empty() {
        refuse(
            errors,
            "spec.sql",
            "it is empty",
            "write the job's statements",
        );
        return None;
    }
    check_length(errors, "spec.sql", sql, bounds::SQL_LENGTH);
    Some(Logic::Sql(sql.to_owned()))
}

fn check_program(program: &Program, errors: &mut Errors) -> Option<Logic> {
    let image = &program.image;
    let is_image = !image.is_empty() && !image.chars().any(|c| c.is_whitespace() || c == '"');
    if !is_image {
        let remedy = "name an image, as in registry.example/team/my-job:1.0";
        refuse(
            errors,
            "spec.program.image",
            format!("{image:?} is no image"),
            remedy,
        );
    }
    check_length(errors, "spec.program.image", image, bounds::LINE_LENGTH);
    let lists = [
        (
            "spec.program.command",
            &program.command,
            bounds::COMMAND_COUNT,
        ),
        ("spec.program.args", &program.args, bounds::ARGUMENT_COUNT),
    ];
    for (path, list, max) in lists {
        check_count(errors, path, list.len(), max);
        for (index, text) in list.iter().enumerate() {
            check_length(
                errors,
                &format!("{path}[{index}]"),
                text,
                bounds::ARGUMENT_LENGTH,
            );
        }
    }
    if program
        .command
        .first()
        .is_some_and(|first| first.trim().is_empty())
    {
        let remedy = "name the program, or leave command out to run the image's entry point";
        refuse(errors, "spec.program.command[0]", "it is empty", remedy);
    }
    check_env(&program.env, errors);
    Some(Logic::Program(program.clone()))
}

fn check_env(env: &[EnvVar], errors: &mut Errors) {
    check_count(errors, "spec.program.env", env.len(), bounds::ENV_COUNT);
    for (index, variable) in env.iter().enumerate() {
        let name = &variable.name;
        let path = format!("spec.program.env[{index}].name");
        if !is_env_name(name) {
            let remedy = "use letters, digits, underscores, hyphens and dots, no digit first";
            refuse(
                errors,
                &path,
                format!("{name:?} is no variable's name"),
                remedy,
            );
        } else if name.starts_with(RESERVED_ENV_PREFIX) {
            let problem = format!("{name} belongs to the runtime");
            refuse(
                errors,
                &path,
                problem,
                "use a name without the prefix TIDEGATE_",
            );
        } else if env[..index].iter().any(|earlier| earlier.name == *name) {
            refuse(
                errors,
                &path,
                format!("{name} is given twice"),
                "remove one of them",
            );
        }
        let path = format!("spec.program.env[{index}].value");
        check_length(errors, &path, &variable.value, bounds::ENV_VALUE_LENGTH);
    }
}

fn is_env_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn check_count(errors: &mut Errors, path: &str, count: usize, max: u32) {
    if count > max as usize {
        refuse(
            errors,
            path,
            format!("it has {count} entries"),
            format!("at most {max} fit"),
        );
    }
}
