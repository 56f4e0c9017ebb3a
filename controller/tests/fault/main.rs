//! The controller between a bad network and its own death: whatever happens to single requests,
//! lists, events or itself, a job ends in the same state.
//!
//! The API server is real. What acts on objects (Deployment controller, kubelet, garbage collector)
//! and what the job's process says are played by the test.

#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "the points that were covered")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Fault, Reads, Summary, World, Writes, wait_for};

/// Lives at once: the machine has two cores, and a life mostly waits.
const CONCURRENCY: usize = 8;
/// More than a life has writes.
const WRITES_MAX: usize = 400;

fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test)
}

/// Runs a life for each item, so many at once, and adds up the points.
fn live_all<T: Copy + Send + Sync + std::fmt::Debug>(
    items: &[T],
    life: impl Fn(T) -> usize + Sync,
) -> usize {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut points = 0;
        while let Some(item) = items.get(next.fetch_add(1, Ordering::SeqCst)) {
            let covered = life(*item);
            println!("{item:?}: {covered} points");
            points += covered;
        }
        points
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONCURRENCY).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

/// Create, upgrade, scale, savepoint, suspend, resume, delete. Before the end comes a state in
/// which `settled` finds nothing amiss; it is what comes back. `name` tells one life from others.
async fn live(
    world: &World,
    name: &str,
    settled: impl Fn(&Summary) -> Result<(), String>,
) -> Summary {
    world.create().await;
    world.upgrade().await;
    world.scale().await;
    world.savepoint().await;
    world.suspend_and_resume().await;
    let end = wait_for(&format!("a settled state, {name}"), async || {
        let seen = world.look().await?;
        settled(&seen).map(|()| seen)
    })
    .await;
    world.delete_savepoint().await;
    world.delete().await;
    end
}

/// Objects of one revision, and its pod: the leftovers of what was before are gone.
fn one_revision(seen: &Summary) -> Result<(), String> {
    let objects = &seen.0["objects"];
    let kinds = ["deployments", "configMaps", "secrets"];
    let is_one = kinds.map(|kind| objects[kind].as_array().unwrap().len()) == [1; 3];
    (is_one && objects["pods"][0] == "1")
        .then_some(())
        .ok_or_else(|| format!("{seen:?}"))
}

/// Fails unless a life comes to the state that it comes to without faults.
async fn live_like(expected: &Summary, world: &World, name: &str) {
    live(world, name, |seen| {
        (seen == expected)
            .then_some(())
            .ok_or_else(|| format!("{seen:?}, not {expected:?}"))
    })
    .await;
}

async fn undisturbed() -> (Summary, Vec<String>) {
    let world = World::start(Writes::Pass, Reads::Pass, 0).await;
    let summary = live(&world, "undisturbed", one_revision).await;
    (summary, world.proxy.done())
}

#[test]
fn a_life_without_faults_leaves_what_is_expected() {
    block_on(async {
        let (summary, writes) = undisturbed().await;
        println!(
            "{} writes in a life; before its end: {:#}",
            writes.len(),
            summary.0
        );
        assert_eq!(summary.0["jobs"][0]["parallelism"], 3);
        assert_eq!(summary.0["jobs"][0]["upgrade"][0], "Complete");
        assert!(writes.len() < WRITES_MAX, "{writes:#?}");
    });
}

#[test]
fn every_write_can_fail_be_lost_or_be_late() {
    let expected = block_on(undisturbed()).0;
    let faults = [
        Fault::Status(500),
        Fault::Status(409),
        Fault::Status(410),
        Fault::Status(429),
        Fault::Cut,
        Fault::Lost,
        Fault::Slow,
        Fault::Late,
    ];
    let points = live_all(&faults, |fault| {
        block_on(async {
            let world = World::start(Writes::FailFirst(fault), Reads::Pass, 0).await;
            live_like(&expected, &world, &format!("{fault:?}")).await;
            world.proxy.fault_count()
        })
    });
    println!("writes that fail, are lost or late: {points} points");
    assert!(points > 100);
}

#[test]
fn the_controller_can_be_killed_after_every_write() {
    block_on(async {
        let (expected, _) = undisturbed().await;
        let world = World::start(Writes::KillAfterEach, Reads::Pass, 0).await;
        live_like(&expected, &world, "killed after each write").await;
        println!("killed after every write: {} points", world.kill_count());
        assert!(world.kill_count() > 20);
    });
}

#[test]
fn the_controller_can_be_killed_after_any_single_write() {
    let (expected, writes) = block_on(undisturbed());
    // No two lives have the same number of writes.
    let indices: Vec<usize> = (0..writes.len() + writes.len() / 4).collect();
    let points = live_all(&indices, |index| {
        block_on(async {
            let world = World::start(Writes::KillAfter(index), Reads::Pass, 0).await;
            live_like(&expected, &world, &format!("killed after write {index}")).await;
            usize::from(world.kill_count() > 0)
        })
    });
    println!("killed after a single write: {points} points");
    assert!(points >= writes.len() / 2, "{points}");
}

#[test]
fn stale_lists_and_lost_or_repeated_events_change_nothing() {
    let expected = block_on(undisturbed()).0;
    let points = live_all(&[1, 2, 3, 4, 5, 6, 7, 8], |seed| {
        block_on(async {
            let world = World::start(Writes::Pass, Reads::Unruly, seed).await;
            live_like(&expected, &world, &format!("seed {seed}")).await;
            world.proxy.fault_count()
        })
    });
    println!("stale lists, lost and repeated events: {points} points");
    assert!(points > 20);
}

#[test]
fn a_controller_that_stands_by_takes_over_from_one_that_was_killed() {
    block_on(async {
        let world = World::start(Writes::Pass, Reads::Pass, 0).await;
        world.create().await;
        world.fail_over().await;
        world.upgrade().await;
        world.delete().await;
    });
}

#[test]
fn a_standby_that_is_stopped_leaves_the_lease_with_its_holder() {
    block_on(async {
        let world = World::start_with_long_lease().await;
        world.create().await;
        world.stop_standby().await;
        world.delete().await;
    });
}

/// Every world is to serve a second namespace, which the proxy forbids. Who waited for that one,
/// too, would never be ready and never make a pod: the deadline would pass.
#[test]
fn a_namespace_that_is_forbidden_does_not_hold_up_the_others() {
    block_on(async {
        let world = World::start(Writes::Pass, Reads::Pass, 0).await;
        world.create().await;
        wait_for("the controller to be ready", async || {
            let (code, said) = world.ask("/readyz").await;
            (code == 200).then_some(()).ok_or(said)
        })
        .await;
        let (_, metrics) = world.ask("/metrics").await;
        let is_told = metrics.contains("tidegate_controller_synced 0\n");
        assert!(is_told, "a namespace is not seen: {metrics}");
        world.delete().await;
    });
}

#[test]
fn what_a_user_has_named_after_the_job_stays_the_users() {
    block_on(async {
        let world = World::start(Writes::Pass, Reads::Pass, 0).await;
        world.create_namesakes().await;
        let before = world.namesakes().await;
        world.create().await;
        assert_eq!(world.namesakes().await, before, "they are taken over");
        world.delete().await;
        assert_eq!(world.namesakes().await, before, "they go with the job");
    });
}

#[test]
fn what_somebody_deletes_comes_back() {
    block_on(async {
        let world = World::start(Writes::Pass, Reads::Pass, 0).await;
        world.create().await;
        let before = world.summary().await;
        world.delete_guards().await;
        all_is_as(&before, &world).await;
    });
}

/// As where a controller died after the first object of a revision, and the spec had changed before
/// another one looked.
#[test]
fn what_is_left_of_a_revision_that_never_came_to_be_goes() {
    block_on(async {
        let world = World::start(Writes::Pass, Reads::Pass, 0).await;
        world.create().await;
        let before = world.summary().await;
        world.create_leftover().await;
        all_is_as(&before, &world).await;
        world.delete().await;
    });
}

#[test]
fn a_job_that_is_gone_is_nobodys_work_any_more() {
    block_on(async {
        let world = World::start(Writes::AnswerLate, Reads::Pass, 0).await;
        world.create().await;
        world.delete().await;
        wait_for("the controller to forget the job", async || {
            let (_, metrics) = world.ask("/metrics").await;
            let is_told = metrics.contains("job_ready{") || metrics.contains("_jobs{");
            (!is_told).then_some(()).ok_or(metrics)
        })
        .await;
        let reads = world.proxy.namespace_read_count();
        quiet(&world).await;
        assert_eq!(world.proxy.namespace_read_count(), reads);
        world.create().await;
        world.delete().await;
    });
}

#[test]
fn what_somebody_writes_into_the_status_is_taken_back_by_one_write() {
    block_on(async {
        let world = World::start(Writes::Pass, Reads::Pass, 0).await;
        world.create().await;
        world.freeze().await;
        quiet(&world).await;
        let before = world.proxy.done().len();
        world.meddle_with_status().await;
        quiet(&world).await;
        let writes = world.proxy.done().split_off(before);
        assert_eq!(writes.len(), 1, "{writes:?}");
        world.delete().await;
    });
}

#[test]
fn on_a_quiet_cluster_ten_passes_write_nothing() {
    block_on(async {
        let world = World::start(Writes::Pass, Reads::Pass, 0).await;
        world.create().await;
        world.upgrade().await;
        world.freeze().await;
        quiet(&world).await;
        let before = world.proxy.done();
        for _ in 0..10 {
            // Each controller that starts looks at everything.
            world.restart_controller();
            let before = world.log.lock().look_count;
            wait_for(
                "a pass over the job and one over its checkpoints",
                async || {
                    let looks = world.log.lock().look_count - before;
                    (looks >= 2).then_some(()).ok_or_else(|| looks.to_string())
                },
            )
            .await;
        }
        quiet(&world).await;
        let after = world.proxy.done();
        assert_eq!(after[before.len()..], Vec::<String>::new()[..]);
    });
}

/// Waits until the objects are these again.
async fn all_is_as(before: &Summary, world: &World) {
    wait_for("all to be as it was", async || {
        let seen = world.look().await?;
        (seen == *before)
            .then_some(())
            .ok_or_else(|| format!("{seen:?}"))
    })
    .await;
}

/// Waits until nothing was written for a while.
async fn quiet(world: &World) {
    let mut last = (world.proxy.done().len(), tokio::time::Instant::now());
    wait_for("quiet", async || {
        let count = world.proxy.done().len();
        if count != last.0 {
            last = (count, tokio::time::Instant::now());
        }
        let is_quiet = last.1.elapsed() > std::time::Duration::from_secs(3);
        is_quiet.then_some(()).ok_or_else(|| count.to_string())
    })
    .await;
}
