//! What is to be done about a job's Checkpoint objects.

use tidegate_api::checkpoint::{Access, Checkpoint, CheckpointStatus};

use crate::plan::{Ask, ChildName, LookAgain};

/// What is to be done, each list in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointsPlan {
    /// Changes that somebody waits for; written at once.
    pub answers: Vec<Change>,
    /// Changes that only mirror the log, the most useful first; written as the budget allows, and
    /// found again next time if it does not.
    pub mirror: Vec<Change>,
    /// What to ask of the job's process, with the unique id of the object that it is for.
    pub asks: Vec<(String, Ask)>,
    /// Clean-up pods to create.
    pub cleanups: Vec<CleanupOrder>,
    /// Clean-up pods that are done with.
    pub delete: Vec<ChildName>,
    /// What happened to an object, told once, after its change was written.
    pub told: Vec<Told>,
    /// When to look again if nothing changes before.
    pub look_again: LookAgain,
}

/// A change of one Checkpoint object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Create it, with status and finalizer; one that is there already stays as it is.
    Create(Box<Checkpoint>),
    /// Set its status and, as soon as there are files, its finalizer.
    Record {
        /// Its name.
        name: String,
        /// Its unique id: another object of that name stays.
        uid: String,
        /// Whether it must carry the finalizer.
        guard: bool,
        /// Its whole status.
        status: Box<CheckpointStatus>,
    },
    /// Take the finalizer off: nothing is left to remove.
    Free {
        /// Its name.
        name: String,
        /// Its unique id.
        uid: String,
    },
    /// Take the finalizer off and delete it: its checkpoint is gone.
    Drop {
        /// Its name.
        name: String,
        /// Its unique id.
        uid: String,
    },
}

/// A pod to create that removes the files of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupOrder {
    /// The Checkpoint object.
    pub checkpoint: String,
    /// Its unique id; it owns the pod.
    pub uid: String,
    /// The pod's name.
    pub pod: String,
    /// The job's name.
    pub job: String,
    /// The job's folder.
    pub folder: String,
    /// The checkpoint's number.
    pub id: i64,
    /// With what the folder is reached.
    pub access: Access,
}

/// An event about a Checkpoint object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The object.
    pub checkpoint: String,
    /// Its unique id.
    pub uid: String,
    /// The event.
    pub note: crate::plan::EventNote,
}

impl Default for CheckpointsPlan {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            mirror: Vec::new(),
            asks: Vec::new(),
            cleanups: Vec::new(),
            delete: Vec::new(),
            told: Vec::new(),
            look_again: LookAgain::Later,
        }
    }
}

impl CheckpointsPlan {
    /// Whether anything is under way.
    pub(super) fn is_busy(&self) -> bool {
        !(self.answers.is_empty()
            && self.asks.is_empty()
            && self.cleanups.is_empty()
            && self.delete.is_empty())
            || self.look_again == LookAgain::Soon
    }
}

impl Change {
    pub(super) fn drop(object: &Checkpoint) -> Self {
        let (name, uid) = identity(object);
        Self::Drop { name, uid }
    }

    pub(super) fn free(object: &Checkpoint) -> Self {
        let (name, uid) = identity(object);
        Self::Free { name, uid }
    }

    pub(super) fn record(object: &Checkpoint, guard: bool, status: CheckpointStatus) -> Self {
        let (name, uid) = identity(object);
        let status = Box::new(status);
        Self::Record {
            name,
            uid,
            guard,
            status,
        }
    }
}

/// An object's name and unique id; the server gives both to every object that it serves.
pub(super) fn identity(object: &Checkpoint) -> (String, String) {
    let metadata = &object.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    (name, metadata.uid.clone().unwrap_or_default())
}
