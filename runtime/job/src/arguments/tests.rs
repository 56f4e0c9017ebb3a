use super::*;

fn option(name: &str, value_name: Option<&str>, default: Option<&str>) -> Declared {
    Declared {
        name: name.to_owned(),
        value_name: value_name.map(str::to_owned),
        default: default.map(str::to_owned),
        help: format!("the {name}"),
    }
}

fn declared() -> Vec<Declared> {
    vec![
        option("input", Some("FILE"), None),
        option("rate", Some("LINES"), Some("1700")),
        option("loud", None, None),
    ]
}

fn parse_line(line: &str, has_standard: bool) -> Result<Parsed, ArgumentError> {
    let words = line.split_whitespace().map(Into::into);
    let standard = has_standard.then(|| StandardOptions::new("word_count", false));
    parse(words, &declared(), standard)
}

fn run(line: &str) -> (Arguments, tidegate_api::job_config::JobConfig) {
    match parse_line(line, true).unwrap() {
        Parsed::Run { arguments, config } => (arguments, *config.unwrap()),
        Parsed::Help => panic!("{line} asks for help"),
    }
}

fn refusal(line: &str, has_standard: bool) -> String {
    parse_line(line, has_standard).unwrap_err().to_string()
}

#[test]
fn standard_and_own_options_go_where_they_belong() {
    let line = "--parallelism 4 --input=a.txt --json --loud --start-from other-7 --rate 5";
    let (arguments, config) = run(line);
    assert_eq!(config.parallelism, 4);
    assert_eq!(config.name, "word-count");
    assert_eq!(
        config.output.format,
        tidegate_api::job_config::OutputFormat::Json
    );
    let start = tidegate_api::job_config::StartPoint::Checkpoint {
        folder: "tidegate-data/default/other".to_owned(),
        checkpoint_id: Some(7),
    };
    assert_eq!(config.start_from, start);
    assert_eq!(arguments.get::<String>("input").unwrap(), "a.txt");
    assert_eq!(arguments.get::<u64>("rate").unwrap(), 5);
    assert!(arguments.is_given("loud").unwrap());
}

#[test]
fn an_option_that_is_not_given_has_its_default() {
    let (arguments, config) = run("");
    assert_eq!(arguments.get::<u64>("rate").unwrap(), 1700);
    assert_eq!(arguments.get_optional::<String>("input").unwrap(), None);
    assert!(!arguments.is_given("loud").unwrap());
    assert_eq!(config.checkpoint.interval_ms, Some(1000));
}

#[test]
fn an_interval_of_zero_means_savepoints_only() {
    assert_eq!(
        run("--checkpoint-interval-ms 0").1.checkpoint.interval_ms,
        None
    );
}

#[test]
fn a_refused_line_says_what_to_write() {
    let unknown = refusal("--paralelism 4", true);
    assert_eq!(
        unknown,
        "unknown option `--paralelism`; `--help` lists what this program understands"
    );
    assert!(refusal("--input", true).contains("`--input FILE`"));
    assert!(refusal("--loud=yes", true).contains("takes no value"));
    assert!(refusal("stray", true).contains("unexpected argument `stray`"));
    assert!(refusal("--parallelism many", true).contains("is `many`, which is no COUNT"));
    assert!(refusal("--log-level loud", true).contains("error, warn, info"));
    assert!(refusal("--start-from latest", true).contains("neither Latest, nor Empty"));
    let relative = refusal("--start-from data/default/job#7", true);
    assert!(
        relative.contains("write `./data/default/job#7`"),
        "{relative}"
    );
    assert!(refusal("--start-from s3:/bucket/job", true).contains("neither Latest"));
}

#[test]
fn a_value_that_no_job_can_have_is_refused_by_the_options_name() {
    for (line, told) in [
        (
            "--parallelism 0",
            "`--parallelism` is 0: it must be at least 1",
        ),
        (
            "--retained-checkpoints 0",
            "`--retained-checkpoints` is 0: it must be at least 1",
        ),
        (
            "--parallelism 9 --max-parallelism 8",
            "`--parallelism` is 9: it must not exceed `--max-parallelism`, 8",
        ),
        ("--name=", "`--name` is empty: it must be given"),
        ("--state-dir=", "`--state-dir` is empty: it must be given"),
    ] {
        assert_eq!(refusal(line, true), told);
    }
    let error = refusal("--max-parallelism 0", true);
    assert!(
        error.starts_with("`--max-parallelism` is 0: it must be from 1 to"),
        "{error}"
    );
    let error = refusal("--start-from before-upgrade", true);
    let told = "`--start-from` is `before-upgrade`, which is no WHERE: the checkpoint name";
    assert!(error.starts_with(told), "{error}");
    assert!(error.contains("give <job>-<number>"), "{error}");
}

#[test]
fn under_a_job_file_the_standard_options_are_refused_with_the_reason() {
    assert!(refusal("--parallelism 4", false).contains("a job file, which sets it"));
    assert!(parse_line("--rate 4", false).is_ok());
}

#[test]
fn a_value_of_the_wrong_type_is_named() {
    let (arguments, _) = run("--rate fast");
    let error = arguments.get::<u64>("rate").unwrap_err().to_string();
    assert!(
        error.starts_with("`--rate` is `fast`, which is no LINES"),
        "{error}"
    );
    let error = arguments.get::<String>("input").unwrap_err().to_string();
    assert_eq!(error, "`--input` is required: the input");
    let error = arguments.get::<String>("inptu").unwrap_err();
    assert!(matches!(error, ArgumentError::Undeclared { .. }));
}

#[test]
fn the_help_lists_both_kinds_of_options() {
    assert!(matches!(parse_line("--rate 1 -h", true), Ok(Parsed::Help)));
    let text = help_text("word-count", "Counts words.", &declared(), true);
    for expected in [
        "Counts words.",
        "--input FILE",
        "[1700]",
        "--state-dir URL",
        "--help",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    assert!(!help_text("word-count", "", &declared(), false).contains("--state-dir"));
}

#[test]
fn a_program_cannot_declare_what_there_is_already() {
    for taken in ["name", "help", "rate"] {
        let mut declared = declared();
        declared.push(option(taken, Some("X"), None));
        let error = parse(std::iter::empty(), &declared, None).unwrap_err();
        assert_eq!(
            error,
            ArgumentError::Clash {
                name: taken.to_owned()
            }
        );
    }
}
