//! The check of what a job runs.

use super::Logic;
use super::fields::{Errors, check_length, check_text, refuse, refuse_by};
use crate::bounds;
use crate::rules;
use crate::spec::{EnvVar, Program, StreamJobSpec};

pub(super) fn check_logic(spec: &StreamJobSpec, errors: &mut Errors) -> Option<Logic> {
    match (&spec.sql, &spec.program) {
        (Some(sql), None) => check_sql(sql, errors),
        (None, Some(program)) => check_program(program, errors),
        (Some(_), Some(_)) => {
            refuse_by(errors, "spec", rules::TWO_LOGICS);
            None
        }
        (None, None) => {
            refuse_by(errors, "spec", rules::NO_LOGIC);
            None
        }
    }
}

fn check_sql(sql: &str, errors: &mut Errors) -> Option<Logic> {
    check_text(errors, "spec.sql", sql, rules::SQL);
    check_length(errors, "spec.sql", sql, bounds::SQL_LENGTH);
    Some(Logic::Sql(sql.to_owned()))
}

fn check_program(program: &Program, errors: &mut Errors) -> Option<Logic> {
    let image = &program.image;
    check_text(errors, "spec.program.image", image, rules::IMAGE);
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
    let first = program.command.first();
    if first.is_some_and(|first| !rules::VISIBLE.holds(first)) {
        refuse_by(errors, "spec.program.command", rules::COMMAND);
    }
    check_env(&program.env, errors);
    Some(Logic::Program(program.clone()))
}

fn check_env(env: &[EnvVar], errors: &mut Errors) {
    check_count(errors, "spec.program.env", env.len(), bounds::ENV_COUNT);
    for (index, variable) in env.iter().enumerate() {
        let name = &variable.name;
        let path = format!("spec.program.env[{index}].name");
        if env[..index].iter().any(|earlier| earlier.name == *name) {
            let problem = format!("{name} is given twice");
            refuse(errors, &path, problem, "remove one of them");
        } else {
            check_text(errors, &path, name, rules::ENV_NAME);
        }
        let path = format!("spec.program.env[{index}].value");
        check_length(errors, &path, &variable.value, bounds::ENV_VALUE_LENGTH);
    }
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
