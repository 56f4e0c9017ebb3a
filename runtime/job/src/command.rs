//! What users ask of a running job, from the job API and from signals.

use tidegate_protocol::{CheckpointId, Parallelism};
use tokio::sync::{mpsc, oneshot};

/// Commands that wait for the driver; one more is refused.
const COMMAND_BACKLOG: usize = 16;

/// Something asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Take a savepoint.
    Savepoint,
    /// Stop, with a savepoint unless immediately.
    Stop {
        /// Without a savepoint.
        is_immediate: bool,
    },
    /// Go on at another parallelism.
    Rescale {
        /// The new one.
        parallelism: Parallelism,
    },
    /// Release a retained checkpoint or savepoint.
    Release {
        /// Which one.
        checkpoint: CheckpointId,
    },
}

/// Something asked for, and where the answer goes.
#[derive(Debug)]
pub(crate) struct JobCommand {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Result<Option<CheckpointId>, String>>,
}

/// Why a command came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// The job is over.
    #[error("the job is over")]
    Over,
    /// Too many commands wait.
    #[error("{COMMAND_BACKLOG} commands wait already; try again later")]
    Busy,
    /// The job said no.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// Sends commands to the driver. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    sender: mpsc::Sender<JobCommand>,
}

impl Commands {
    /// A sender and the driver's end.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<JobCommand>) {
        let (sender, receiver) = mpsc::channel(COMMAND_BACKLOG);
        (Self { sender }, receiver)
    }

    /// Asks, and waits for what it comes to: the checkpoint that it led to, if any.
    ///
    /// # Errors
    /// The job is over, too many wait, or the job refuses.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Option<CheckpointId>, CommandError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.sender.try_send(JobCommand { ask, reply });
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CommandError::Busy,
            mpsc::error::TrySendError::Closed(_) => CommandError::Over,
        })?;
        let answer = answer.await.map_err(|_| CommandError::Over)?;
        answer.map_err(|reason| CommandError::Refused { reason })
    }
}
