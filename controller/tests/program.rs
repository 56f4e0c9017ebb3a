//! The controller as a program: what it says of itself, and what it refuses.

use std::process::Command;

fn controller(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-controller"));
    let output = command
        .args(arguments)
        .output()
        .expect("the controller starts");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(said).expect("UTF-8"),
    )
}

#[test]
fn help_names_every_flag_that_the_chart_sets() {
    let (code, help) = controller(&["--help"]);
    assert_eq!(code, Some(0));
    let template = include_str!("../../charts/tidegate/templates/deployment.yaml");
    let words = template.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
    let flags: Vec<&str> = words.filter(|word| word.starts_with("--")).collect();
    assert!(flags.len() > 5, "{flags:?}");
    for flag in flags {
        assert!(help.contains(flag), "{flag} is not in:\n{help}");
    }
}

#[test]
fn an_unknown_flag_is_refused_by_its_name() {
    let (code, said) = controller(&["--lease-secnds", "15"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--lease-secnds"), "{said}");
    assert!(said.contains("--lease-seconds"), "it suggests one: {said}");
}
