//! A small world for the plans: a job with a log, that is moved to another folder and back, an API
//! server, clean-up pods, and plans that are cut short at any change, from a seed.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::spec::Storage;

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

/// What a folder holds.
#[derive(Default)]
struct Log {
    newest: u64,
    retained: Vec<CheckpointView>,
}

const FOLDERS: [&str; 2] = ["s3://one/shop/orders", "s3://two/shop/orders"];

struct World {
    random: Random,
    now_ms: i64,
    job: Option<Arc<StreamJob>>,
    is_running: bool,
    /// Which of the folders the job works in.
    place: usize,
    logs: [Log; 2],
    objects: BTreeMap<String, Checkpoint>,
    /// The pods, with the number of the folder and of the checkpoint that each one is for.
    pods: Vec<(ReleasePod, (usize, i64))>,
    created_count: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now_ms: NOW_MS,
            job: Some(job()),
            is_running: true,
            place: 0,
            logs: Default::default(),
            objects: BTreeMap::new(),
            pods: Vec::new(),
            created_count: 0,
        }
    }

    fn observe(&self) -> CheckpointsObserved {
        let is_telling = self.is_running && self.job.is_some();
        let url = ["s3://one", "s3://two"][self.place];
        let storage: Storage = serde_json::from_value(json!({"url": url})).unwrap();
        let telling = TellingJob {
            storage: Some(storage.clone()),
            ..telling(self.log().retained.clone())
        };
        CheckpointsObserved {
            now_ms: self.now_ms,
            job: self.job.clone(),
            objects: self.objects.values().cloned().map(Arc::new).collect(),
            storage: Some(storage),
            telling: is_telling.then_some(telling),
            has_pods: is_telling,
            release_pods: self.pods.iter().map(|(pod, _)| pod.clone()).collect(),
            ..observed()
        }
    }

    fn log(&self) -> &Log {
        &self.logs[self.place]
    }

    fn take(&mut self, name: Option<&str>) {
        let log = &mut self.logs[self.place];
        log.newest += 1;
        log.retained.push(view(log.newest, name));
        let automatic: Vec<u64> = log
            .retained
            .iter()
            .filter(|v| v.name.is_none())
            .map(|v| v.id)
            .collect();
        if automatic.len() > 3 {
            log.retained.retain(|v| v.id != automatic[0]);
        }
    }

    /// Something happens to the world.
    fn happen(&mut self) {
        self.now_ms += i64::try_from(self.random.below(2000)).unwrap();
        match self.random.below(9) {
            8 => self.place = 1 - self.place,
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
        for (pod, (place, id)) in &mut self.pods {
            let log = &mut self.logs[*place];
            log.retained.retain(|v| i64::try_from(v.id) != Ok(*id));
            pod.state = CleanupState::Succeeded;
        }
    }

    /// What the job is asked for an object.
    fn ask(&mut self, uid: &str, command: JobCommand) {
        match command {
            JobCommand::Savepoint { name } => {
                let mut retained = self.log().retained.iter();
                if !retained.any(|v| v.name.as_ref() == Some(&name)) {
                    self.take(Some(&name));
                }
            }
            JobCommand::Release { id } => {
                let mut objects = self.objects.values();
                let object = objects.find(|o| o.metadata.uid.as_deref() == Some(uid));
                let place = object.and_then(place_of);
                let is_own = place.is_none_or(|place| place == self.place);
                assert!(is_own, "checkpoint {id} of another folder is released");
                let log = &mut self.logs[self.place];
                log.retained.retain(|v| v.id != id);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Carries a plan out, at most `limit` changes of it.
    fn carry_out(&mut self, plan: CheckpointsPlan, limit: usize) {
        let mut left = limit;
        for change in plan.answers.into_iter().chain(plan.mirror).take(limit) {
            left -= 1;
            self.write(change);
        }
        for (uid, ask) in plan.asks.into_iter().take(left) {
            self.ask(&uid, ask.command);
        }
        for order in plan.cleanups.into_iter().take(left) {
            if self.pods.iter().any(|(pod, _)| pod.name == order.pod) {
                continue;
            }
            let mut places = FOLDERS.iter();
            let place = places.position(|folder| *folder == order.folder).unwrap();
            let pod = ReleasePod {
                checkpoint_uid: order.uid.clone(),
                name: order.pod,
                uid: order.uid,
                state: CleanupState::Working,
            };
            self.pods.push((pod, (place, order.id)));
        }
        for gone in plan.delete.into_iter().take(left) {
            let ChildName::Pod { name, .. } = gone else {
                panic!("{gone:?}");
            };
            self.pods.retain(|(pod, _)| pod.name != name);
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

/// In which folder an object's checkpoint lies.
fn place_of(object: &Checkpoint) -> Option<usize> {
    let location = object.status.as_ref()?.location.as_deref()?;
    let (folder, _) = location.rsplit_once('#')?;
    FOLDERS.iter().position(|it| *it == folder)
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
            world.pods_work();
        }
        // A savepoint that was asked for in both folders, then again, may have two objects.
        let mut ids: BTreeSet<i64> = BTreeSet::new();
        for object in world.objects.values() {
            let status = object.status.as_ref().unwrap();
            assert_eq!(
                status.state,
                CheckpointState::Completed,
                "seed {seed}: {object:?}"
            );
            if place_of(object) == Some(world.place) {
                ids.insert(status.id.unwrap());
            }
        }
        let told = world.log().retained.iter();
        let retained: BTreeSet<i64> = told.map(|v| v.id.cast_signed()).collect();
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
