//! Events as sentences for people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::number::{count, duration, size};
use super::screen::Screen;
use crate::clock::system_ms;
use crate::job_event::JobEvent;
use crate::model::{
    CheckpointKindView, CheckpointView, FailureView, Phase, PhaseView, ProgressView, ResultView,
};

/// How often progress is printed where no line can be redrawn.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Prints for people.
pub(super) struct TextPrinter {
    screen: Arc<Screen>,
    name: String,
    phase: Phase,
    failure: String,
    progress_printed: Option<Instant>,
}

impl TextPrinter {
    pub(super) fn new(screen: Arc<Screen>) -> Self {
        Self {
            screen,
            name: String::new(),
            phase: Phase::Starting,
            failure: String::new(),
            progress_printed: None,
        }
    }

    pub(super) fn print(&mut self, event: &JobEvent) {
        match event {
            JobEvent::Started {
                namespace: _,
                name,
                folder,
                parallelism,
                address,
            } => {
                self.name.clone_from(name);
                self.say(&format!(
                    "parallelism {parallelism}, checkpoints in {folder}"
                ));
                if let Some(address) = address {
                    self.say(&format!("job API on http://{address}/v1/job"));
                }
            }
            JobEvent::Warning { message } => self.say(&format!("warning: {message}")),
            JobEvent::Notice { message } => self.say(message),
            JobEvent::PhaseChanged { phase } => self.phase_changed(phase),
            JobEvent::CheckpointCompleted { checkpoint } => self.completed(checkpoint),
            JobEvent::CheckpointFailed {
                id,
                kind,
                reason,
                failure_count,
            } => {
                let kind = kind_name(*kind);
                let row = in_a_row(*failure_count);
                self.say(&format!(
                    "{kind} {id} failed{row}, the job goes on: {reason}"
                ));
            }
            JobEvent::StoreUnavailable {
                reason,
                failure_count,
            } => {
                let row = in_a_row(*failure_count);
                self.say(&format!(
                    "the checkpoint log cannot be reached{row}: {reason}"
                ));
            }
            JobEvent::AttemptFailed { failure } => {
                self.failure.clone_from(&failure.message);
                self.say(&failed(failure));
            }
            JobEvent::Progress {
                progress,
                last_checkpoint,
                restart_count,
            } => self.progress(progress, last_checkpoint.as_ref(), *restart_count),
            JobEvent::Ended { .. } => self.ended(event),
        }
    }

    fn say(&self, text: &str) {
        self.screen.print(&format!("{}: {text}", self.name));
    }

    fn phase_changed(&mut self, now: &PhaseView) {
        self.phase = now.phase;
        match now.phase {
            Phase::Restoring => {
                let from = match now.restored_checkpoint {
                    Some(id) => format!("goes on from checkpoint {id}"),
                    None => "starts without state".to_owned(),
                };
                self.say(&from);
            }
            Phase::Blocked => {
                let reason = now.reason.as_deref().unwrap_or_default();
                self.say(&format!("cannot start: {reason}; tries again by itself"));
            }
            Phase::Holding => self.say("is ready, and waits to be let go"),
            Phase::BackingOff => {
                let wait_ms = now.restart_ms.unwrap_or(0).saturating_sub(system_ms());
                let wait = duration(u64::try_from(wait_ms).unwrap_or(0));
                let number = now.restart_count;
                let reason = now.reason.as_deref().unwrap_or_default();
                // What the worker said before is not said twice.
                if self.failure.is_empty() || !reason.contains(&self.failure) {
                    self.say(&format!("failed: {reason}"));
                }
                self.failure.clear();
                self.say(&format!(
                    "restart {number} from the last checkpoint in {wait}"
                ));
            }
            Phase::Stopping => {
                let reason = now.reason.as_deref().unwrap_or_default();
                self.say(&format!("{reason}; takes the last checkpoint"));
            }
            _ => {}
        }
    }

    fn completed(&self, checkpoint: &CheckpointView) {
        if checkpoint.kind == CheckpointKindView::Savepoint {
            let (id, size) = (checkpoint.id, size(checkpoint.size_bytes));
            let duration = duration(checkpoint.duration_ms);
            self.say(&format!("savepoint {id} is complete: {size} in {duration}"));
        }
    }

    fn progress(
        &mut self,
        progress: &ProgressView,
        last: Option<&CheckpointView>,
        restart_count: u32,
    ) {
        if self.phase != Phase::Running {
            return;
        }
        let line = progress_line(progress, last, restart_count);
        if self.screen.is_terminal() {
            self.screen.set_status(format!("{}: {line}", self.name));
            return;
        }
        let now = Instant::now();
        let is_due = |printed: Instant| now.duration_since(printed) >= PROGRESS_INTERVAL;
        // The first look has seen nothing yet.
        let printed = *self.progress_printed.get_or_insert(now);
        if is_due(printed) {
            self.progress_printed = Some(now);
            self.say(&line);
        }
    }

    fn ended(&self, event: &JobEvent) {
        let JobEvent::Ended {
            phase,
            reason,
            checkpoint,
            results,
            progress,
            duration_ms,
            ..
        } = event
        else {
            return;
        };
        if self.screen.is_terminal() {
            self.screen.set_status(String::new());
        }
        let records = count(progress.records_read);
        let time = duration(*duration_ms);
        let reason = reason.as_deref().unwrap_or_default();
        let next = match checkpoint {
            Some(id) => format!("the next run goes on from checkpoint {id}"),
            None => "the next run starts without state".to_owned(),
        };
        match phase {
            Phase::Finished => {
                let counted = counters(progress, 0);
                self.say(&format!(
                    "finished after {time}, {records} records read{counted}"
                ));
                self.results(results);
            }
            Phase::Stopped => {
                let counted = counters(progress, 0);
                self.say(&format!("stopped after {time}{counted}; {next}"));
            }
            Phase::Fenced => self.say(&format!("fenced: {reason}")),
            _ => self.say(&format!("failed: {reason}; {next}")),
        }
    }

    fn results(&self, results: &[ResultView]) {
        for ResultView { sink, location } in results {
            self.say(&format!("the result of `{sink}` is in {location}"));
        }
    }
}

fn kind_name(kind: CheckpointKindView) -> &'static str {
    match kind {
        CheckpointKindView::Checkpoint => "checkpoint",
        CheckpointKindView::Savepoint => "savepoint",
    }
}

fn in_a_row(failure_count: u32) -> String {
    match failure_count {
        0 | 1 => String::new(),
        count => format!(" ({count} in a row)"),
    }
}

fn failed(failure: &FailureView) -> String {
    let mut text = "failed".to_owned();
    if let Some(operator) = &failure.operator {
        text.push_str(&format!(" in operator `{operator}`"));
    }
    if let Some(subtask) = &failure.subtask {
        text.push_str(&format!(", subtask {subtask}"));
    }
    format!("{text}: {}", failure.message)
}

fn progress_line(
    progress: &ProgressView,
    last: Option<&CheckpointView>,
    restart_count: u32,
) -> String {
    let rate = count(progress.records_read_per_second.round() as u64);
    let mut line = format!("{rate} records/s, {} read", count(progress.records_read));
    match last {
        None => line.push_str(" | no checkpoint yet"),
        Some(last) => {
            let age_ms = system_ms().saturating_sub(last.completed_ms);
            let age = duration(u64::try_from(age_ms).unwrap_or(0));
            let (id, took) = (last.id, duration(last.duration_ms));
            let written = size(last.written_bytes);
            line.push_str(&format!(
                " | checkpoint {id}, {age} ago, {written} in {took}"
            ));
        }
    }
    let (keys, bytes) = (count(progress.state_keys), size(progress.state_bytes));
    line.push_str(&format!(" | state {keys} keys, {bytes}"));
    line + &counters(progress, restart_count)
}

/// What went another way than most records, as far as anything did.
fn counters(progress: &ProgressView, restart_count: u32) -> String {
    let mut text = String::new();
    for (what, number) in [
        ("skipped", progress.skipped_records),
        ("dead letters", progress.dead_letter_records),
        ("late", progress.late_records),
        ("restarts", u64::from(restart_count)),
    ] {
        if number > 0 {
            text.push_str(&format!(" | {what} {}", count(number)));
        }
    }
    text
}

#[cfg(test)]
mod tests;
