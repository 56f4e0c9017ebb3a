//! Ids, key groups, checkpoint log rules and the coordinator: pure logic, no I/O.
//!
//! Nothing here knows a clock, a store, a thread or a network: facts come in as [`Event`]s,
//! decisions go out as [`Action`]s. The same code runs in the job process and in the seeded
//! simulation.
//!
//! ```text
//! worker messages ─┐                       ┌─ messages to workers
//! log answers ─────┼─ Event → Coordinator → Action ─┼─ log appends and listings
//! clock, commands ─┘                       └─ files to delete, timers, reports
//! ```

mod coordinator;
mod entry;
mod failure;
mod ids;
mod key_group;
mod manifest;
mod message;
mod plan;
#[cfg(test)]
mod simulation;

pub use coordinator::{
    Action, Administration, AdministrationOutcome, AdministrationTask, AppendOutcome, Command,
    Coordinator, CoordinatorConfig, Event, JobOutcome, JobState, NextStart, RestartPolicy,
    RestoreError, StartFrom, StateMismatch, StopMode, check_restore, plan_restore,
};
pub use entry::EntryError;
pub use failure::FailureCategory;
pub use ids::{
    Attempt, ChainId, CheckpointId, IdError, LogNumber, MaxParallelism, OperatorId, Parallelism,
    SubtaskId, SubtaskIndex, WorkerId,
};
pub use key_group::{
    KeyGroup, KeyGroupRange, hash_key, hash_key_with_seed, key_group_of, subtask_of,
};
pub use manifest::{
    Base, CheckpointKind, Entry, EntryBody, FORMAT_VERSION, FileKind, Manifest, OperatorState,
    StateFile, SubtaskState,
};
pub use message::{
    Deployment, FromWorker, OperatorRestore, OperatorSnapshot, SubtaskDeployment, SubtaskSnapshot,
    ToWorker,
};
pub use plan::{ChainPlan, JobPlan, OperatorKind, OperatorPlan, StateColumn, StateSchema};
