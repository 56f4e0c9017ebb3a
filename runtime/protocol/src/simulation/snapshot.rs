//! Barriers and snapshots: inject, freeze, send on, store, acknowledge.

use super::task::{Barrier, Body, Durable, Frozen, Item};
use super::world::{Happening, World};
use super::{Bug, is_planted};
use crate::{Attempt, FromWorker, SubtaskId, WorkerId};

impl World {
    /// A barrier enters at every source of a worker.
    pub(super) fn inject(&mut self, of: (u32, WorkerId, Attempt), barrier: Barrier) {
        let (id, worker, attempt) = of;
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let Some(dataflow) = process.dataflows.get_mut(&attempt) else {
            return;
        };
        let sources: Vec<SubtaskId> = dataflow
            .tasks
            .iter()
            .filter(|(subtask, (on, _))| subtask.chain.0 == 0 && *on == worker)
            .map(|(subtask, _)| *subtask)
            .collect();
        for subtask in sources {
            self.pass(of, subtask, barrier);
        }
        self.keep_stepping(id);
    }

    /// A task takes its snapshot and sends the barrier on.
    pub(super) fn pass(
        &mut self,
        of: (u32, WorkerId, Attempt),
        subtask: SubtaskId,
        barrier: Barrier,
    ) {
        let (id, _, attempt) = of;
        let is_source = subtask.chain.0 == 0;
        let is_late = is_source && is_planted(Bug::SourcePositionsAfterBarrier)
            || !is_source && is_planted(Bug::ForwardBarrierBeforeFreeze);
        if !is_late {
            self.freeze(of, subtask, barrier);
        }
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let Some(dataflow) = process.dataflows.get_mut(&attempt) else {
            return;
        };
        dataflow.broadcast(subtask, Item::Barrier(barrier));
        if let Some((_, task)) = dataflow.tasks.get_mut(&subtask) {
            if let Body::Source(source) = &mut task.body {
                source.has_stopped |= barrier.is_last;
            }
            if is_late {
                task.freeze_later(barrier);
            }
        }
    }

    pub(super) fn freeze(
        &mut self,
        of: (u32, WorkerId, Attempt),
        subtask: SubtaskId,
        barrier: Barrier,
    ) {
        let (process, worker, attempt) = of;
        let fails = self.random.chance(self.faults.upload_failure);
        let wait_ms = if self.random.chance(self.faults.slow_upload) {
            self.long_while()
        } else {
            self.moment()
        };
        let now_ms = self.now_ms;
        let found = self.processes.get_mut(&process);
        let found = found.and_then(|it| it.dataflows.get_mut(&attempt));
        let Some((_, task)) = found.and_then(|it| it.tasks.get_mut(&subtask)) else {
            return;
        };
        let frozen = task.freeze(attempt, barrier);
        // A task stores its snapshots one after the other.
        task.stored_ms = task.stored_ms.max(now_ms + wait_ms);
        let at_ms = task.stored_ms;
        if is_planted(Bug::AcknowledgeBeforeUpload) {
            self.acknowledge(of, &frozen);
        }
        let frozen = Box::new(frozen);
        self.at(
            at_ms,
            Happening::Upload {
                process,
                worker,
                attempt,
                frozen,
                fails,
            },
        );
    }

    fn acknowledge(&mut self, (id, worker, attempt): (u32, WorkerId, Attempt), frozen: &Frozen) {
        let message = FromWorker::Acknowledged {
            attempt,
            checkpoint: frozen.checkpoint,
            subtask: frozen.subtask,
            snapshot: Box::new(frozen.snapshot.clone()),
        };
        self.say(id, worker, message);
    }

    /// A snapshot becomes durable, or not: what was under way when a process died may do either.
    pub(super) fn uploaded(&mut self, of: (u32, WorkerId, Attempt), frozen: Frozen, fails: bool) {
        let (id, worker, attempt) = of;
        let process = self.processes.get(&id);
        let is_alive = process.is_some_and(|it| it.workers.contains_key(&worker));
        if !is_alive && self.random.below(2) == 0 {
            return;
        }
        match &frozen.durable {
            Durable::Nothing => {}
            // A sink repeats its write until it succeeds, since later snapshots name it, too.
            Durable::Transaction(name, records) => {
                self.store.transactions.insert(*name, records.clone());
            }
            Durable::File(path, rows) => {
                if !fails || self.random.below(2) == 0 {
                    self.store.files.insert(path.clone(), rows.clone());
                }
            }
        }
        if fails {
            let reason = "no space left".to_owned();
            let (checkpoint, subtask) = (frozen.checkpoint, frozen.subtask);
            let message = FromWorker::SnapshotFailed {
                attempt,
                checkpoint,
                subtask,
                reason,
            };
            self.say(id, worker, message);
        } else if !is_planted(Bug::AcknowledgeBeforeUpload) {
            self.acknowledge(of, &frozen);
        }
    }
}
