use std::thread;
use std::time::Instant;

use rstest::rstest;

use super::world::{Explored, World};
use super::{Bug, PLANTED};

/// Seeds of the ordinary test command.
const SEED_COUNT: u64 = 20_000;
/// Seeds within which every planted bug must be caught.
const BUG_SEED_COUNT: u64 = 20_000;

/// Threads that share the seeds.
const THREAD_COUNT: u64 = 2;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64) -> Result<Explored, String> {
    World::new(seed, false).run()
}

/// What happened in a seed, for people.
fn traced(seed: u64) -> String {
    if variable("SIM_TRACE").is_none() {
        return "SIM_TRACE=1 shows what happened".to_owned();
    }
    let mut world = World::new(seed, true);
    let _ = world.run();
    world.take_trace().join("\n")
}

/// Runs the seeds of one thread up to the first that breaks something.
fn explore(seeds: impl Iterator<Item = u64>) -> Result<Explored, (u64, String)> {
    let mut sum = Explored::default();
    for seed in seeds {
        let explored = run(seed).map_err(|broken| (seed, broken))?;
        sum.add(explored);
    }
    Ok(sum)
}

#[test]
fn no_seed_breaks_an_invariant() {
    let first = variable("SIM_SEED").unwrap_or(0);
    let count = variable("SIM_SEEDS").unwrap_or(SEED_COUNT);
    let started = Instant::now();
    let mut sum = Explored::default();
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREAD_COUNT)
            .map(|offset| first + offset..first + count)
            .map(|seeds| scope.spawn(|| explore(seeds.step_by(THREAD_COUNT as usize))))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for result in results {
        match result {
            Ok(explored) => sum.add(explored),
            Err((seed, broken)) => panic!(
                "seed {seed}: {broken}\nrun it again with SIM_SEED={seed} SIM_SEEDS=1 cargo test \
                 -p tidegate-protocol no_seed_breaks_an_invariant\n{}",
                traced(seed)
            ),
        }
    }
    println!(
        "{count} seeds from {first}: {sum:?}, {:?}",
        started.elapsed()
    );
    // A run that explores nothing proves nothing.
    let least = 2 * count;
    assert!(sum.attempts >= least && sum.checkpoints >= least, "{sum:?}");
}

#[test]
fn a_seed_always_leads_to_the_same_run() {
    for seed in 0..20 {
        let runs = [(); 2].map(|()| {
            let mut world = World::new(seed, true);
            let _ = world.run();
            world.take_trace()
        });
        assert!(runs[0] == runs[1] && !runs[0].is_empty(), "seed {seed}");
    }
}

#[rstest]
#[case::skip_fence(Bug::SkipFence)]
#[case::skip_check_after_fence(Bug::SkipCheckAfterFence)]
#[case::skip_check_after_checkpoint(Bug::SkipCheckAfterCheckpoint)]
#[case::treat_unknown_as_created(Bug::TreatUnknownAsCreated)]
#[case::treat_unknown_as_failed(Bug::TreatUnknownAsFailed)]
#[case::restore_newest_manifest_seen(Bug::RestoreNewestManifestSeen)]
#[case::forget_base(Bug::ForgetBase)]
#[case::honour_start_again(Bug::HonourStartAgain)]
#[case::forget_generation(Bug::ForgetGeneration)]
#[case::come_back(Bug::ComeBack)]
#[case::free_highest(Bug::FreeHighest)]
#[case::free_named_entry(Bug::FreeNamedEntry)]
#[case::collect_referenced_file(Bug::CollectReferencedFile)]
#[case::collect_running_checkpoint(Bug::CollectRunningCheckpoint)]
#[case::collect_newer_attempts(Bug::CollectNewerAttempts)]
#[case::retire_savepoints(Bug::RetireSavepoints)]
#[case::commit_before_append(Bug::CommitBeforeAppend)]
#[case::finish_before_commit(Bug::FinishBeforeCommit)]
#[case::complete_with_missing_snapshot(Bug::CompleteWithMissingSnapshot)]
#[case::ignore_attempt(Bug::IgnoreAttempt)]
#[case::no_commit_on_recovery(Bug::NoCommitOnRecovery)]
#[case::no_narrowing_on_restore(Bug::NoNarrowingOnRestore)]
#[case::wrong_range_on_rescale(Bug::WrongRangeOnRescale)]
#[case::put_without_if_absent(Bug::PutWithoutIfAbsent)]
#[case::acknowledge_before_upload(Bug::AcknowledgeBeforeUpload)]
#[case::forward_barrier_before_freeze(Bug::ForwardBarrierBeforeFreeze)]
#[case::source_positions_after_barrier(Bug::SourcePositionsAfterBarrier)]
#[case::skip_alignment(Bug::SkipAlignment)]
fn a_planted_bug_is_caught(#[case] bug: Bug) {
    PLANTED.set(Some(bug));
    let caught = (0..BUG_SEED_COUNT).find_map(|seed| Some((seed, run(seed).err()?)));
    PLANTED.set(None);
    match caught {
        Some((seed, broken)) => println!("{bug:?} is caught by seed {seed}: {broken}"),
        None => panic!("{bug:?} was not caught by {BUG_SEED_COUNT} seeds"),
    }
}
