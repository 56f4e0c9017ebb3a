//! The seeded simulation.

use std::cell::Cell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    SkipFence,
    SkipCheckAfterFence,
    SkipCheckAfterCheckpoint,
    TreatUnknownAsCreated,
    TreatUnknownAsFailed,
    RestoreNewestManifestSeen,
    FreeHighest,
    FreeNamedEntry,
    CollectReferencedFile,
    CollectRunningCheckpoint,
    CollectNewerAttempts,
    RetireSavepoints,
    CommitBeforeAppend,
    FinishBeforeCommit,
    CompleteWithMissingSnapshot,
    IgnoreAttempt,
    NoCommitOnRecovery,
    NoNarrowingOnRestore,
    WrongRangeOnRescale,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
