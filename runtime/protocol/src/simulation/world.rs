//! The world of one run: its queue of happenings, its processes, its clock.

use std::collections::BTreeMap;

use super::collector::Collector;
use super::faults::Faults;
use super::input::Input;
use super::oracle::Oracle;
use super::process::Process;
use super::random::Random;
use super::store::Store;
use super::task::Frozen;
use crate::{
    Attempt, CheckpointId, Entry, Event, JobPlan, LogNumber, MaxParallelism, StartFrom, ToWorker,
    WorkerId,
};

/// Steps of work that a run with faults lasts for, about.
const FAULTY_STEPS: i64 = 320;
/// How much longer than that everything may take to come to its end, in steps.
const QUIET_STEPS: i64 = 1_500;
/// Waits that do not shrink with a run's scale: log retries, cancellations, clocks set back.
const FIXED_WAITS_MS: i64 = 7_200_000;
/// Happenings after which a run is taken to go round in circles.
const MAX_HAPPENINGS: u32 = 60_000;

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// An event reaches a coordinator; ticks carry the timer's generation.
    Tell {
        process: u32,
        event: Event,
        timer: Option<u64>,
    },
    /// A message reaches a worker.
    Work {
        process: u32,
        worker: WorkerId,
        message: ToWorker,
    },
    /// A worker has read the state of its subtasks.
    Restored {
        process: u32,
        worker: WorkerId,
        attempt: Attempt,
    },
    /// A worker's sinks commit.
    Commit {
        process: u32,
        worker: WorkerId,
        attempt: Attempt,
        checkpoint: CheckpointId,
    },
    /// The tasks of a process do some work.
    Step { process: u32 },
    /// A snapshot becomes durable.
    Upload {
        process: u32,
        worker: WorkerId,
        attempt: Attempt,
        frozen: Box<Frozen>,
        fails: bool,
    },
    /// A worker joins.
    Join { process: u32 },
    /// A put reaches the log; `reply` says whose request it answers.
    Put {
        entry: Box<Entry>,
        reply: Option<(u32, u64)>,
    },
    /// A listing reaches the log.
    List { process: u32, request: u64 },
    /// A read reaches the log.
    Read {
        process: u32,
        request: u64,
        number: LogNumber,
    },
    /// A collection goes on.
    Collect(Box<Collector>),
    /// Dead processes are replaced.
    Supervise,
    /// A person may give a command.
    User,
    /// The job whose checkpoint this one was started from commits what it holds.
    OtherJobCommits,
    /// From here on nothing new goes wrong.
    Calm,
}

/// One run.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) now_ms: i64,
    pub(super) faults: Faults,
    /// The length of a step of work: milliseconds in some runs, minutes in others.
    pub(super) scale_ms: i64,
    pub(super) is_calm: bool,
    pub(super) is_finished: bool,
    pub(super) input: Input,
    pub(super) plan: JobPlan,
    pub(super) store: Store,
    pub(super) oracle: Oracle,
    pub(super) processes: BTreeMap<u32, Process>,
    /// What every process is told to start from; the log must know that it is asked for once.
    pub(super) start_from: StartFrom,
    pub(super) next_process: u32,
    pub(super) next_request: u64,
    queue: BTreeMap<(i64, u64), Happening>,
    sequence: u64,
    trace: Option<Vec<String>>,
}

/// What a run explored.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Explored {
    pub(super) happenings: u64,
    pub(super) attempts: u64,
    pub(super) checkpoints: u64,
    pub(super) virtual_ms: i64,
}

impl Explored {
    pub(super) fn add(&mut self, other: Self) {
        self.happenings += other.happenings;
        self.attempts += other.attempts;
        self.checkpoints += other.checkpoints;
        self.virtual_ms += other.virtual_ms;
    }
}

impl World {
    pub(super) fn new(seed: u64, is_traced: bool) -> Self {
        let mut random = Random::new(seed);
        let faults = Faults::draw(&mut random);
        let input = Input {
            split_count: random.between(1, 4) as u16,
            record_count: random.between(8, 30) as u16,
            max_parallelism: MaxParallelism::new(random.between(4, 9) as u32).unwrap(),
        };
        let plan = super::plan(input.max_parallelism);
        let mut world = Self {
            scale_ms: 1 << random.between(2, 16),
            random,
            now_ms: 1_764_000_000_000,
            faults,
            is_calm: false,
            is_finished: false,
            store: Store::new(&input),
            input,
            plan,
            oracle: Oracle::default(),
            processes: BTreeMap::new(),
            start_from: StartFrom::Latest,
            next_process: 1,
            next_request: 1,
            queue: BTreeMap::new(),
            sequence: 0,
            trace: is_traced.then(Vec::new),
        };
        world.draw_beginning();
        world.after(0, Happening::Supervise);
        world.after(world.scale_ms, Happening::User);
        world.after(FAULTY_STEPS * world.scale_ms, Happening::Calm);
        world
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first broken invariant.
    pub(super) fn run(&mut self) -> Result<Explored, String> {
        let start_ms = self.now_ms;
        let limit_ms = start_ms + (FAULTY_STEPS + QUIET_STEPS) * self.scale_ms + FIXED_WAITS_MS;
        let mut happenings = 0;
        while let Some(((at_ms, _), happening)) = self.queue.pop_first() {
            self.now_ms = at_ms;
            happenings += 1;
            if at_ms > limit_ms || happenings > MAX_HAPPENINGS {
                return Err(self.stuck(happenings));
            }
            if self.trace.is_some() {
                self.note(format!("{happening:?}"));
            }
            self.happen(happening)?;
        }
        if !self.is_finished {
            return Err(self.stuck(happenings));
        }
        self.oracle.check_end(&self.store, &self.input)?;
        Ok(Explored {
            happenings: u64::from(happenings),
            attempts: self.oracle.fence_count,
            checkpoints: self.oracle.checkpoint_count,
            virtual_ms: self.now_ms - start_ms,
        })
    }

    fn stuck(&self, happenings: u32) -> String {
        format!(
            "the job does not end: finished {}, after {happenings} happenings, scale {} ms, \
             processes {:#?}",
            self.is_finished,
            self.scale_ms,
            self.processes.keys().collect::<Vec<_>>(),
        )
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Tell {
                process,
                event,
                timer,
            } => self.tell(process, event, timer),
            Happening::Work {
                process,
                worker,
                message,
            } => self.work(process, worker, message),
            Happening::Restored {
                process,
                worker,
                attempt,
            } => self.restored(process, worker, attempt),
            Happening::Commit {
                process,
                worker,
                attempt,
                checkpoint,
            } => self.commit(process, worker, attempt, checkpoint),
            Happening::Step { process } => {
                self.step(process);
                Ok(())
            }
            Happening::Upload {
                process,
                worker,
                attempt,
                frozen,
                fails,
            } => {
                self.uploaded((process, worker, attempt), *frozen, fails);
                Ok(())
            }
            Happening::Join { process } => {
                self.join(process);
                Ok(())
            }
            Happening::Put { entry, reply } => self.put(&entry, reply),
            Happening::List { process, request } => {
                self.list(process, request);
                Ok(())
            }
            Happening::Read {
                process,
                request,
                number,
            } => {
                self.read(process, request, number);
                Ok(())
            }
            Happening::Collect(collector) => self.collect(*collector),
            Happening::Supervise => {
                self.supervise();
                Ok(())
            }
            Happening::User => {
                self.user();
                Ok(())
            }
            Happening::OtherJobCommits => self.other_job_commits(),
            Happening::Calm => {
                self.is_calm = true;
                self.faults = Faults::default();
                Ok(())
            }
        }
    }

    pub(super) fn after(&mut self, wait_ms: i64, happening: Happening) {
        self.at(self.now_ms + wait_ms, happening);
    }

    pub(super) fn at(&mut self, at_ms: i64, happening: Happening) {
        self.sequence += 1;
        self.queue
            .insert((at_ms.max(self.now_ms), self.sequence), happening);
    }

    /// A short wait: the network, a thread, a disk.
    pub(super) fn moment(&mut self) -> i64 {
        self.random.between(0, self.scale_ms)
    }

    /// A long one, up to most of the run with faults.
    pub(super) fn long_while(&mut self) -> i64 {
        self.random.spread(2 * self.scale_ms, 120 * self.scale_ms)
    }

    pub(super) fn note(&mut self, line: String) {
        let now_ms = self.now_ms - 1_764_000_000_000;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now_ms:>9} {line}"));
        }
    }

    pub(super) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }
}
