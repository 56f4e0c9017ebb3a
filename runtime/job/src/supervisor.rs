//! The first process of a container: starts the job process, starts it again in place when it
//! dies, and says at the end what happened.
//!
//! ```text
//! kubelet ── SIGTERM ─▶ supervisor ── SIGTERM ─▶ job process (the same program, as a child)
//!                           │  ◀── "running", "tested …" ── socket on its standard input
//!                           │  ◀── its last lines ───────── pipe from its standard error
//!                           └─▶ termination message, exit code
//! ```
//! No async runtime, no state: kubelet takes 1 to 3 s to start a container again, this takes
//! milliseconds. A process that keeps dying ends the supervisor too, so that Kubernetes sees it.

mod budget;
mod child;
mod last_lines;
mod memory;
mod message;

use std::env;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitOptions, kill_process, wait};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tidegate_api::pod::SUPERVISE_ENV;

use crate::error::Exit;
use budget::CrashBudget;
use child::{Child, Ended, Handover};

/// Something that the supervisor learns.
#[derive(Debug)]
enum Event {
    /// A signal came.
    Signal(i32),
    /// The job of the child with this number runs.
    Running(u32),
    /// The store of this URL is tested.
    Tested(String),
    /// The job has this start generation, for as long as the supervisor lives.
    Starts(u64),
}

/// Whether this process shall supervise.
pub(crate) fn is_asked_for() -> bool {
    env::var_os(SUPERVISE_ENV).is_some_and(|value| value == "1")
}

/// Runs this very program as a child until it ends for good.
pub(crate) fn supervise() -> u8 {
    let code = Supervisor::start().and_then(Supervisor::run);
    code.unwrap_or_else(|error| {
        say(&format!("error: cannot supervise the job process: {error}"));
        Exit::Failed as u8
    })
}

struct Supervisor {
    events: Receiver<Event>,
    sender: Sender<Event>,
    budget: CrashBudget,
    handover: Handover,
    is_terminating: bool,
}

impl Supervisor {
    fn start() -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGCHLD])?;
        let (sender, events) = mpsc::channel();
        let forward = sender.clone();
        thread::Builder::new()
            .name("tidegate-signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    if forward.send(Event::Signal(signal)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            events,
            sender,
            budget: CrashBudget::default(),
            handover: Handover::default(),
            is_terminating: false,
        })
    }

    fn run(mut self) -> io::Result<u8> {
        loop {
            let kill_count = memory::kill_count();
            let child = Child::spawn(&self.handover, self.sender.clone())?;
            let ended = self.attend(&child);
            let mut ended = child.finish(ended);
            if memory::kill_count() > kill_count {
                ended.blame_memory_limit(memory::limit());
            }
            if self.is_terminating {
                return Ok(self.leave(&ended, ended.code_after_termination()));
            }
            if ended.is_final() {
                return Ok(self.leave(&ended, ended.code()));
            }
            let Some(wait) = self.budget.take(Instant::now()) else {
                return Ok(self.leave(&ended, ended.code()));
            };
            say(&format!(
                "the job process {}; it is started again",
                ended.view.description
            ));
            self.handover.next(ended.view);
            if self.pause(wait) {
                return Ok(Exit::Done as u8);
            }
        }
    }

    /// Passes signals on and reaps, until the child has ended.
    fn attend(&mut self, child: &Child) -> Ended {
        loop {
            match self.events.recv() {
                Ok(Event::Signal(SIGCHLD)) => {
                    if let Some(ended) = reap(child) {
                        return ended;
                    }
                }
                Ok(Event::Signal(signal)) => self.terminate(signal, child),
                Ok(said) => self.note(said),
                // This process holds a sender itself.
                Err(_) => return Ended::unknown(),
            }
        }
    }

    /// Keeps what a child says for the children after it.
    fn note(&mut self, said: Event) {
        match said {
            Event::Running(number) if number == self.handover.restart_count => {
                self.budget.runs(Instant::now());
            }
            Event::Tested(url) => self.handover.tested = Some(url),
            Event::Starts(generation) => self.handover.start_generation = Some(generation),
            Event::Running(_) | Event::Signal(_) => {}
        }
    }

    fn terminate(&mut self, signal: i32, child: &Child) {
        self.is_terminating = true;
        let signal = if signal == SIGINT {
            Signal::INT
        } else {
            Signal::TERM
        };
        // It may have ended meanwhile.
        let _ = kill_process(child.id, signal);
    }

    /// Waits before the next start, and takes what the last child has said; `true` if told to end
    /// meanwhile.
    fn pause(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Signal(SIGTERM | SIGINT)) => return true,
                Ok(Event::Signal(_)) => while wait_any().is_some() {},
                Ok(said) => self.note(said),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// The last words of this container, where it did not end well.
    fn leave(&self, ended: &Ended, code: u8) -> u8 {
        if code != 0 {
            message::write(&ended.view, self.budget.crash_count());
        }
        code
    }
}

/// Reaps whatever has ended, orphans included; gives the child's end if it is among them.
fn reap(child: &Child) -> Option<Ended> {
    let mut found = None;
    while let Some((id, status)) = wait_any() {
        if id == child.id {
            found = Some(Ended::of(status));
        }
    }
    found
}

fn wait_any() -> Option<(rustix::process::Pid, rustix::process::WaitStatus)> {
    // An error says that there is no child at all.
    wait(WaitOptions::NOHANG).ok().flatten()
}

fn say(text: &str) {
    // There is nobody to tell that standard error is gone.
    let _ = writeln!(io::stderr(), "{text}");
}
