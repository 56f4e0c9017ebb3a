//! A job that is over: its end is told, and, where the process shall stay, told again to whoever
//! asks.

use std::time::Duration;

use tidegate_protocol::{CheckpointId, JobOutcome};

use super::Life;
use crate::clock::system_ms;
use crate::command::{Answer, Ask, CommandError};
use crate::job_event::JobEvent;
use crate::model::Phase;

/// How often a process that stays shows that it is alive.
const BEAT: Duration = Duration::from_secs(1);

impl Life<'_> {
    /// Tells the end, once everything before it is told.
    pub(super) fn end(&self, outcome: &JobOutcome) {
        let view = self.status.view();
        let base = self.status.base();
        let own = |id: &Option<CheckpointId>| id.map(CheckpointId::get).or(base);
        let (phase, reason, category, checkpoint) = match outcome {
            JobOutcome::Finished { checkpoint } => (Phase::Finished, None, None, own(checkpoint)),
            JobOutcome::Stopped { savepoint } => (Phase::Stopped, None, None, own(savepoint)),
            JobOutcome::Fenced { by } => {
                let reason = format!(
                    "another process has taken this job over (log entry {by}); this one stopped \
                     and committed nothing since"
                );
                (Phase::Fenced, Some(reason), None, base)
            }
            JobOutcome::Failed { category, reason } => {
                let category = Some(category.to_string());
                (Phase::Failed, Some(reason.clone()), category, base)
            }
        };
        let duration_ms = u64::try_from(system_ms() - view.started_ms).unwrap_or(0);
        self.publish(JobEvent::Ended {
            phase,
            reason,
            category,
            checkpoint,
            results: view.results,
            progress: view.progress,
            duration_ms,
        });
    }

    /// Answers until the process is told to end.
    pub(super) async fn linger(&mut self, outcome: &JobOutcome) {
        let mut beat = tokio::time::interval(BEAT);
        let mut interrupts = self.interrupts.clone();
        loop {
            tokio::select! {
                () = interrupts.reach(1) => return,
                Some(command) = self.commands.recv() => {
                    let answer = self.answer_over(&command.ask, outcome);
                    command.answer(answer);
                }
                _ = beat.tick() => self.status.set_alive(system_ms()),
            }
        }
    }

    /// Who asks for a stop once more is told what the first one came to.
    fn answer_over(&self, ask: &Ask, outcome: &JobOutcome) -> Answer {
        let base = || self.status.base().and_then(|id| CheckpointId::new(id).ok());
        match (ask, outcome) {
            (Ask::Reconfigure(change), _) => {
                self.status
                    .change_settings(|settings| change.apply(settings));
                Ok(None)
            }
            (Ask::Stop { .. }, JobOutcome::Stopped { savepoint: id })
            | (Ask::Stop { .. }, JobOutcome::Finished { checkpoint: id }) => Ok(id.or_else(base)),
            _ => Err(CommandError::Over),
        }
    }
}
