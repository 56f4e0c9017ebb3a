//! The test cluster itself: what runs in it, what can be done to it, and that nothing of it is
//! left when it ends. On clusters beside the usual one, so that nobody else is disturbed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_testkit::cluster::{self, Cluster, Component, Error, Life, Started};

/// The longest of what is waited for is a whole cluster's start, which has two minutes itself.
const DEADLINE: Duration = Duration::from_secs(180);
const SHARED_INDEX: u8 = 14;
const KILLED_INDEX: u8 = 15;
const DISTURBED_INDEX: u8 = 13;
const BROKEN_INDEX: u8 = 12;

fn start(index: u8) -> Started {
    let program = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let started = cluster::start(index, program, Life::Mine).unwrap();
    started.expect("nobody else uses this index")
}

/// The cluster of the tests that run at the same time, and how many they are. Its start and its
/// end, which take a while, are both under the lock: a test that begins meanwhile waits for them.
static SHARED: Mutex<(usize, Option<Started>)> = Mutex::new((0, None));

/// One test's use of the shared cluster; the last one ends it.
struct Shared;

impl Drop for Shared {
    fn drop(&mut self) {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.0 -= 1;
        if shared.0 == 0 {
            shared.1 = None;
        }
    }
}

fn shared() -> (Shared, Cluster) {
    let mut shared = SHARED.lock().unwrap();
    if shared.1.is_none() {
        shared.1 = Some(start(SHARED_INDEX));
    }
    shared.0 += 1;
    let own = Shared;
    drop(shared);
    (own, Cluster::with_index(SHARED_INDEX).unwrap())
}

fn wait_until(what: &str, mut is_met: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_met() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a pod in a namespace of that name, with these arguments, until it is ready.
fn run_pod(cluster: &Cluster, name: &str, image: &str, arguments: &str) {
    let namespace =
        format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}"#);
    cluster
        .kubectl_with(&["apply", "-f", "-"], &namespace)
        .unwrap();
    wait_until("the namespace has its service account", || {
        let asked = ["get", "serviceaccount", "default", "-n", name];
        cluster.try_kubectl(&asked, None).unwrap().status.success()
    });
    let pod = format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, namespace: {name}, labels: {{ app: {name} }} }}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {{ name: main, image: "{image}", imagePullPolicy: Never, args: [{arguments}] }}
---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: {name} }}
spec: {{ selector: {{ app: {name} }}, ports: [{{ port: 80, targetPort: 8080 }}] }}
"#
    );
    cluster.kubectl_with(&["apply", "-f", "-"], &pod).unwrap();
    let waits = [
        "wait",
        "-n",
        name,
        "--for=condition=Ready",
        "--timeout=180s",
        "pod",
        name,
    ];
    if let Err(error) = cluster.kubectl(&waits) {
        let seen = cluster
            .kubectl(&["describe", "pod", "-n", name, name])
            .unwrap();
        panic!("{error}\n{seen}\n{}", cluster.log_tail(Component::Kubelet));
    }
}

fn in_pod(cluster: &Cluster, name: &str, words: &[&str]) -> String {
    let exec = ["exec", "-n", name, name, "--", "/pod"];
    cluster.kubectl(&[&exec[..], words].concat()).unwrap()
}

#[test]
fn a_pod_reaches_a_service_by_name_and_the_s3_server_by_address() {
    let (_shared, cluster) = shared();
    let image = cluster.pod_image().unwrap().to_string();
    run_pod(&cluster, "greeter", &image, r#"serve, "8080", "good day""#);
    let name = "greeter.greeter.svc.cluster.local";
    let address = cluster.kubectl(&[
        "get",
        "service",
        "-n",
        "greeter",
        "greeter",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ]);
    assert_eq!(
        in_pod(&cluster, "greeter", &["resolve", name]).trim(),
        address.unwrap()
    );
    // Through the service to itself, which only works when addresses are translated both ways.
    let url = format!("http://{name}/");
    assert_eq!(
        in_pod(&cluster, "greeter", &["get", &url]),
        "200\ngood day\n"
    );

    let health = format!("{}/minio/health/live", cluster.s3().unwrap().endpoint);
    assert!(in_pod(&cluster, "greeter", &["get", &health]).starts_with("200"));
    cluster.create_bucket("greetings").unwrap();
    assert!(cluster.s3_data_folder().unwrap().join("greetings").is_dir());
}

#[test]
fn a_loaded_image_runs() {
    let (_shared, cluster) = shared();
    let archive = fs::read(cluster.folder().unwrap().join("pod-image.tar")).unwrap();
    let (old, new) = (b"tidegate.test/pod:1", b"tidegate.test/pod:2");
    let at = archive
        .windows(old.len())
        .position(|window| window == old)
        .unwrap();
    let mut renamed = archive;
    renamed[at..at + new.len()].copy_from_slice(new);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    fs::write(&file, renamed).unwrap();
    cluster.load_image(&file).unwrap();
    run_pod(&cluster, "loaded", "tidegate.test/pod:2", "");

    let missing = cluster
        .load_image(&folder.path().join("none.tar"))
        .unwrap_err();
    assert!(missing.to_string().contains("none.tar"), "{missing}");
}

#[test]
fn a_killed_container_process_is_another_one_afterwards() {
    let (_shared, cluster) = shared();
    let image = cluster.pod_image().unwrap().to_string();
    run_pod(&cluster, "victim", &image, "");
    let pids = || {
        cluster
            .pids_of_container("victim", "victim", "main")
            .unwrap()
    };
    let before = pids();
    assert_eq!(before.len(), 1, "{before:?}");
    cluster.kill_process(before[0]).unwrap();
    wait_until("the container runs again", || {
        let now = pids();
        now.len() == 1 && now != before
    });
    let count = cluster.kubectl(&[
        "get",
        "pod",
        "-n",
        "victim",
        "victim",
        "-o",
        "jsonpath={.status.containerStatuses[0].restartCount}",
    ]);
    assert_eq!(count.unwrap(), "1");
    let nobody = cluster
        .pids_of_container("victim", "nobody", "main")
        .unwrap_err();
    assert!(nobody.to_string().contains("nobody"), "{nobody}");
}

/// The number of the process that runs with this word on its command line, in the namespace.
fn pid_of(word: &str, pids: &str) -> Option<String> {
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    let found = processes.find(|entry| {
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let namespace = fs::read_link(entry.path().join("ns/pid"));
        line.split('\0').any(|part| part == word)
            && namespace.is_ok_and(|namespace| namespace.display().to_string() == pids)
    });
    Some(found?.file_name().into_string().unwrap())
}

#[test]
fn pods_outlive_a_stop_of_the_api_server_and_what_ends_by_itself_comes_back() {
    let started = start(DISTURBED_INDEX);
    let cluster = Cluster::with_index(DISTURBED_INDEX).unwrap();
    let image = cluster.pod_image().unwrap().to_string();
    run_pod(&cluster, "steady", &image, "");
    let in_container = || {
        cluster
            .pids_of_container("steady", "steady", "main")
            .unwrap()
    };
    let before = in_container();
    cluster.stop_api_server().unwrap();
    assert!(cluster.kubectl(&["get", "pods"]).is_err());
    cluster.start_api_server().unwrap();
    cluster.kubectl(&["get", "pods"]).unwrap();
    assert_eq!(in_container(), before);

    let pids = namespace_of(started.pid());
    let scheduler = pid_of("kube-scheduler", &pids).unwrap();
    cluster.kill_process(scheduler.parse().unwrap()).unwrap();
    wait_until("there is another scheduler", || {
        pid_of("kube-scheduler", &pids).is_some_and(|pid| pid != scheduler)
    });
    let log = cluster.folder().unwrap().join("logs/init.log");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("kube-scheduler ended by itself"), "{log}");
}

#[test]
fn a_cluster_that_does_not_come_up_says_where_it_stopped() {
    let error = cluster::start(BROKEN_INDEX, Path::new("/bin/false"), Life::Mine).unwrap_err();
    assert!(matches!(error, Error::Component { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("the cluster ended while waiting for"),
        "{message}"
    );
    assert!(message.contains("init.log"), "{message}");
    assert!(cluster::stop(BROKEN_INDEX).unwrap());
}

/// Everything that a cluster could leave behind, by other means than it uses itself.
fn is_left(index: u8, pids: &str, folder: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let namespace = fs::read_link(entry.path().join("ns/pid"));
        if namespace.is_ok_and(|namespace| namespace.display().to_string() == pids) {
            left.push(entry.path().display().to_string());
        }
    }
    let link = Path::new("/sys/class/net").join(format!("tidegate{index}"));
    if link.exists() {
        left.push(link.display().to_string());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let folder = folder.display().to_string();
    left.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&folder))
            .map(String::from),
    );
    left
}

fn namespace_of(pid: u32) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/pid_for_children")).unwrap();
    link.display().to_string()
}

/// Run by the next test in a process of its own, which that test then kills.
#[test]
#[ignore = "waits until it is killed"]
fn waits_with_a_cluster_until_killed() {
    let _started = start(KILLED_INDEX);
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_is_left_of_a_cluster_whose_one_process_or_whose_starter_is_killed() {
    let started = start(KILLED_INDEX);
    let cluster = Cluster::with_index(KILLED_INDEX).unwrap();
    let image = cluster.pod_image().unwrap().to_string();
    run_pod(&cluster, "running", &image, "");
    let folder = cluster.folder().unwrap().to_path_buf();
    let pids = namespace_of(started.pid());
    assert!(is_left(KILLED_INDEX, &pids, &folder).len() > 10);
    cluster.kill_process(started.pid()).unwrap();
    wait_until("nothing is left", || {
        is_left(KILLED_INDEX, &pids, &folder).is_empty()
    });
    let error = Cluster::with_index(KILLED_INDEX).unwrap_err();
    assert!(matches!(error, Error::NotUp), "{error}");

    // The next one starts over the remains, in a process that is killed at once.
    drop(started);
    let mut starter = Command::new(std::env::current_exe().unwrap());
    starter.args(["--ignored", "--exact", "waits_with_a_cluster_until_killed"]);
    let mut starter = starter.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the cluster is up", || {
        Cluster::with_index(KILLED_INDEX).is_ok()
    });
    let process = fs::read_to_string(folder.join("process.json")).unwrap();
    let process: serde_json::Value = serde_json::from_str(&process).unwrap();
    let pids = namespace_of(u32::try_from(process["pid"].as_u64().unwrap()).unwrap());
    starter.kill().unwrap();
    starter.wait().unwrap();
    wait_until("nothing is left", || {
        is_left(KILLED_INDEX, &pids, &folder).is_empty()
    });

    assert!(cluster::stop(KILLED_INDEX).unwrap());
    assert!(!folder.exists());
    for entry in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        assert!(
            !entry
                .path()
                .join(format!("tidegate{KILLED_INDEX}"))
                .exists()
        );
    }
    assert!(!cluster::stop(KILLED_INDEX).unwrap());
}
