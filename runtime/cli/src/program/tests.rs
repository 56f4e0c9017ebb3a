use std::time::Duration;

use rstest::rstest;

use super::*;

fn program(image: &str, command: &[&str]) -> Program {
    Program {
        image: image.to_owned(),
        command: command.iter().map(ToString::to_string).collect(),
        args: Vec::new(),
        env: Vec::new(),
    }
}

fn search() -> Search {
    Search {
        name: "word-count".to_owned(),
        path: None,
        manifest_folder: "/jobs".into(),
        own_folder: Some("/opt/bin".into()),
        target_folders: vec!["/src/target".into()],
        path_variable: Some("/usr/bin:/bin".into()),
    }
}

fn built(seconds: u64) -> Probe {
    Probe::Program(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// A machine with these files.
fn machine<'a>(files: &'a [(&'a str, Probe)]) -> impl Fn(&Path) -> Probe + 'a {
    move |path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map_or(Probe::Absent, |(_, probe)| *probe)
    }
}

#[rstest]
#[case("registry.example:5000/team/word-count:1.2", &[], "word-count")]
#[case("word-count", &[], "word-count")]
#[case("word-count@sha256:abc", &[], "word-count")]
#[case("r.example/word-count:1@sha256:abc", &[], "word-count")]
#[case("base:1", &["/usr/local/bin/word-count", "--fast"], "word-count")]
#[case("base:1", &["word-count"], "word-count")]
fn the_program_is_named_by_command_or_image(
    #[case] image: &str,
    #[case] command: &[&str],
    #[case] expected: &str,
) {
    assert_eq!(name_of(&program(image, command)), expected);
}

#[rstest]
#[case(&[("/jobs/word-count", built(1)), ("/opt/bin/word-count", built(9))], "/jobs/word-count")]
#[case(&[("/opt/bin/word-count", built(1)), ("/src/target/debug/word-count", built(9))],
    "/opt/bin/word-count")]
#[case(&[("/src/target/release/word-count", built(1)), ("/src/target/debug/word-count", built(9))],
    "/src/target/debug/word-count")]
#[case(&[("/src/target/release/examples/word-count", built(1)), ("/bin/word-count", built(9))],
    "/src/target/release/examples/word-count")]
#[case(&[("/usr/bin/word-count", built(1)), ("/bin/word-count", built(9))], "/usr/bin/word-count")]
#[case(&[("/jobs/word-count", Probe::NotExecutable), ("/bin/word-count", built(9))],
    "/bin/word-count")]
fn the_nearest_program_is_taken(#[case] files: &[(&str, Probe)], #[case] expected: &str) {
    assert_eq!(search().find(machine(files)), Ok(PathBuf::from(expected)));
}

#[test]
fn a_path_in_the_command_is_tried_first() {
    let search = Search {
        path: Some("bin/word-count".into()),
        ..search()
    };
    let files = [
        ("/jobs/bin/word-count", built(1)),
        ("/jobs/word-count", built(2)),
    ];
    assert_eq!(
        search.find(machine(&files)),
        Ok(PathBuf::from("/jobs/bin/word-count"))
    );
}

#[test]
fn a_missing_program_is_told_with_every_place() {
    let search = Search {
        path: Some("bin/word-count".into()),
        ..search()
    };
    let error = search
        .find(machine(&[("/jobs/word-count", Probe::NotExecutable)]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no program word-count on this machine; looked in\n  \
         /jobs/bin/word-count, the manifest's command\n  \
         /jobs\n  \
         /opt/bin\n  \
         /src/target/{release,debug}{,/examples}\n  \
         the 2 folders of PATH\n\
         /jobs/word-count is there, but may not be executed (chmod +x)\n\
         build it (cargo build --release --bin word-count), or name it with --program PATH"
    );
}

#[test]
fn target_folders_are_those_of_the_workspaces_around() {
    let is_there = |path: &Path| {
        ["/src/Cargo.toml", "/src/target", "/src/app/Cargo.toml"]
            .iter()
            .any(|p| Path::new(p) == path)
    };
    let around = [PathBuf::from("/src/app/jobs"), PathBuf::from("/src")];
    assert_eq!(
        target_folders(&around, None, is_there),
        [PathBuf::from("/src/target")]
    );
    assert_eq!(
        target_folders(&around, Some("/tmp/t".into()), is_there),
        [PathBuf::from("/tmp/t"), PathBuf::from("/src/target")]
    );
}
