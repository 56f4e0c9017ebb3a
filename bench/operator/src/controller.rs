//! What the controller itself costs: memory, and writes to the API server.

use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::space::Space;

/// The namespace that the operator is installed in.
const OPERATOR_NAMESPACE: &str = "tidegate-system";
const SUSPENDED_JOBS: usize = 200;
const BUSY_JOBS: usize = 20;
/// The first minute of jobs that start is not what a day looks like.
const SETTLE: Duration = Duration::from_secs(60);
const WATCHED: Duration = Duration::from_secs(120);
/// Memory is read once nothing happens any more.
const QUIET: Duration = Duration::from_secs(10);

pub(crate) fn rss_with_one_job(space: &Space) -> Result<f64> {
    space.apply(&space.job("counts")?)?;
    space.wait_reason(1, "Running")?;
    std::thread::sleep(QUIET);
    leader_rss(space)
}

pub(crate) fn rss_with_suspended_jobs(space: &Space) -> Result<f64> {
    let mut jobs = Vec::new();
    for index in 0..SUSPENDED_JOBS {
        let mut job = space.job(&format!("counts-{index}"))?;
        job["spec"]["suspend"] = json!(true);
        jobs.push(job);
    }
    space.apply(&json!({"apiVersion": "v1", "kind": "List", "items": jobs}))?;
    space.wait_reason(SUSPENDED_JOBS, "Suspended")?;
    std::thread::sleep(QUIET);
    leader_rss(space)
}

pub(crate) fn writes_per_minute(space: &Space) -> Result<f64> {
    let jobs: Vec<Value> = (0..BUSY_JOBS)
        .map(|index| space.job(&format!("counts-{index}")))
        .collect::<Result<_>>()?;
    space.apply(&json!({"apiVersion": "v1", "kind": "List", "items": jobs}))?;
    space.wait_reason(BUSY_JOBS, "Running")?;
    std::thread::sleep(SETTLE);
    let path = space.cluster.audit_log()?;
    let mut log = fs::File::open(path)?;
    log.seek(SeekFrom::End(0))?;
    std::thread::sleep(WATCHED);
    let lines = BufReader::new(log).lines();
    let mut writes = 0_u32;
    for line in lines {
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<Value>(&line?) else {
            continue;
        };
        writes += u32::from(is_controllers_write(&event));
    }
    Ok(f64::from(writes) / WATCHED.as_secs_f64() * 60.0)
}

/// Leases included: whatever the controller writes counts.
fn is_controllers_write(event: &Value) -> bool {
    let user = event["user"]["username"].as_str().unwrap_or_default();
    let verb = event["verb"].as_str().unwrap_or_default();
    user.starts_with(&format!("system:serviceaccount:{OPERATOR_NAMESPACE}:"))
        && ["create", "update", "patch", "delete"].contains(&verb)
}

fn leader_rss(space: &Space) -> Result<f64> {
    let cluster = &space.cluster;
    let list = [
        "get",
        "leases",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--output",
        "json",
    ];
    let leases: Value = serde_json::from_str(&cluster.kubectl(&list)?)?;
    let holder = leases["items"][0]["spec"]["holderIdentity"].as_str();
    let pod = holder.context("no controller leads")?;
    let pids = cluster.pids_of_container(OPERATOR_NAMESPACE, pod, "controller")?;
    let pid = pids
        .first()
        .context("the leading controller has no process")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: f64 = kibibytes
        .context("the system tells no VmRSS")?
        .trim()
        .parse()?;
    Ok(kibibytes * 1024.0)
}
