//! Who starts processes, and what people ask of them.

use super::process::MAX_PARALLELISM_USED;
use super::world::{Happening, World};
use crate::{Command, Event, Parallelism, StopMode};

/// Processes at once, tools not counted.
const MAX_PROCESSES: usize = 3;
/// The start generation of a process that belongs to an older revision of the job.
pub(super) const OLD_START: u64 = 1;
/// The start generation of all other processes.
pub(super) const START: u64 = 2;
/// What a tool has for one.
const NO_START: u64 = 0;

impl World {
    /// Replaces dead processes, and starts a rival beside a living one now and then.
    pub(super) fn supervise(&mut self) {
        if self.is_finished {
            return;
        }
        let living = self.processes.len();
        if living == 0 || (living < MAX_PROCESSES && self.random.chance(self.faults.rival)) {
            // An older revision may come back any time, but must get nowhere.
            let is_known = self.store.highest().map(|entry| entry.start_generation) == Some(START);
            let is_old = is_known && living > 0 && self.random.below(4) == 0;
            self.start_process(if is_old { OLD_START } else { START });
        }
        if self.random.chance(self.faults.tool) {
            self.start_tool();
        }
        let wait_ms = self.random.between(1, 6) * self.scale_ms;
        self.after(wait_ms, Happening::Supervise);
    }

    /// A process without workers, that releases a checkpoint and stops.
    fn start_tool(&mut self) {
        let id = self.add_process(NO_START);
        let release = self.release_command();
        let stop = Command::Stop {
            request: self.next_request(),
            mode: StopMode::Immediate,
        };
        let mut wait_ms = 0;
        for command in release.into_iter().chain([stop]) {
            wait_ms += 5 * self.scale_ms + self.moment();
            self.tell_after(wait_ms, id, Event::Command(command));
        }
    }

    fn next_request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    fn release_command(&mut self) -> Option<Command> {
        let reported = self.oracle.reported();
        if reported.is_empty() {
            return None;
        }
        let checkpoint = reported[self.random.index(reported.len())];
        self.oracle.release(checkpoint);
        Some(Command::Release {
            request: self.next_request(),
            checkpoint,
        })
    }

    /// Somebody gives a command to some process.
    pub(super) fn user(&mut self) {
        if self.is_calm || self.is_finished {
            return;
        }
        let wait_ms = self.random.between(3, 12) * self.scale_ms;
        self.after(wait_ms, Happening::User);
        if self.processes.is_empty() || !self.random.chance(self.faults.user) {
            return;
        }
        let choice = self.random.index(self.processes.len());
        let process = self.processes.keys().nth(choice).copied();
        let request = self.next_request();
        let parallelism = self.random.between(1, MAX_PARALLELISM_USED) as u32;
        let command = match self.random.below(12) {
            0..3 => Some(Command::Savepoint {
                request,
                name: (parallelism < 3).then(|| format!("named-{}", self.random.below(3))),
            }),
            3..6 => Some(Command::Rescale {
                request,
                parallelism: Parallelism::new(parallelism).unwrap(),
            }),
            6..9 => self.release_command(),
            9..11 => Some(Command::Reconfigure {
                checkpoint_interval_ms: Some(self.scale_ms as u64 * u64::from(parallelism) * 3),
                retained_checkpoints: parallelism,
            }),
            _ => Some(Command::Stop {
                request,
                mode: match self.random.below(3) {
                    0 => StopMode::Immediate,
                    1 => StopMode::Savepoint,
                    _ => StopMode::Checkpoint,
                },
            }),
        };
        if let (Some(process), Some(command)) = (process, command) {
            self.tell_after(0, process, Event::Command(command));
        }
    }
}
