//! How long a job is away: until its metrics show a record that was read after the deed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::space::Space;
use crate::wait::until;

const NAME: &str = "counts";
/// Each try of a look at a pod's metrics.
const LOOK_TIMEOUT: Duration = Duration::from_millis(200);
/// A median of so many.
const REPEATS: usize = 5;
/// A process that ran for less is started again after a pause that grows with each death, which is
/// not what is measured.
const STABLE: Duration = Duration::from_secs(11);

/// From the moment that `kubectl apply` is called, the image being on the node.
pub(crate) fn apply_to_first_record(space: &Space) -> Result<f64> {
    let mut seconds = Vec::new();
    for index in 0..REPEATS {
        let name = format!("{NAME}-{index}");
        let job = space.job(&name)?;
        let start = Instant::now();
        space.apply(&job)?;
        let address = await_address(space, None)?;
        await_record(&address)?;
        seconds.push(start.elapsed().as_secs_f64());
        space.kubectl(&["delete", "streamjob", &name, "--wait=true"])?;
        await_no_pods(space)?;
    }
    Ok(median(seconds))
}

/// From a deletion without grace.
pub(crate) fn pod_deletion_to_first_record(space: &Space) -> Result<f64> {
    let mut address = run(space)?;
    let mut seconds = Vec::new();
    for _ in 0..REPEATS {
        let pod = pod_name(space)?;
        let start = Instant::now();
        space.kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"])?;
        address = await_address(space, Some(&address))?;
        await_record(&address)?;
        seconds.push(start.elapsed().as_secs_f64());
        space.wait_reason(1, "Running")?;
    }
    Ok(median(seconds))
}

/// From a SIGKILL of a job process that has run for a while; its supervisor lives.
pub(crate) fn job_kill_to_first_record(space: &Space) -> Result<f64> {
    let address = run(space)?;
    let mut seconds = Vec::new();
    for _ in 0..REPEATS {
        std::thread::sleep(STABLE);
        let pod = pod_name(space)?;
        let pid = until("a job process", || {
            let pids = space
                .cluster
                .pids_of_container(&space.namespace, &pod, "job")?;
            Ok(pids.get(1).copied())
        })?;
        let start = Instant::now();
        space.cluster.kill_process(pid)?;
        until("the old process serves no more", || {
            Ok(records(&address).is_none().then_some(()))
        })?;
        await_record(&address)?;
        seconds.push(start.elapsed().as_secs_f64());
        space.wait_reason(1, "Running")?;
    }
    Ok(median(seconds))
}

/// Runs one job; gives its pod's address once it reads records and has a checkpoint.
fn run(space: &Space) -> Result<String> {
    space.apply(&space.job(NAME)?)?;
    let address = await_address(space, None)?;
    await_record(&address)?;
    until("a checkpoint", || {
        let jobs = space.list("streamjobs")?;
        let has_one = jobs
            .iter()
            .any(|job| job["status"]["latestCheckpoint"]["id"].is_number());
        Ok(has_one.then_some(()))
    })?;
    Ok(address)
}

fn pod_name(space: &Space) -> Result<String> {
    let pods = space.list("pods")?;
    let live = pods
        .iter()
        .find(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let name = live.and_then(|pod| pod["metadata"]["name"].as_str());
    Ok(name.context("the job has no pod")?.to_owned())
}

/// The address of the job's pod, another one than `before`.
fn await_address(space: &Space, before: Option<&str>) -> Result<String> {
    until("a pod with an address", || {
        let is_live = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        let pods = space.list("pods")?;
        let addresses = pods
            .iter()
            .filter(is_live)
            .filter_map(|pod| pod["status"]["podIP"].as_str());
        Ok(addresses
            .filter(|ip| Some(*ip) != before)
            .map(str::to_owned)
            .next())
    })
}

fn await_no_pods(space: &Space) -> Result<()> {
    until("no pods", || {
        Ok(space.list("pods")?.is_empty().then_some(()))
    })
}

fn await_record(address: &str) -> Result<()> {
    until("a record", || {
        Ok(records(address).filter(|count| *count > 0.0).map(drop))
    })
}

/// How many records the process at an address has read, if it answers.
fn records(address: &str) -> Option<f64> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(LOOK_TIMEOUT))
        .build()
        .into();
    let answer = agent
        .get(format!("http://{address}:8080/metrics"))
        .call()
        .ok()?;
    let text = answer.into_body().read_to_string().ok()?;
    let lines = text.lines().filter(|line| {
        line.starts_with("tidegate_job_operator_records_out_total{") && line.contains("\"numbers\"")
    });
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Some(values.sum())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
