//! From the snapshots of all subtasks to a manifest. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::Pending;
use super::planted::planted;
use super::running::Running;
use crate::{
    JobPlan, Manifest, OperatorKind, OperatorSnapshot, OperatorState, Parallelism, StateFile,
    SubtaskIndex, SubtaskState,
};

impl Running {
    /// The manifest of the checkpoint in flight, all of whose snapshots are there.
    pub(super) fn assemble(&self, plan: &JobPlan, now_ms: i64) -> Result<Manifest, String> {
        let (Some(pending), Some(parallelism)) = (&self.pending, self.parallelism) else {
            return Err("no checkpoint is in flight".to_owned());
        };
        let assembly = Assembly {
            plan,
            pending,
            parallelism,
            base_files: self.log.base_files(),
            folder: StateFile::checkpoint_folder(self.attempt, pending.id),
        };
        Ok(Manifest {
            checkpoint: pending.id,
            kind: pending.kind,
            name: pending.name.clone(),
            attempt: self.attempt,
            triggered_ms: pending.triggered_ms,
            completed_ms: now_ms,
            parallelism,
            max_parallelism: plan.max_parallelism,
            plan_fingerprint: plan.fingerprint(),
            is_final: pending.is_final,
            operators: assembly.operators()?,
        })
    }
}

/// Snapshots on their way into a manifest, each checked against the plan.
struct Assembly<'a> {
    plan: &'a JobPlan,
    pending: &'a Pending,
    parallelism: Parallelism,
    base_files: BTreeSet<&'a str>,
    folder: String,
}

impl Assembly<'_> {
    fn operators(&self) -> Result<Vec<OperatorState>, String> {
        let mut subtasks = BTreeMap::new();
        for (subtask, snapshot) in &self.pending.snapshots {
            for operator in &snapshot.operators {
                let key = (subtask.chain, &operator.operator, subtask.index);
                subtasks.insert(key, operator);
            }
        }
        let mut states = Vec::new();
        for chain in &self.plan.chains {
            let kept = chain.operators.iter();
            for plan in kept.filter(|plan| plan.kind != OperatorKind::Stateless) {
                let mut state = OperatorState {
                    operator: plan.id.clone(),
                    name: plan.name.clone(),
                    schema: plan.state.clone(),
                    subtasks: Vec::new(),
                };
                for index in (0..self.parallelism.get()).map(SubtaskIndex) {
                    match subtasks.get(&(chain.id, &plan.id, index)) {
                        Some(snapshot) => state.subtasks.push(self.subtask(index, snapshot)?),
                        None if planted!(CompleteWithMissingSnapshot) => {}
                        None => {
                            return Err(format!(
                                "subtask {}/{} acknowledged without operator `{}`",
                                chain.id.0, index.0, plan.id
                            ));
                        }
                    }
                }
                states.push(state);
            }
        }
        Ok(states)
    }

    fn subtask(
        &self,
        subtask: SubtaskIndex,
        snapshot: &OperatorSnapshot,
    ) -> Result<SubtaskState, String> {
        let mut files = snapshot.files.clone();
        for file in &mut files {
            // A file of a checkpoint that neither counts nor is this one may be collected any time.
            if !file.path.starts_with(&self.folder) && !self.base_files.contains(file.path.as_str())
            {
                return Err(format!(
                    "subtask {} of operator `{}` refers to file `{}`, which belongs neither to \
                     this checkpoint nor to the one before it",
                    subtask.0, snapshot.operator, file.path
                ));
            }
            // Each subtask vouches for its own key groups only, though a file may be shared.
            if let Some(owned) = file.key_groups.intersect(snapshot.key_groups)
                && !planted!(NoNarrowingOnRestore)
            {
                file.key_groups = owned;
            }
        }
        Ok(SubtaskState {
            subtask,
            key_groups: snapshot.key_groups,
            files,
            items: snapshot.items.clone(),
            watermark_ms: snapshot.watermark_ms,
        })
    }
}
