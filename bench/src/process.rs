//! Measurements of whole processes, and the process that each case runs in.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tidegate::run_job;
use tidegate_connectors::Generator;

use crate::{CHILD, job, keyed_count};

/// An idle job's memory is read after this long.
const SETTLE: Duration = Duration::from_secs(2);

/// Runs a case in a process of its own and gives its value.
pub(crate) fn measure(name: &str) -> Result<f64> {
    let program = std::env::current_exe()?;
    let ran = Command::new(program)
        .args([CHILD, name])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot start the process of `{name}`"))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        bail!("`{name}` failed: {}", said.trim_end());
    }
    let said = String::from_utf8(ran.stdout)?;
    let last = said
        .lines()
        .last()
        .with_context(|| format!("`{name}` said nothing"))?;
    last.parse()
        .with_context(|| format!("`{name}` said `{last}`"))
}

/// Runs a job of a thousand records a second in this process until the case ends it.
fn start_trickle() -> Result<std::sync::Arc<std::sync::atomic::AtomicU64>> {
    let folder = job::scratch()?;
    let config = job::config(&folder, Some(1000))?;
    let (sink, records) = job::Counted::new();
    let generator =
        Generator::new(|index, output: &mut tidegate::SourceOutput<u64>| output.push(index))
            .with_rate(1000);
    let graph = job::graph(|pipeline| pipeline.source("generator", generator).sink("out", sink))?;
    std::thread::spawn(move || {
        let _folder = folder;
        run_job(&config, graph)
    });
    Ok(records)
}

/// Memory that a job process holds while next to nothing comes, in bytes.
pub(crate) fn idle_rss() -> Result<f64> {
    let records = start_trickle()?;
    keyed_count::wait(&records, 1, Instant::now())?;
    std::thread::sleep(SETTLE);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes
        .context("the system tells no VmRSS")?
        .trim()
        .parse()?;
    Ok(kibibytes as f64 * 1024.0)
}

/// From the start of the process to its first record, in seconds.
pub(crate) fn start_to_first_record() -> Result<f64> {
    let records = start_trickle()?;
    keyed_count::wait(&records, 1, Instant::now())?;
    process_age()
}

/// How long ago this process was started, in seconds, to a hundredth.
fn process_age() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Field 22, in clock ticks since the machine's start; the name before it may have spaces.
    let after_name = stat
        .rsplit_once(") ")
        .context("the system tells no process times")?
        .1;
    let started = after_name
        .split(' ')
        .nth(19)
        .context("the system tells no start time")?;
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime
        .split(' ')
        .next()
        .context("the system tells no uptime")?
        .parse()?;
    const TICKS_A_SECOND: f64 = 100.0;
    Ok((uptime - started.parse::<f64>()? / TICKS_A_SECOND).max(0.0))
}
