//! Random lives of a job on a small model of a cluster: edits, failures, lost pods, silent
//! processes, facts that are out of date, plans that are cut short after any step.
//!
//! `TIDEGATE_SIMULATION_SEEDS` gives the number of lives, `TIDEGATE_SIMULATION_SEED` one of them.

mod invariants;
mod process;
mod random;
mod world;

use tidegate_api::change;
use tidegate_api::spec::{DeletionPolicy, RollbackPolicy, UpgradeMode};
use tidegate_api::status::{ConditionType, UpgradePhase};

use super::fixtures::settings;
use super::plan;
use super::roles::indispensable;
use crate::job_api::JobCommand;
use crate::observed::Observed;
use crate::plan::{Child, ChildName, LookAgain, Plan};
use invariants::{assert_alone, assert_end, assert_left_over, assert_not_tried, assert_untouched};
use random::Random;
use world::{Fate, World};

/// As many as an unoptimised build goes through in some seconds.
const SEEDS: u64 = 60;
const CHAOS_ROUNDS: u64 = 50;
/// So many rounds of a second are enough after the last fault: two deadlines and a savepoint's
/// timeout, one after the other.
const CALM_ROUNDS: usize = 320;
const QUIET_ROUNDS: usize = 10;
const DEADLINE_SECONDS: i32 = 40;

struct Life {
    world: World,
    random: Random,
    /// The spec that was given up, while nobody has edited it.
    given_up: Option<String>,
    is_forgetful: bool,
    look_again: LookAgain,
    story: Vec<String>,
}

#[test]
fn every_life_ends_as_the_spec_wants_it() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("TIDEGATE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let mut life = Life::new(seed);
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| life.live(seed)));
        if let Err(cause) = lived {
            let story = life.story.join("\n");
            eprintln!("{story}\nseed {seed} of the simulation failed");
            std::panic::resume_unwind(cause);
        }
    }
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        let job = world.job.as_mut().unwrap();
        job.spec.upgrade.deadline_seconds = DEADLINE_SECONDS;
        Self {
            world,
            random: Random::new(seed),
            given_up: None,
            is_forgetful: seed.is_multiple_of(7),
            look_again: LookAgain::Soon,
            story: Vec::new(),
        }
    }

    fn live(&mut self, seed: u64) {
        for _ in 0..self.random.below(CHAOS_ROUNDS) {
            self.disturb();
            self.round(true);
        }
        if seed.is_multiple_of(3) {
            self.say("the job is deleted");
            self.world.start_deletion();
            self.end();
        } else {
            self.calm_down();
        }
    }

    fn say(&mut self, what: impl Into<String>) {
        let seconds = (self.world.now_ms - super::fixtures::NOON_MS) / 100;
        let what = what.into();
        if !self.story.last().is_some_and(|last| last.ends_with(&what)) {
            self.story
                .push(format!("{:>6.1} s {what}", seconds as f64 / 10.0));
        }
    }

    /// One look at the job.
    fn round(&mut self, is_chaos: bool) -> Option<Plan> {
        let by_ms = match self.look_again {
            _ if is_chaos => 100 + self.random.below(2500) as i64,
            LookAgain::Soon => 1000,
            LookAgain::Later | LookAgain::OnChange => 15_000,
        };
        self.world.tick(by_ms);
        let staleness = match is_chaos && self.random.one_in(4) {
            true => self.random.below(4) as usize,
            false => 0,
        };
        let unseen = self.unseen(is_chaos);
        let observed = self.world.observe(staleness, unseen.as_deref())?;
        let decided = plan(&observed, &settings());
        self.look_again = decided.look_again;
        self.check(&observed, &decided, staleness == 0 && unseen.is_none());
        let fate = match is_chaos {
            true if self.random.one_in(3) => Fate {
                steps: self.random.below(8) as usize,
                is_deaf: false,
            },
            true if self.random.one_in(8) => Fate {
                steps: usize::MAX,
                is_deaf: true,
            },
            _ => Fate::WHOLE,
        };
        self.tell(&observed, &decided, fate, staleness);
        let before = self.world.generations();
        let honoured = self.world.log.generation;
        self.world
            .carry_out(&observed, &decided, fate, &mut self.random);
        let after = self.world.generations();
        let grown = after.iter().filter(|(revision, generation)| {
            let old = before.get(*revision).copied().unwrap_or_default();
            assert!(**generation >= old, "a start generation went back");
            **generation > old
        });
        assert!(grown.count() <= 1, "two start generations grew at once");
        assert!(self.world.log.generation >= honoured);
        self.remember(&decided);
        Some(decided)
    }

    /// The Deployment that the watch has not told of, or that an old list has taken away again.
    /// Those that the job cannot do without are looked up.
    fn unseen(&mut self, is_chaos: bool) -> Option<String> {
        if !is_chaos || !self.random.one_in(12) {
            return None;
        }
        let status = self.world.job.as_ref()?.status.as_ref();
        let owner = status.and_then(|status| status.revision.as_deref());
        let upgrade = status.and_then(|status| status.upgrade.as_ref());
        let is_looked_up =
            |name: &String| indispensable(owner, upgrade).any(|revision| name.ends_with(revision));
        let mut names: Vec<&String> = self.world.deployments.keys().collect();
        names.retain(|name| !is_looked_up(name));
        let index = self.random.below(names.len().max(1) as u64) as usize;
        names.get(index).copied().cloned()
    }

    fn tell(&mut self, observed: &Observed, plan: &Plan, fate: Fate, staleness: usize) {
        let revisions: Vec<String> = observed
            .revisions
            .iter()
            .map(|r| {
                let hold = r.config.as_ref().is_some_and(|config| config.hold);
                let hold = if hold { "h" } else { "" };
                format!(
                    "{}x{}{hold}@{}",
                    &r.revision[..4],
                    r.replicas,
                    r.start_generation % 1_000_000
                )
            })
            .collect();
        let pods: Vec<String> = observed
            .pods
            .iter()
            .map(|pod| {
                let phase = pod.view().map(|view| view.phase);
                let dying = if pod.is_deleting { "†" } else { "" };
                format!("{}{dying}:{phase:?}", &pod.name[7..11])
            })
            .collect();
        let applied: Vec<&str> = plan.apply.iter().map(word).collect();
        let upgrade = plan
            .status
            .upgrade
            .as_ref()
            .map(|u| (u.phase, &u.to_revision[..4]));
        let ready = plan.status.condition(ConditionType::Ready).unwrap().reason;
        self.say(format!(
            "{:?} {revisions:?} {pods:?} (stale {staleness}) apply {applied:?} ask {:?} delete {} \
             steps {} deaf {} upgrade {upgrade:?} ready {ready:?} revision {:?}",
            plan.decision,
            plan.ask
                .iter()
                .map(|ask| (&ask.pod[7..11], &ask.command))
                .collect::<Vec<_>>(),
            plan.delete.len(),
            fate.steps.min(99),
            fate.is_deaf,
            plan.status.revision.as_ref().map(|r| &r[..4]),
        ));
    }

    fn remember(&mut self, plan: &Plan) {
        let reported = self.world.job.as_ref().and_then(|job| job.status.as_ref());
        let upgrade = reported.and_then(|status| status.upgrade.as_ref());
        let is_given_up = upgrade.is_some_and(|upgrade| {
            matches!(
                upgrade.phase,
                UpgradePhase::Refused | UpgradePhase::RolledBack
            )
        });
        if is_given_up && reported == Some(&plan.status) {
            self.given_up = upgrade.map(|upgrade| upgrade.to_revision.clone());
        }
    }

    /// What must hold for every plan.
    fn check(&self, observed: &Observed, plan: &Plan, is_fresh: bool) {
        let job = &observed.job;
        for ask in plan
            .ask
            .iter()
            .filter(|ask| ask.command == JobCommand::Start)
        {
            assert_alone(observed, &ask.pod);
        }
        if let Some(upgrade) = &plan.status.upgrade
            && matches!(
                upgrade.phase,
                UpgradePhase::Preparing | UpgradePhase::Refused
            )
            && !job.spec.suspend
            && job.metadata.deletion_timestamp.is_none()
        {
            assert_untouched(observed, plan);
        }
        if let Some(given_up) = &self.given_up
            && is_fresh
        {
            assert_not_tried(plan, given_up);
        }
        if job.metadata.deletion_timestamp.is_some() {
            let is_end = |child: &Child| {
                matches!(
                    child,
                    Child::CleanupPod(_) | Child::Scale { replicas: 0, .. }
                )
            };
            assert!(plan.apply.iter().all(is_end), "a deleted job gets children");
        }
        assert_left_over(observed, plan);
        let size = serde_json::to_string(&plan.status).unwrap().len();
        assert!(size < 4096, "a status of {size} bytes");
    }

    /// Something happens.
    fn disturb(&mut self) {
        let now_ms = self.world.now_ms;
        let random = &mut self.random;
        let count = self.world.pods.len() as u64;
        if count > 0 && random.one_in(6) {
            let index = random.below(count) as usize;
            let what = random.below(4);
            let pod = &mut self.world.pods[index];
            match what {
                0 => pod.deleting_ms = pod.deleting_ms.or(Some(now_ms)),
                1 => {
                    pod.deleting_ms = pod.deleting_ms.or(Some(now_ms));
                    pod.is_lost = true;
                }
                2 => {
                    pod.process = None;
                    pod.restart_count += 1;
                }
                _ => {
                    pod.silent_since_ms = now_ms;
                    pod.silent_until_ms = now_ms + random.below(40_000) as i64;
                }
            }
            self.say(format!("fault {what} of pod {index}"));
        }
        if self.random.one_in(25) {
            self.world.storage_down_until_ms = now_ms + self.random.below(20_000) as i64;
            self.say("the store is down");
        }
        if self.random.one_in(6) {
            self.edit();
        }
        if self.is_forgetful && self.random.one_in(15) {
            self.forget();
        }
    }

    /// Somebody deletes what is the controller's.
    fn forget(&mut self) {
        match self.random.below(3) {
            0 => {
                if let Some(job) = &mut self.world.job {
                    job.status = None;
                }
                self.given_up = None;
                self.say("the status is lost");
            }
            1 => {
                let names: Vec<String> = self.world.deployments.keys().cloned().collect();
                if !names.is_empty() {
                    let index = self.random.below(names.len() as u64) as usize;
                    self.world
                        .delete(&ChildName::Deployment(names[index].clone()));
                    self.given_up = None;
                    self.say(format!("Deployment {} is deleted", names[index]));
                }
            }
            _ => {
                let names: Vec<String> = self.world.configs.keys().cloned().collect();
                if !names.is_empty() {
                    let index = self.random.below(names.len() as u64) as usize;
                    self.world
                        .delete(&ChildName::ConfigMap(names[index].clone()));
                    self.say(format!("ConfigMap {} is deleted", names[index]));
                }
            }
        }
    }

    fn edit(&mut self) {
        let what = self.random.below(14);
        let number = self.random.below(3) as i32;
        let Some(job) = &mut self.world.job else {
            return;
        };
        let before = change::revision(&job.spec);
        let spec = &mut job.spec;
        let image = |kind: &str| format!("{kind}:{number}");
        let program = spec.program.as_mut().unwrap();
        match what {
            0..=2 => program.image = image("good"),
            3 => program.image = image("incompatible"),
            4 => program.image = image("failing"),
            5 => program.image = image("missing"),
            6 => program.image = image("stuck"),
            7 => program.image = image("finite"),
            8 => spec.parallelism = number,
            9 => spec.suspend = number == 0,
            10 => {
                spec.upgrade.mode = match number {
                    0 => UpgradeMode::LatestCheckpoint,
                    1 => UpgradeMode::Savepoint,
                    _ => UpgradeMode::Stateless,
                }
            }
            11 => spec.checkpoint.interval_seconds = number,
            12 => {
                spec.upgrade.rollback = match number {
                    0 => RollbackPolicy::Never,
                    _ => RollbackPolicy::LastStable,
                }
            }
            _ => {
                spec.deletion_policy = match number {
                    0 => DeletionPolicy::Delete,
                    _ => DeletionPolicy::Retain,
                }
            }
        }
        if change::revision(&job.spec) != before {
            self.given_up = None;
        }
        job.metadata.generation = job.metadata.generation.map(|generation| generation + 1);
        self.say(format!("edit {what} {number}"));
    }

    /// Nothing more happens: the job must come to where its spec wants it, and stay there.
    fn calm_down(&mut self) {
        self.say("calm");
        if let Some(job) = &mut self.world.job {
            job.spec.parallelism = job.spec.parallelism.max(1);
        }
        let now_ms = self.world.now_ms;
        self.world.storage_down_until_ms = 0;
        for pod in &mut self.world.pods {
            pod.silent_until_ms = now_ms;
        }
        let mut quiet = 0;
        for _ in 0..CALM_ROUNDS {
            let plan = self.round(false).unwrap();
            let is_steady = plan.look_again != LookAgain::Soon;
            quiet = if is_steady { quiet + 1 } else { 0 };
            if quiet > QUIET_ROUNDS {
                break;
            }
        }
        for _ in 0..QUIET_ROUNDS {
            let before = self.world.job.as_ref().unwrap().status.clone();
            let plan = self.round(false).unwrap();
            assert!(
                plan.apply.is_empty() && plan.ask.is_empty(),
                "it does not come to rest"
            );
            assert!(plan.delete.is_empty(), "it does not come to rest");
            if !plan.status_is_mirror_only {
                assert_eq!(
                    before.as_ref(),
                    Some(&plan.status),
                    "it does not come to rest"
                );
            }
            assert!(plan.events.is_empty(), "events are told without an end");
        }
        assert_end(&self.world);
    }

    /// The job is deleted: it must go.
    fn end(&mut self) {
        let deleted_ms = self.world.now_ms;
        let policy = self.world.job.as_ref().unwrap().spec.deletion_policy;
        while self.world.job.is_some() {
            self.round(self.world.now_ms - deleted_ms < 60_000);
            assert!(
                self.world.now_ms - deleted_ms < 140_000,
                "the deletion hangs"
            );
        }
        let is_guarded = policy == DeletionPolicy::Delete;
        assert!(is_guarded || self.world.purge.is_none());
        assert!(self.world.deployments.is_empty());
    }
}

fn word(child: &Child) -> &'static str {
    match child {
        Child::Certificate { .. } => "Secret",
        Child::ConfigMap(_) => "ConfigMap",
        Child::Deployment(_) => "Deployment",
        Child::Scale { .. } => "Scale",
        Child::NetworkPolicy(_) => "Policy",
        Child::PodDisruptionBudget(_) => "Budget",
        Child::Template { .. } => "Template",
        Child::CleanupPod(_) => "Pod",
    }
}
