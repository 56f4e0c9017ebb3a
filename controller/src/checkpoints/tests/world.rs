//! A small world for the plans: a job with a log, an API server, clean-up pods, and plans that are
//! cut short at any change, from a seed.

use std::collections::BTreeMap;

use super::*;

/// As small a generator as does: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct World {
    random: Random,
    now_ms: i64,
    job: Option<Arc<StreamJob>>,
    is_running: bool,
    next_id: u64,
    retained: Vec<CheckpointView>,
    objects: BTreeMap<String, Checkpoint>,
    pods: Vec<ReleasePod>,
    created_count: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now_ms: NOW_MS,
            job: Some(job()),
            is_running: true,
            next_id: 1,
            retained: Vec::new(),
            objects: BTreeMap::new(),
            pods: Vec::new(),
            created_count: 0,
        }
    }

    fn observe(&self) -> CheckpointsObserved {
        let is_telling = self.is_running && self.job.is_some();
        CheckpointsObserved {
            now_ms: self.now_ms,
            job: self.job.clone(),
            objects: self.objects.values().cloned().map(Arc::new).collect(),
            telling: is_telling.then(|| telling(self.retained.clone())),
            has_pods: is_telling,
            release_pods: self.pods.clone(),
            ..observed()
        }
    }

    fn take(&mut self, name: Option<&str>) {
        self.retained.push(view(self.next_id, name));
        self.next_id += 1;
        let automatic: Vec<u64> = self
            .retained
            .iter()
            .filter(|v| v.name.is_none())
            .map(|v| v.id)
            .collect();
        if automatic.len() > 3 {
            self.retained.retain(|v| v.id != automatic[0]);
        }
    }

    /// Something happens to the world.
    fn happen(&mut self) {
        self.now_ms += i64::try_from(self.random.below(2000)).unwrap();
        match self.random.below(8) {
            0..3 if self.is_running && self.job.is_some() => self.take(None),
            3 => self.is_running = !self.is_running,
            4 => {
                let name = format!("asked-{}", self.random.below(4));
                self.objects
                    .entry(name.clone())
                    .or_insert_with(|| request(&name));
            }
            5 => {
                let index = usize::try_from(self.random.below(8)).unwrap();
                if let Some(object) = self.objects.values_mut().nth(index) {
                    let at = Timestamp::from_millisecond(self.now_ms).unwrap();
                    object.metadata.deletion_timestamp.get_or_insert(Time(at));
                }
                self.sweep();
            }
            _ => self.pods_work(),
        }
    }

    /// The server drops what is deleted and has no finalizer.
    fn sweep(&mut self) {
        self.objects.retain(|_, o| {
            o.metadata.deletion_timestamp.is_none()
                || o.metadata
                    .finalizers
                    .as_ref()
                    .is_some_and(|f| !f.is_empty())
        });
    }

    fn pods_work(&mut self) {
        for pod in &mut self.pods {
            let uid = Some(&pod.checkpoint_uid);
            let object = self
                .objects
                .values()
                .find(|o| o.metadata.uid.as_ref() == uid);
            let id = object.and_then(|o| o.status.as_ref()?.id);
            self.retained.retain(|v| i64::try_from(v.id).ok() != id);
            pod.state = CleanupState::Succeeded;
        }
    }

    /// Carries a plan out, at most `limit` changes of it.
    fn carry_out(&mut self, plan: CheckpointsPlan, limit: usize) {
        let mut left = limit;
        for change in plan.answers.into_iter().chain(plan.mirror).take(limit) {
            left -= 1;
            self.write(change);
        }
        for (_, ask) in plan.asks.into_iter().take(left) {
            match ask.command {
                JobCommand::Savepoint { name } => {
                    if !self.retained.iter().any(|v| v.name.as_ref() == Some(&name)) {
                        self.take(Some(&name));
                    }
                }
                JobCommand::Release { id } => self.retained.retain(|v| v.id != id),
                other => panic!("{other:?}"),
            }
        }
        for order in plan.cleanups.into_iter().take(left) {
            if self.pods.iter().any(|pod| pod.name == order.pod) {
                continue;
            }
            self.pods.push(ReleasePod {
                checkpoint_uid: order.uid.clone(),
                name: order.pod,
                uid: order.uid,
                state: CleanupState::Working,
            });
        }
        for gone in plan.delete.into_iter().take(left) {
            let ChildName::Pod { name, .. } = gone else {
                panic!("{gone:?}");
            };
            self.pods.retain(|pod| pod.name != name);
        }
        self.sweep();
    }

    fn write(&mut self, change: Change) {
        match change {
            Change::Create(mut object) => {
                self.created_count += 1;
                object.metadata.uid = Some(format!("uid-{}", self.created_count));
                self.objects.entry(identity(&object).0).or_insert(*object);
            }
            Change::Record {
                name,
                guard,
                status,
                ..
            } => {
                let object = self.objects.get_mut(&name).expect("it was observed");
                object.status = Some(*status);
                if guard {
                    object.metadata.finalizers = Some(vec![FINALIZER_CHECKPOINT.to_owned()]);
                }
            }
            Change::Free { name, .. } => {
                let object = self.objects.get_mut(&name).expect("it was observed");
                object.metadata.finalizers = None;
            }
            Change::Drop { name, .. } => {
                self.objects.remove(&name);
            }
        }
    }
}

#[test]
fn the_mirror_ends_equal_to_the_log_whatever_happens_and_then_is_quiet() {
    for seed in 1..2000 {
        let mut world = World::new(seed);
        for _ in 0..60 {
            world.happen();
            let plan = plan(&world.observe(), &settings());
            let limit = usize::try_from(world.random.below(4)).unwrap();
            world.carry_out(plan, limit);
        }
        world.is_running = true;
        for _ in 0..20 {
            let plan = plan(&world.observe(), &settings());
            world.carry_out(plan, usize::MAX);
        }
        let mut ids: Vec<i64> = Vec::new();
        for object in world.objects.values() {
            let status = object.status.as_ref().unwrap();
            assert_eq!(
                status.state,
                CheckpointState::Completed,
                "seed {seed}: {object:?}"
            );
            ids.push(status.id.unwrap());
        }
        ids.sort_unstable();
        let mut retained: Vec<i64> = (world.retained.iter().map(|v| v.id.cast_signed())).collect();
        retained.sort_unstable();
        assert_eq!(ids, retained, "seed {seed}");
        assert!(world.pods.is_empty(), "seed {seed}: {:?}", world.pods);
        let quiet = plan(&world.observe(), &settings());
        assert_eq!(quiet, CheckpointsPlan::default(), "seed {seed}");
    }
}

#[test]
fn every_deletion_ends_though_nothing_helps() {
    for seed in 1..500 {
        let mut world = World::new(seed);
        for _ in 0..30 {
            world.happen();
            let plan = plan(&world.observe(), &settings());
            world.carry_out(plan, usize::MAX);
        }
        (world.job, world.is_running) = (None, false);
        let at = Time(Timestamp::from_millisecond(world.now_ms).unwrap());
        for object in world.objects.values_mut() {
            object.metadata.deletion_timestamp.get_or_insert(at.clone());
        }
        for _ in 0..200 {
            world.now_ms += 1000;
            let plan = plan(&world.observe(), &settings());
            // Pods are created but never work.
            world.carry_out(plan, usize::MAX);
        }
        assert!(world.objects.is_empty(), "seed {seed}: {:?}", world.objects);
        assert!(world.pods.is_empty(), "seed {seed}: {:?}", world.pods);
    }
}
