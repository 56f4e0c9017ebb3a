//! The seeded simulation: many processes, workers, sinks and one store, driven by one seed, around
//! the production [`Coordinator`](crate::Coordinator).
//!
//! ```text
//! world ── queue of happenings, one clock, one generator
//!   process ── coordinator, its workers        dataflow, task ── records, barriers, snapshots
//!   log_calls, collector ── what the store does, late, twice or not at all
//!   oracle ── the invariants, checked at each step        faults ── what goes wrong, how often
//! ```
//!
//! `SIM_SEED=… SIM_SEEDS=… cargo test -p tidegate-protocol no_seed_breaks_an_invariant` runs other
//! seeds; `SIM_TRACE=1` prints what happened in the one that failed.

mod beginning;
mod collector;
mod dataflow;
mod faults;
mod input;
mod log_calls;
mod oracle;
mod process;
mod random;
mod snapshot;
mod store;
mod task;
mod tests;
mod user;
mod worker;
mod world;

use std::cell::Cell;

use crate::{
    ChainId, ChainPlan, JobPlan, MaxParallelism, OperatorId, OperatorKind, OperatorPlan,
    StateColumn, StateSchema,
};

/// A protocol bug that a test plants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A starter takes an attempt's number without appending its fence.
    SkipFence,
    /// Rule 1 dropped for fences: a created one counts without another listing.
    SkipCheckAfterFence,
    /// Rule 1 dropped for checkpoints: a freed name is trusted.
    SkipCheckAfterCheckpoint,
    /// An append of unknown outcome is taken for created.
    TreatUnknownAsCreated,
    /// An append of unknown outcome is taken for failed.
    TreatUnknownAsFailed,
    /// Rule 2 dropped: the newest manifest listed is restored, named or not.
    RestoreNewestManifestSeen,
    /// The newest retained checkpoint is restored, though the highest entry goes on from another.
    ForgetBase,
    /// A request to start from elsewhere is honoured by every process that is told it.
    HonourStartAgain,
    /// A fence carries its own start generation, though the log knows a newer one.
    ForgetGeneration,
    /// A start older than one that the log knows takes over.
    ComeBack,
    /// Rule 3 dropped: the highest entry is freed.
    FreeHighest,
    /// Rule 3 dropped: an entry that the highest one names is freed.
    FreeNamedEntry,
    /// Rule 4 dropped: a file that a retained manifest names is collected.
    CollectReferencedFile,
    /// Rule 4 dropped: the files of a running checkpoint are collected.
    CollectRunningCheckpoint,
    /// Rule 4 dropped: the files of newer attempts are collected.
    CollectNewerAttempts,
    /// Retention counts savepoints like automatic checkpoints.
    RetireSavepoints,
    /// Sinks commit when all have acknowledged, before the manifest stands in the log.
    CommitBeforeAppend,
    /// The job ends before its sinks have committed the last checkpoint.
    FinishBeforeCommit,
    /// A checkpoint is completed though a subtask has not acknowledged.
    CompleteWithMissingSnapshot,
    /// Messages of old attempts are taken for the running one's.
    IgnoreAttempt,
    /// What a restored checkpoint had pre-committed is not committed.
    NoCommitOnRecovery,
    /// A shared file is read beyond the key groups that its subtask owned.
    NoNarrowingOnRestore,
    /// Key-group ranges are rounded down where they are owned, up where they are routed.
    WrongRangeOnRescale,
    /// The store overwrites entries.
    PutWithoutIfAbsent,
    /// A worker acknowledges before its snapshot is durable.
    AcknowledgeBeforeUpload,
    /// A task sends the barrier on, works, and freezes then.
    ForwardBarrierBeforeFreeze,
    /// A source notes its positions after records that follow the barrier.
    SourcePositionsAfterBarrier,
    /// A task freezes at the first barrier and does not wait for those of its other inputs.
    SkipAlignment,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Whether this thread runs with this bug.
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// The job that is simulated: a source, a keyed tally, a transactional sink.
fn plan(max_parallelism: MaxParallelism) -> JobPlan {
    let operator = |index: usize, kind, state| OperatorPlan {
        id: OperatorId::new(task::OPERATORS[index]).unwrap(),
        name: task::OPERATORS[index].to_owned(),
        kind,
        state,
    };
    let schema = StateSchema {
        key: "KeyGroup".to_owned(),
        columns: vec![StateColumn {
            name: "tally".to_owned(),
            kind: "value".to_owned(),
            data_type: "Tally".to_owned(),
        }],
    };
    let chain = |id, operator, outputs| ChainPlan {
        id: ChainId(id),
        operators: vec![operator],
        outputs,
    };
    JobPlan {
        chains: vec![
            chain(0, operator(0, OperatorKind::Source, None), vec![ChainId(1)]),
            chain(
                1,
                operator(1, OperatorKind::Keyed, Some(schema)),
                vec![ChainId(2)],
            ),
            chain(2, operator(2, OperatorKind::Sink, None), Vec::new()),
        ],
        max_parallelism,
    }
}
