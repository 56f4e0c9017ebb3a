//! Waiting while nothing runs: commands and interrupts are answered meanwhile, and the process
//! shows that it is alive.

use std::future::Future;
use std::time::Duration;

use super::Life;
use crate::clock::system_ms;
use crate::command::{Ask, CommandError, JobCommand};
use crate::error::Exit;
use crate::signals::exit_at_once;

/// How often a process that waits shows that it is alive.
const BEAT: Duration = Duration::from_secs(1);

/// What ended the wait.
pub(super) enum Waited<T> {
    /// What was waited for.
    Done(T),
    /// The job was let go.
    Released,
    /// The job was told to stop.
    Stopped,
}

impl Life<'_> {
    /// Waits for `until`, or until somebody stops the job or, if `is_held`, lets it go.
    pub(super) async fn wait<T>(
        &mut self,
        until: impl Future<Output = T>,
        is_held: bool,
    ) -> Waited<T> {
        tokio::pin!(until);
        let mut beat = tokio::time::interval(BEAT);
        let mut interrupts = self.interrupts.clone();
        loop {
            tokio::select! {
                done = &mut until => return Waited::Done(done),
                Some(command) = self.commands.recv() => {
                    if let Some(waited) = self.answer(command, is_held) {
                        return waited;
                    }
                }
                () = interrupts.reach(1) => {
                    if !self.config.linger {
                        exit_at_once(&self.screen, Exit::Interrupted).await;
                    }
                    return Waited::Stopped;
                }
                _ = beat.tick() => self.status.set_alive(system_ms()),
            }
        }
    }

    /// Answers a command to a job that does not run; some end the wait.
    fn answer<T>(&mut self, command: JobCommand, is_held: bool) -> Option<Waited<T>> {
        let phase = self.status.view().phase;
        match &command.ask {
            Ask::Start if is_held => {
                let restored = phase.restored_checkpoint;
                let restored =
                    restored.and_then(|id| tidegate_protocol::CheckpointId::new(id).ok());
                command.answer(Ok(restored));
                Some(Waited::Released)
            }
            Ask::Start => {
                let phase = phase.phase;
                command.answer(Err(CommandError::NotHolding { phase }));
                None
            }
            Ask::Stop { .. } => {
                command.answer(Ok(None));
                Some(Waited::Stopped)
            }
            Ask::Rescale { parallelism } => {
                self.parallelism = *parallelism;
                self.status.set_parallelism(parallelism.get());
                command.answer(Ok(None));
                None
            }
            // The settings are taken from the status when the job begins.
            Ask::Reconfigure(change) => {
                self.status
                    .change_settings(|settings| change.apply(settings));
                command.answer(Ok(None));
                None
            }
            Ask::Savepoint { .. } | Ask::Release { .. } => {
                let phase = phase.phase;
                command.answer(Err(CommandError::NotRunning { phase }));
                None
            }
        }
    }
}
