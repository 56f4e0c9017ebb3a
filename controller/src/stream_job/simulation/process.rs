//! A job process and the checkpoint log, as far as the controller can tell.

use tidegate_api::checkpoint::CheckpointKind;
use tidegate_api::job_config::{JobConfig, StartPoint};

use crate::job_api::{CheckpointView, JobCommand, JobView, Phase, SettingsView, StopMode};
use crate::stream_job::fixtures::view;

/// The log of one job.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) generation: u64,
    pub(super) attempt: u64,
    pub(super) checkpoints: Vec<CheckpointView>,
    /// How often a start point other than Latest was honoured.
    pub(super) honoured: Vec<(u64, StartPoint)>,
}

/// What a program is like, told by its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    /// Its image cannot be pulled.
    Missing,
    /// It does not fit the state.
    Incompatible,
    /// It fails soon after its start.
    Failing,
    /// It completes no checkpoints.
    Stuck,
    /// It reads a bounded input.
    Finite,
}

impl Kind {
    pub(super) fn of(image: &str) -> Self {
        match image.split(':').next().unwrap_or_default() {
            "missing" => Self::Missing,
            "incompatible" => Self::Incompatible,
            "failing" => Self::Failing,
            "stuck" => Self::Stuck,
            "finite" => Self::Finite,
            _ => Self::Good,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) config: JobConfig,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) since_ms: i64,
    pub(super) started_ms: i64,
    pub(super) attempt: Option<u64>,
    pub(super) completed: u64,
    pub(super) settings: SettingsView,
    pub(super) parallelism: u32,
    pub(super) is_let_go: bool,
    pub(super) stop: Option<StopMode>,
    /// How many checkpoints failed in a row.
    failing: u32,
    pub(super) category: Option<&'static str>,
}

impl Process {
    pub(super) fn start(config: JobConfig, kind: Kind, now_ms: i64) -> Self {
        Self {
            kind,
            phase: Phase::Starting,
            since_ms: now_ms,
            started_ms: now_ms,
            attempt: None,
            completed: 0,
            settings: SettingsView {
                checkpoint_interval_ms: config.checkpoint.interval_ms,
                retained_checkpoints: config.checkpoint.retained_count,
                log_level: config.log_level,
            },
            parallelism: config.parallelism,
            is_let_go: !config.hold,
            stop: None,
            failing: 0,
            category: None,
            config,
        }
    }

    fn enter(&mut self, phase: Phase, now_ms: i64) {
        if self.phase != phase {
            self.phase = phase;
            self.since_ms = now_ms;
        }
    }

    fn block(&mut self, category: &'static str, now_ms: i64) {
        self.category = Some(category);
        self.enter(Phase::Blocked, now_ms);
    }

    fn generation(&self) -> u64 {
        self.config.start_generation.unwrap_or_default()
    }

    pub(super) fn is_over(&self) -> bool {
        use Phase::{Failed, Fenced, Finished, Stopped};
        matches!(self.phase, Finished | Stopped | Fenced | Failed)
    }

    /// Whether it works under an attempt of its own.
    pub(super) fn works(&self) -> bool {
        matches!(
            self.phase,
            Phase::Restoring | Phase::Running | Phase::Stopping
        )
    }

    /// One step of its life.
    pub(super) fn step(&mut self, log: &mut Log, is_storage_down: bool, now_ms: i64) {
        if self.is_over() {
            return;
        }
        if is_storage_down {
            if !self.works() {
                self.block("StorageUnavailable", now_ms);
            }
            return;
        }
        match self.phase {
            Phase::Starting | Phase::Blocked | Phase::Holding => self.prepare(log, now_ms),
            Phase::Restoring => {
                if self.fenced(log, now_ms) {
                    return;
                }
                self.enter(Phase::Running, now_ms);
            }
            Phase::Running | Phase::Stopping => self.run(log, now_ms),
            _ => {}
        }
    }

    fn prepare(&mut self, log: &mut Log, now_ms: i64) {
        if self.stop.is_some() {
            return self.enter(Phase::Stopped, now_ms);
        }
        if log.generation > self.generation() {
            return self.enter(Phase::Fenced, now_ms);
        }
        let is_honoured = log.generation >= self.generation();
        let asked = self.config.start_from_generation;
        let is_asked_for = log.generation < asked.unwrap_or_else(|| self.generation());
        let starts_empty = is_asked_for && self.config.start_from == StartPoint::Empty;
        if self.kind == Kind::Incompatible && !log.checkpoints.is_empty() && !starts_empty {
            return self.block("StateIncompatible", now_ms);
        }
        self.category = None;
        if !(self.is_let_go || is_honoured) {
            return self.enter(Phase::Holding, now_ms);
        }
        if is_asked_for && self.config.start_from != StartPoint::Latest {
            log.honoured
                .push((self.generation(), self.config.start_from.clone()));
        }
        log.generation = log.generation.max(self.generation());
        log.attempt += 1;
        self.attempt = Some(log.attempt);
        self.enter(Phase::Restoring, now_ms);
    }

    fn fenced(&mut self, log: &Log, now_ms: i64) -> bool {
        let is_fenced = self.attempt != Some(log.attempt);
        if is_fenced {
            self.enter(Phase::Fenced, now_ms);
        }
        is_fenced
    }

    fn run(&mut self, log: &mut Log, now_ms: i64) {
        if self.fenced(log, now_ms) {
            return;
        }
        match self.stop {
            None => {}
            // It cannot take what it was asked for, and goes on.
            Some(mode) if mode != StopMode::Immediate && self.kind == Kind::Stuck => {
                self.stop = None;
                self.failing += 1;
                return self.enter(Phase::Running, now_ms);
            }
            Some(mode) => {
                match mode {
                    StopMode::Savepoint => self.checkpoint(log, CheckpointKind::Savepoint, now_ms),
                    StopMode::Checkpoint => {
                        self.checkpoint(log, CheckpointKind::Checkpoint, now_ms);
                    }
                    StopMode::Immediate => {}
                }
                return self.enter(Phase::Stopped, now_ms);
            }
        }
        match self.kind {
            Kind::Failing => {
                self.category = Some("RestartsExhausted");
                self.enter(Phase::Failed, now_ms);
            }
            Kind::Stuck => {}
            Kind::Finite if self.completed >= 3 || log.checkpoints.len() > 6 => {
                self.enter(Phase::Finished, now_ms);
            }
            _ => self.checkpoint(log, CheckpointKind::Checkpoint, now_ms),
        }
    }

    pub(super) fn checkpoint(&mut self, log: &mut Log, kind: CheckpointKind, now_ms: i64) {
        let id = log.checkpoints.last().map_or(0, |last| last.id) + 1;
        log.checkpoints.push(CheckpointView {
            id,
            kind,
            name: None,
            completed_ms: now_ms,
            duration_ms: 5,
            size_bytes: 100,
            parallelism: self.parallelism,
        });
        self.completed += 1;
    }

    pub(super) fn obey(&mut self, command: &JobCommand, log: &mut Log, now_ms: i64) {
        match command {
            JobCommand::Start => self.is_let_go = true,
            JobCommand::Stop(mode) if !self.is_over() => {
                self.stop.get_or_insert(*mode);
                if self.works() {
                    self.enter(Phase::Stopping, now_ms);
                }
            }
            JobCommand::Rescale { parallelism } if self.phase == Phase::Running => {
                self.parallelism = *parallelism;
                log.attempt += 1;
                self.attempt = Some(log.attempt);
                self.enter(Phase::Restoring, now_ms);
            }
            JobCommand::Settings {
                checkpoint_interval_ms,
                retained_checkpoints,
                log_level,
            } => {
                self.settings = SettingsView {
                    checkpoint_interval_ms: *checkpoint_interval_ms,
                    retained_checkpoints: *retained_checkpoints,
                    log_level: *log_level,
                };
            }
            _ => {}
        }
    }

    pub(super) fn view(&self, log: &Log) -> JobView {
        JobView {
            reason: self.category.map(str::to_owned),
            category: self.category.map(str::to_owned),
            attempt: self.attempt,
            parallelism: self.parallelism,
            started_ms: self.started_ms,
            phase_since_ms: Some(self.since_ms),
            last_checkpoint: log.checkpoints.last().cloned(),
            completed_checkpoint_count: self.completed,
            failing_checkpoint_count: self.failing,
            settings: Some(self.settings.clone()),
            start_generation: self.config.start_generation,
            ..view(self.phase)
        }
    }
}
