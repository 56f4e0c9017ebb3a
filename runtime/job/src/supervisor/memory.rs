//! Whether the container's memory limit killed a process, as its control group tells it.
//!
//! The kernel may kill the job process alone, and kubelet then sees nothing: the container lives
//! on. The counters are those of the whole container, so a kill between two looks is the job's.

use std::fs;
use std::path::Path;

/// Where a container finds its own control group, version 2 and version 1.
const GROUPS: [Group; 2] = [
    Group {
        events: "/sys/fs/cgroup/memory.events",
        limit: "/sys/fs/cgroup/memory.max",
    },
    Group {
        events: "/sys/fs/cgroup/memory/memory.oom_control",
        limit: "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    },
];

struct Group {
    events: &'static str,
    limit: &'static str,
}

/// How often the limit has killed a process of this container so far; 0 where nothing tells it.
pub(super) fn kill_count() -> u64 {
    let told = GROUPS.iter().find_map(|group| kills(&read(group.events)?));
    told.unwrap_or(0)
}

/// The limit in words, as in `128Mi`, if there is one.
pub(super) fn limit() -> Option<String> {
    let group = GROUPS
        .iter()
        .find(|group| Path::new(group.events).exists())?;
    words(&read(group.limit)?)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn kills(events: &str) -> Option<u64> {
    let count = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count?.trim().parse().ok()
}

/// Bytes as a spec writes them. Version 1 says a number near 2^63 where there is no limit.
fn words(limit: &str) -> Option<String> {
    const NONE: u64 = 1 << 60;
    let bytes: u64 = limit.trim().parse().ok()?;
    if bytes >= NONE {
        return None;
    }
    let units = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let whole = units
        .iter()
        .find(|(_, shift)| bytes.is_multiple_of(1 << shift));
    Some(match whole {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\n", Some(1))]
    #[case("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", Some(3))]
    #[case("oom_kill_disable 0\nunder_oom 0\n", None)]
    fn kills_are_read_in_both_versions(#[case] events: &str, #[case] expected: Option<u64>) {
        assert_eq!(kills(events), expected);
    }

    #[rstest]
    #[case("134217728\n", Some("128Mi"))]
    #[case("2147483648\n", Some("2Gi"))]
    #[case("1000\n", Some("1000"))]
    #[case("max\n", None)]
    #[case("9223372036854771712\n", None)]
    fn a_limit_reads_as_a_spec_writes_it(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(words(text).as_deref(), expected);
    }
}
