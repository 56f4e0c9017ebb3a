//! What users ask of a running job, from the job API and from signals.

use tidegate_protocol::{CheckpointId, Parallelism, StopMode};
use tokio::sync::{mpsc, oneshot};

use crate::model::{Phase, SettingsChange};

/// Commands that wait for the driver; one more is refused.
const COMMAND_BACKLOG: usize = 16;

/// Something asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Take a savepoint.
    Savepoint {
        /// The name that it is to have.
        name: Option<String>,
    },
    /// Stop.
    Stop {
        /// What is taken first.
        mode: StopMode,
    },
    /// Go on at another parallelism.
    Rescale {
        /// The new one.
        parallelism: Parallelism,
    },
    /// Go on, if the job is held.
    Start,
    /// Take over other settings, and tell them in the status.
    Reconfigure(SettingsChange),
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
    pub(crate) reply: Reply,
}

/// What something came to: the checkpoint that it led to, if any.
pub(crate) type Answer = Result<Option<CheckpointId>, CommandError>;
/// Who asked for something, and is told what it came to.
pub(crate) type Reply = oneshot::Sender<Answer>;

impl JobCommand {
    pub(crate) fn answer(self, answer: Answer) {
        // The asker may have gone meanwhile.
        let _ = self.reply.send(answer);
    }
}

/// Why a command came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// The job is over.
    #[error("the job is over")]
    Over,
    /// The job does not run yet.
    #[error("the job is {phase:?} and does not run yet; try again when it does")]
    NotRunning {
        /// What it does instead.
        phase: Phase,
    },
    /// The job cannot be let go, since it is not held.
    #[error(
        "the job, {phase:?}, does not wait to be let go: it was let go already, or does not hold \
         yet; try again when it holds"
    )]
    NotHolding {
        /// What it does instead.
        phase: Phase,
    },
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
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        let (reply, answer) = oneshot::channel();
        let sent = self.sender.try_send(JobCommand { ask, reply });
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CommandError::Busy,
            mpsc::error::TrySendError::Closed(_) => CommandError::Over,
        })?;
        answer.await.map_err(|_| CommandError::Over)?
    }
}
