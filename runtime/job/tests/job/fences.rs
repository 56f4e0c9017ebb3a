//! Two processes of one job.

use crate::support::{TestJob, end};

#[test]
fn the_older_of_two_processes_is_fenced_and_commits_nothing_more() {
    let mut job = TestJob::new();
    job.plan.count = 30_000;
    job.plan.pause_us = 1000;
    job.hold_end();
    let mut old = job.start();
    old.wait_for_checkpoint();

    job.plan.pause_us = 0;
    let new = job.start();
    let (old_code, old_events) = old.wait();
    assert_eq!(old_code, 3, "{old_events:#?}");
    assert_eq!(end(&old_events)["phase"], "Fenced");
    let reason = end(&old_events)["reason"].as_str().unwrap();
    assert!(
        reason.contains("another process has taken this job over"),
        "{reason}"
    );

    job.may_end();
    let (code, events) = new.wait();
    assert_eq!(code, 0, "{events:#?}");
    job.assert_exact();
}
