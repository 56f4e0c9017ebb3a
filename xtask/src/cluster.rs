//! `cargo xtask cluster`: a real Kubernetes cluster on this machine, for tests and for trying
//! things out.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use tidegate_testkit::cluster::{self, Cluster, Component, Life, Started};

use crate::servers;
use crate::step::Failure;

pub(crate) const ABOUT: &str = "a real Kubernetes cluster on this machine, with DNS and S3";
pub(crate) const USAGE: &str = "up|down|status";

const HELP: &str = "\
cargo xtask cluster up              start it, unless it runs; it stays until `down`
cargo xtask cluster down            end it and remove everything of it
cargo xtask cluster status          say whether it runs, and how to reach it
cargo xtask cluster kubectl ARG…    kubectl for it
cargo xtask cluster helm ARG…       helm for it
cargo xtask cluster load ARCHIVE    make the images of an archive available to its pods
cargo xtask cluster stop NAME       SIGKILL one of its components
cargo xtask cluster start NAME      start that again

--index N before all of these means another cluster, beside the usual one (0).
TIDEGATE_TEST_KUBECONFIG=FILE makes tests, kubectl and helm use another cluster.";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (index, arguments) = index(arguments)?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up"] => up(index),
        ["down"] => down(index),
        ["status"] => status(index),
        ["kubectl", rest @ ..] => pass(find(index)?.kubectl_command(), rest),
        ["helm", rest @ ..] => pass(find(index)?.helm_command(), rest),
        ["load", archive] => told(find(index)?.load_image(Path::new(archive))),
        ["stop", name] => told(find(index)?.stop_component(component(name)?)),
        ["start", name] => told(find(index)?.start_component(component(name)?)),
        // What `up` runs inside the node.
        ["node", folder] => told(cluster::run_node(Path::new(folder), false)),
        ["node", folder, "--tied"] => told(cluster::run_node(Path::new(folder), true)),
        _ => Err(Failure::new(format!("usage:\n{HELP}"))),
    }
}

fn index(arguments: &[String]) -> Result<(u8, &[String]), Failure> {
    let [flag, number, rest @ ..] = arguments else {
        return Ok((0, arguments));
    };
    if flag != "--index" {
        return Ok((0, arguments));
    }
    let max = cluster::CLUSTER_COUNT_MAX;
    let index = number.parse().ok().filter(|index| *index < max);
    let index = index.ok_or_else(|| {
        Failure::new(format!(
            "--index takes a number below {max}, not `{number}`"
        ))
    })?;
    Ok((index, rest))
}

fn find(index: u8) -> Result<Cluster, Failure> {
    if index == 0 {
        told(Cluster::running())
    } else {
        told(Cluster::with_index(index))
    }
}

fn component(name: &str) -> Result<Component, Failure> {
    let mut all = Component::ALL.into_iter();
    all.find(|component| component.name() == name)
        .ok_or_else(|| {
            let known = Component::ALL.map(Component::name).join(", ");
            Failure::new(format!("no component `{name}`; there are {known}"))
        })
}

fn up(index: u8) -> Result<(), Failure> {
    if started(index, Life::UntilDown)?.is_none() {
        eprintln!("xtask: the cluster runs already");
    }
    status(index)
}

fn down(index: u8) -> Result<(), Failure> {
    let was_there = told(cluster::stop(index))?;
    let what = if was_there {
        "the cluster is gone"
    } else {
        "there was no cluster"
    };
    eprintln!("xtask: {what}");
    Ok(())
}

fn status(index: u8) -> Result<(), Failure> {
    let cluster = find(index)?;
    println!("KUBECONFIG={}", cluster.kubeconfig_path().display());
    if let (Ok(s3), Ok(url), Ok(folder)) =
        (cluster.s3(), cluster.api_server_url(), cluster.folder())
    {
        println!("API server   {url}");
        println!(
            "S3           {} (key {}, secret {})",
            s3.endpoint, s3.access_key, s3.secret_key
        );
        println!("logs         {}", folder.join("logs").display());
    }
    print!(
        "{}",
        told(cluster.kubectl(&["get", "nodes", "-o", "wide"]))?
    );
    Ok(())
}

/// Starts the usual cluster for the tests, unless it runs or they are to use another one.
pub(crate) fn started_for_tests() -> Result<Option<Started>, Failure> {
    if std::env::var_os(cluster::KUBECONFIG_VARIABLE).is_some_and(|path| !path.is_empty()) {
        return Ok(None);
    }
    started(0, Life::Mine)
}

/// Starts the cluster with this index unless it runs; builds what is needed before.
pub(crate) fn started(index: u8, life: Life) -> Result<Option<Started>, Failure> {
    servers::install_cluster()?;
    let start = Instant::now();
    let started = told(cluster::start(index, cluster::own_program(), life))?;
    if started.is_some() {
        eprintln!(
            "xtask: the cluster was up after {:.1} s",
            start.elapsed().as_secs_f64()
        );
    }
    Ok(started)
}

/// Becomes the program, so that signals and the terminal are its own.
fn pass(mut command: Command, arguments: &[&str]) -> Result<(), Failure> {
    let arguments = match arguments {
        ["--", rest @ ..] => rest,
        all => all,
    };
    let error = command.args(arguments).exec();
    Err(crate::step::cannot_start(&command, &error))
}

/// The cluster's error with its causes, as a chore fails.
pub(crate) fn told<T>(result: cluster::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::new(servers::with_cause(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    #[test]
    fn an_index_stands_first_and_below_the_limit() {
        assert_eq!(index(&words("up")).unwrap().0, 0);
        let line = words("--index 3 kubectl get pods");
        let (number, rest) = index(&line).unwrap();
        assert_eq!((number, rest), (3, &words("kubectl get pods")[..]));
        let failure = index(&words("--index 99 up")).unwrap_err().to_string();
        assert!(failure.contains("99"));
    }

    #[test]
    fn an_unknown_word_shows_the_usage() {
        let failure = run(&words("upp")).unwrap_err().to_string();
        assert!(failure.contains("cluster up") && failure.contains("cluster down"));
    }

    #[test]
    fn an_unknown_component_is_answered_with_the_known_ones() {
        let failure = component("kube-nothing").unwrap_err().to_string();
        assert!(failure.contains("kube-nothing") && failure.contains("kube-apiserver"));
    }
}
