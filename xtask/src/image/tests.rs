use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::build::{Program, Programs};
use super::*;

/// An image whose program is this very test.
fn archive(reference: &str) -> Archive {
    let workspace = Workspace::read().unwrap();
    let mut package = workspace.package("xtask").unwrap();
    package.programs = vec!["it".to_owned()];
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("text.txt"), "whale").unwrap();
    let recipe = Recipe {
        name: "it".to_owned(),
        about: "a test".to_owned(),
        packages: vec![package],
        data: Some(data.path().to_owned()),
    };
    let program = Program::new("xtask", "it", std::env::current_exe().unwrap());
    let programs = Programs::new(vec![program]);
    assemble(&recipe, &programs, &workspace, reference).unwrap()
}

/// What a container engine makes of an archive: its configuration and its files.
fn unpack(archive: &Archive) -> (Value, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let outer = folder.path().join("archive");
    let content = archive.to_tar().unwrap();
    tar::Archive::new(content.as_slice())
        .unpack(&outer)
        .unwrap();
    let json = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(outer.join(name)).unwrap()).unwrap()
    };
    let manifest = json("manifest.json");
    let config = json(manifest[0]["Config"].as_str().unwrap());
    let root = folder.path().join("root");
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let layers = manifest[0]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), diff_ids.len());
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let layer = fs::read(outer.join(layer.as_str().unwrap())).unwrap();
        assert_eq!(*diff_id, format!("sha256:{}", layer::digest(&layer)));
        let mut layer = tar::Archive::new(layer.as_slice());
        layer.set_preserve_permissions(true);
        layer.unpack(&root).unwrap();
    }
    (config, folder)
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let (one, other) = (archive("a/it:1"), archive("a/it:1"));
    assert_eq!(one.id(), other.id());
    assert!(one.to_tar().unwrap() == other.to_tar().unwrap());
    // The name is no part of what an image is.
    assert_eq!(archive("b/it:2").id(), one.id());
}

#[test]
fn an_image_runs_on_its_own_as_a_user_without_rights() {
    let (config, folder) = unpack(&archive("a/it:1"));
    assert_eq!(config["config"]["User"], "65532:65532");
    let root = folder.path().join("root");
    assert_eq!(
        fs::read_to_string(root.join("data/text.txt")).unwrap(),
        "whale"
    );
    // A user namespace stands in for the container, for whoever runs this test.
    let program = config["config"]["Entrypoint"][0].as_str().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=65532", "--map-group=65532", "--root"]);
    command.arg(&root).args([program, "--list"]);
    let output = command.output().unwrap();
    let listed = String::from_utf8_lossy(&output.stdout);
    let own = "an_image_runs_on_its_own_as_a_user_without_rights";
    assert!(
        output.status.success() && listed.contains(own),
        "{output:?}"
    );
}

#[test]
fn every_file_is_readable_by_all_and_none_gives_rights() {
    use std::os::unix::fs::PermissionsExt;
    let (_, folder) = unpack(&archive("a/it:1"));
    let mut folders = vec![folder.path().join("root")];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            let shown = path.display();
            assert_eq!(mode & 0o6000, 0, "{shown} is setuid or setgid");
            assert_eq!(mode & 0o044, 0o044, "{shown} cannot be read");
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    let has = |end: &str| found.iter().any(|path| path.ends_with(end));
    for end in [
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/local/bin/it",
        "usr/share/licenses/tidegate/LICENSE",
        "usr/share/licenses/tidegate/THIRD-PARTY.txt",
    ] {
        assert!(has(end), "{end} is missing");
    }
}

#[test]
fn every_example_has_an_image_and_the_dockerfile_knows_each() {
    let workspace = Workspace::read().unwrap();
    let recipes = recipes(&workspace);
    let dockerfile = fs::read_to_string(workspace_root().join("Dockerfile")).unwrap();
    let names: Vec<_> = recipes.iter().map(|it| it.name.as_str()).collect();
    assert!(
        names.contains(&"tidegate") && names.contains(&"word-count"),
        "{names:?}"
    );
    for recipe in &recipes {
        let program = match recipe.name.as_str() {
            "tidegate" => "tidegate-controller",
            _ => &recipe.packages[0].programs[0],
        };
        let stage = format!("FROM files AS {}\n", recipe.name);
        let entry_point = format!("ENTRYPOINT [\"/usr/local/bin/{program}\"]");
        let at = dockerfile.find(&stage);
        let at = at.unwrap_or_else(|| panic!("the Dockerfile has no stage {}", recipe.name));
        let stage = dockerfile[at..].split("\n\n").next().unwrap();
        assert!(stage.contains(&entry_point), "{stage}");
    }
}

#[test]
fn an_unknown_image_is_named_together_with_the_known_ones() {
    let workspace = Workspace::read().unwrap();
    let recipes = recipes(&workspace);
    let failure = choose(&recipes, &workspace, &["wordcount".to_owned()]).unwrap_err();
    let failure = failure.to_string();
    assert!(
        failure.contains("`wordcount`") && failure.contains("word-count"),
        "{failure}"
    );
}

#[test]
fn flags_take_values_and_the_rest_are_names() {
    let arguments = [
        "--profile",
        "dev",
        "--prefix",
        "r.example/x/",
        "word-count",
        "--tag",
        "t",
    ];
    let options = parse(&arguments.map(str::to_owned)).unwrap();
    let expected = Options {
        profile: Profile::Dev,
        prefix: "r.example/x".to_owned(),
        tag: Some("t".to_owned()),
        names: vec!["word-count".to_owned()],
    };
    assert_eq!(options, expected);
    let failure = parse(&["--profile".to_owned()]).unwrap_err().to_string();
    assert!(failure.contains("wants a value"), "{failure}");
}
