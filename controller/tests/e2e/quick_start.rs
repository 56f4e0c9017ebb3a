//! The README's quick start on a cluster, line by line, as a reader would type it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::Space;

/// The commands of the fenced block under the heading, comments and empty lines left out.
fn commands(readme: &str) -> Vec<String> {
    let section = readme
        .split("\n## ")
        .find(|section| section.starts_with("On a cluster"));
    let section = section.expect("a section `On a cluster`");
    let block = section.split("```").nth(1).expect("a fenced block");
    let mut commands: Vec<String> = Vec::new();
    let mut is_continued = false;
    for line in block.lines().skip(1).map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (text, goes_on) = match line.strip_suffix('\\') {
            Some(text) => (text.trim_end(), true),
            None => (line, false),
        };
        match commands.last_mut() {
            Some(last) if is_continued => {
                last.push(' ');
                last.push_str(text);
            }
            _ => commands.push(text.to_owned()),
        }
        is_continued = goes_on;
    }
    commands
}

#[test]
fn each_line_of_the_readme_works() {
    let space = Space::new("readme");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).expect("the README");
    let commands = commands(&readme);
    assert!(commands.len() >= 4, "{commands:?}");
    let kubeconfig = kubeconfig_with(&space);
    for command in commands {
        // The reader's own server takes the place that the README leaves to it, and a machine that
        // runs other tests beside has more time than the reader's. The chart is installed for all
        // tests, with what the README sets; nothing changes when it is again.
        let s3 = space.cluster.s3().expect("an S3 server");
        let command = command
            .replace("https://minio.example:9000", &s3.endpoint)
            .replace("MY_KEY_ID", &s3.access_key)
            .replace("MY_SECRET_KEY", &s3.secret_key)
            .replace("--timeout=60s", "--timeout=180s")
            .replace("helm install", "helm upgrade --install --reuse-values");
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(&root)
            .env("KUBECONFIG", &kubeconfig)
            .env("PATH", path_with_tools(&space))
            .output()
            .expect("a shell");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {error}");
    }
}

/// A kubeconfig whose default namespace is the space's.
fn kubeconfig_with(space: &Space) -> std::path::PathBuf {
    let folder = space.cluster.folder().expect("the cluster's folder");
    let path = folder.join(format!("kubeconfig-{}", space.namespace));
    fs::copy(space.cluster.kubeconfig_path(), &path).expect("a copy");
    let mut command = space.cluster.kubectl_command();
    command.env("KUBECONFIG", &path);
    command.args([
        "config",
        "set-context",
        "--current",
        "--namespace",
        &space.namespace,
    ]);
    assert!(command.status().expect("kubectl runs").success());
    path
}

fn path_with_tools(space: &Space) -> String {
    let kubectl = space.cluster.kubectl_command().get_program().to_owned();
    let tools = Path::new(&kubectl)
        .parent()
        .unwrap_or(Path::new(""))
        .display()
        .to_string();
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{tools}:{own}")
}
