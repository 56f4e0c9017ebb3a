//! From a manifest to what each subtask begins with, at any parallelism. Pure.

use std::fmt;

use super::planted::planted;
use crate::{
    Attempt, Deployment, JobPlan, KeyGroupRange, Manifest, MaxParallelism, OperatorId,
    OperatorKind, OperatorPlan, OperatorRestore, OperatorState, Parallelism, StateSchema,
    SubtaskDeployment, SubtaskId, SubtaskIndex, WorkerId,
};

/// What does not fit between an operator's state and its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateMismatch {
    /// The plan has no such operator.
    OperatorGone,
    /// The plan's operator keeps nothing by key.
    StateGone,
    /// The key has another type.
    KeyType {
        /// In the checkpoint.
        was: String,
        /// In the plan.
        is: String,
    },
    /// A declared state is gone.
    ColumnGone {
        /// Its name.
        column: String,
    },
    /// A declared state has another kind or type.
    ColumnType {
        /// Its name.
        column: String,
        /// In the checkpoint, kind and type.
        was: String,
        /// In the plan, kind and type.
        is: String,
    },
}

impl fmt::Display for StateMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OperatorGone => f.write_str("the plan has no such operator"),
            Self::StateGone => f.write_str("the plan's operator keeps no keyed state"),
            Self::KeyType { was, is } => write!(f, "its key was {was} and is {is}"),
            Self::ColumnGone { column } => write!(f, "its state `{column}` is gone"),
            Self::ColumnType { column, was, is } => {
                write!(f, "its state `{column}` was {was} and is {is}")
            }
        }
    }
}

/// Why a checkpoint cannot be restored into a plan. Nothing has been touched then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Keys would fall into other key groups.
    #[error(
        "the checkpoint has max parallelism {was}, the job {is}; it is fixed for a job's life: set \
         it back to {was}, or start from empty state"
    )]
    MaxParallelism {
        /// In the checkpoint.
        was: MaxParallelism,
        /// In the plan.
        is: MaxParallelism,
    },
    /// A subtask would own no key group.
    #[error("parallelism {parallelism} is greater than max parallelism {max}; lower it")]
    TooParallel {
        /// The parallelism asked for.
        parallelism: Parallelism,
        /// The bound.
        max: MaxParallelism,
    },
    /// The plan has changed in a way that would lose state.
    #[error(
        "the checkpoint's state does not fit the job: {}; give the operators their former ids and \
         states back, or start from empty state",
        list(mismatches)
    )]
    State {
        /// Each operator and state that does not fit.
        mismatches: Vec<(OperatorId, StateMismatch)>,
    },
}

fn list(mismatches: &[(OperatorId, StateMismatch)]) -> String {
    let texts: Vec<_> = mismatches
        .iter()
        .map(|(operator, mismatch)| format!("operator `{operator}`: {mismatch}"))
        .collect();
    texts.join("; ")
}

/// Checks that a plan can go on from a checkpoint at a parallelism.
///
/// # Errors
/// Names every operator and state that does not fit.
pub fn check_restore(
    plan: &JobPlan,
    manifest: Option<&Manifest>,
    parallelism: Parallelism,
) -> Result<(), RestoreError> {
    let max = plan.max_parallelism;
    if parallelism.get() > max.get() {
        return Err(RestoreError::TooParallel { parallelism, max });
    }
    let Some(manifest) = manifest else {
        return Ok(());
    };
    if manifest.max_parallelism != max {
        let was = manifest.max_parallelism;
        return Err(RestoreError::MaxParallelism { was, is: max });
    }
    let mut mismatches = Vec::new();
    for state in manifest
        .operators
        .iter()
        .filter(|state| keeps_something(state))
    {
        let found = plan
            .operators()
            .find(|operator| operator.id == state.operator);
        let of_operator = operator_mismatches(state, found);
        mismatches.extend(of_operator.into_iter().map(|m| (state.operator.clone(), m)));
    }
    if mismatches.is_empty() {
        Ok(())
    } else {
        Err(RestoreError::State { mismatches })
    }
}

fn keeps_something(state: &OperatorState) -> bool {
    let mut subtasks = state.subtasks.iter();
    subtasks.any(|subtask| !subtask.files.is_empty() || !subtask.items.is_empty())
}

fn operator_mismatches(state: &OperatorState, plan: Option<&OperatorPlan>) -> Vec<StateMismatch> {
    let Some(plan) = plan.filter(|plan| plan.kind != OperatorKind::Stateless) else {
        return vec![StateMismatch::OperatorGone];
    };
    match (&state.schema, &plan.state) {
        (None, _) => Vec::new(),
        (Some(_), None) => vec![StateMismatch::StateGone],
        (Some(was), Some(is)) => schema_mismatches(was, is),
    }
}

fn schema_mismatches(was: &StateSchema, is: &StateSchema) -> Vec<StateMismatch> {
    let mut mismatches = Vec::new();
    if was.key != is.key {
        let (was, is) = (was.key.clone(), is.key.clone());
        mismatches.push(StateMismatch::KeyType { was, is });
    }
    for old in &was.columns {
        let column = old.name.clone();
        match is.columns.iter().find(|new| new.name == old.name) {
            None => mismatches.push(StateMismatch::ColumnGone { column }),
            Some(new) if new.kind != old.kind || new.data_type != old.data_type => {
                let was = format!("{} of {}", old.kind, old.data_type);
                let is = format!("{} of {}", new.kind, new.data_type);
                mismatches.push(StateMismatch::ColumnType { column, was, is });
            }
            Some(_) => {}
        }
    }
    mismatches
}

/// Plans a whole attempt. `placement` holds the worker of each subtask index, so that the same
/// index of all chains shares a worker. Cost: subtasks times files of the manifest.
///
/// # Errors
/// As [`check_restore`].
pub fn plan_restore(
    plan: &JobPlan,
    manifest: Option<&Manifest>,
    attempt: Attempt,
    placement: &[WorkerId],
) -> Result<Deployment, RestoreError> {
    let max = plan.max_parallelism;
    // A placement is as long as the parallelism it was made for; its length is never zero.
    let count = u32::try_from(placement.len()).unwrap_or(u32::MAX);
    let parallelism = Parallelism::new(count.clamp(1, Parallelism::MAX))
        .expect("the count was clamped into its bounds");
    check_restore(plan, manifest, parallelism)?;
    let mut subtasks = Vec::new();
    for chain in &plan.chains {
        for (index, worker) in (0..).map(SubtaskIndex).zip(placement) {
            let restores = chain.operators.iter();
            let restores = restores.filter(|operator| operator.kind != OperatorKind::Stateless);
            let restore = |operator| {
                Target {
                    index,
                    parallelism,
                    max,
                }
                .restore(operator, manifest)
            };
            subtasks.push(SubtaskDeployment {
                subtask: SubtaskId {
                    chain: chain.id,
                    index,
                },
                worker: *worker,
                operators: restores.map(restore).collect(),
            });
        }
    }
    subtasks.sort_by_key(|subtask| subtask.subtask);
    Ok(Deployment {
        attempt,
        parallelism,
        restored: manifest.map(|manifest| manifest.checkpoint),
        is_final: manifest.is_some_and(|manifest| manifest.is_final),
        subtasks,
    })
}

/// One subtask of the new attempt.
#[derive(Debug, Clone, Copy)]
struct Target {
    index: SubtaskIndex,
    parallelism: Parallelism,
    max: MaxParallelism,
}

impl Target {
    fn restore(self, plan: &OperatorPlan, manifest: Option<&Manifest>) -> OperatorRestore {
        let mut states = manifest
            .into_iter()
            .flat_map(|manifest| &manifest.operators);
        let state = states.find(|state| state.operator == plan.id);
        let is_keyed = plan.state.is_some();
        let key_groups = if is_keyed {
            self.key_groups()
        } else {
            KeyGroupRange { start: 0, end: 0 }
        };
        let mut restore = OperatorRestore {
            operator: plan.id.clone(),
            key_groups,
            files: Vec::new(),
            items: Vec::new(),
            watermark_ms: state.and_then(least_watermark),
        };
        let Some(state) = state else {
            return restore;
        };
        let items = state.subtasks.iter().flat_map(|subtask| &subtask.items);
        restore.items = match plan.kind {
            OperatorKind::Source => items.cloned().collect(),
            OperatorKind::Sink if planted!(NoCommitOnRecovery) => Vec::new(),
            OperatorKind::Keyed | OperatorKind::Sink | OperatorKind::Stateless => {
                let (step, skip) = (self.parallelism.get() as usize, self.index.0 as usize);
                items.skip(skip).step_by(step).cloned().collect()
            }
        };
        for subtask in &state.subtasks {
            for file in &subtask.files {
                // Narrowed to what the old subtask owned: a file shared after an earlier rescale is
                // named by several subtasks, and each may vouch for its own key groups only.
                let owned = file.key_groups.intersect(subtask.key_groups);
                if let Some(taken) = owned.and_then(|owned| owned.intersect(key_groups)) {
                    let mut file = file.clone();
                    if !planted!(NoNarrowingOnRestore) {
                        file.key_groups = taken;
                    }
                    restore.files.push(file);
                }
            }
        }
        restore
    }

    fn key_groups(self) -> KeyGroupRange {
        if planted!(WrongRangeOnRescale) {
            let bound = |index: u32| (index * self.max.get() / self.parallelism.get()) as u16;
            let (start, end) = (bound(self.index.0), bound(self.index.0 + 1));
            return KeyGroupRange { start, end };
        }
        KeyGroupRange::of_subtask(self.max, self.parallelism, self.index)
    }
}

/// Over all old subtasks; `None` if one of them has none.
fn least_watermark(state: &OperatorState) -> Option<i64> {
    let watermarks: Option<Vec<i64>> = state
        .subtasks
        .iter()
        .map(|subtask| subtask.watermark_ms)
        .collect();
    watermarks?.into_iter().min()
}

#[cfg(test)]
mod tests;
