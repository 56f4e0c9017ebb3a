//! The text that `--help` prints.

use super::Declared;
use super::standard::STANDARD;

/// Describes a program's own options, and the standard ones unless a job file sets those.
pub(crate) fn help_text(
    program: &str,
    about: &str,
    declared: &[Declared],
    has_standard: bool,
) -> String {
    let mut text = String::new();
    if !about.is_empty() {
        text.push_str(about);
        text.push_str("\n\n");
    }
    text.push_str(&format!("Usage: {program} [options]\n"));
    if !declared.is_empty() {
        text.push_str("\nThis program's options:\n");
    }
    for option in declared {
        let value_name = option.value_name.as_deref().unwrap_or_default();
        let default = option.default.as_deref().unwrap_or_default();
        push_option(&mut text, &option.name, value_name, default, &option.help);
    }
    if has_standard {
        text.push_str("\nOptions of every job:\n");
        for option in STANDARD {
            push_option(
                &mut text,
                option.name,
                option.value_name,
                option.default,
                option.help,
            );
        }
    } else {
        text.push_str("\nThe job's own settings come from its job file.\n");
    }
    push_option(&mut text, "help", "", "", "print this");
    text
}

fn push_option(text: &mut String, name: &str, value_name: &str, default: &str, help: &str) {
    let left = match value_name {
        "" => format!("--{name}"),
        value_name => format!("--{name} {value_name}"),
    };
    text.push_str(&format!("  {left:<30} {help}"));
    if !default.is_empty() {
        text.push_str(&format!(" [{default}]"));
    }
    text.push('\n');
}
