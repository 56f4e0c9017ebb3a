//! What is remembered of each job from one pass to the next. All of it can be lost: it only spares
//! work, or tells a person a little more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_api::status::StreamJobStatus;
use tokio::time::{Duration, Instant};

use crate::checkpoints::RefusedAsk;
use crate::observed::{ApiFacts, PodFacts};
use crate::queue::JobKey;

/// So long a refusal of the job is repeated to those who plan.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(60);

/// What is remembered of each job.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<JobKey, JobMemory>>);

#[derive(Debug, Default)]
struct JobMemory {
    refused_write: Option<String>,
    is_namespace_terminating: bool,
    /// Since when each pod, by unique id, does not answer.
    silent: HashMap<String, i64>,
    refused_asks: Vec<(RefusedAsk, Instant)>,
    /// The status that was written last, and what the server made of it.
    reported: Option<(StreamJobStatus, Option<StreamJobStatus>)>,
}

impl Memory {
    /// What the last attempts to write children met.
    pub fn refused_write(&self, key: &JobKey) -> Option<String> {
        self.lock().get(key)?.refused_write.clone()
    }

    /// Takes note of what an attempt to write children met, or that nothing is refused any more.
    pub fn set_refused_write(&self, key: &JobKey, message: Option<String>) {
        let mut jobs = self.lock();
        if message.is_some() || jobs.contains_key(key) {
            jobs.entry(key.clone()).or_default().refused_write = message;
        }
    }

    /// Whether a write met a namespace that is being deleted.
    pub fn is_namespace_terminating(&self, key: &JobKey) -> bool {
        self.lock()
            .get(key)
            .is_some_and(|job| job.is_namespace_terminating)
    }

    /// Takes note of whether the namespace is being deleted.
    pub fn set_namespace_terminating(&self, key: &JobKey, is_terminating: bool) {
        let mut jobs = self.lock();
        if is_terminating || jobs.contains_key(key) {
            jobs.entry(key.clone())
                .or_default()
                .is_namespace_terminating = is_terminating;
        }
    }

    /// Since when a pod does not answer; since now, if it did until now.
    pub fn silent_since(&self, key: &JobKey, uid: &str, now_ms: i64) -> i64 {
        let mut jobs = self.lock();
        let job = jobs.entry(key.clone()).or_default();
        *job.silent.entry(uid.to_owned()).or_insert(now_ms)
    }

    /// Forgets the silence of pods that answer, or are gone.
    pub fn keep_silent(&self, key: &JobKey, pods: &[PodFacts]) {
        if let Some(job) = self.lock().get_mut(key) {
            let is_silent = |pod: &PodFacts| matches!(pod.api, ApiFacts::Silent { .. });
            let still = |uid: &String| pods.iter().any(|pod| pod.uid == *uid && is_silent(pod));
            job.silent.retain(|uid, _| still(uid));
        }
    }

    /// What the job refused lately.
    pub fn refused_asks(&self, key: &JobKey) -> Vec<RefusedAsk> {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(key) else {
            return Vec::new();
        };
        job.refused_asks
            .retain(|(_, when)| when.elapsed() < REFUSAL_LIFETIME);
        job.refused_asks
            .iter()
            .map(|(ask, _)| ask.clone())
            .collect()
    }

    /// Takes note of what the job refused, in place of what it refused before for the same object;
    /// tells whether it is news.
    pub fn add_refused_ask(&self, key: &JobKey, ask: &RefusedAsk) -> bool {
        let mut jobs = self.lock();
        let asks = &mut jobs.entry(key.clone()).or_default().refused_asks;
        let is_known = asks.iter().any(|(old, _)| old == ask);
        asks.retain(|(old, _)| old.checkpoint != ask.checkpoint);
        asks.push((ask.clone(), Instant::now()));
        !is_known
    }

    /// Takes note that the job did what was asked for an object.
    pub fn remove_refused_ask(&self, key: &JobKey, checkpoint: &str) {
        if let Some(job) = self.lock().get_mut(key) {
            job.refused_asks
                .retain(|(old, _)| old.checkpoint != checkpoint);
        }
    }

    /// Whether the job's status is what the server made of this very one when it was written last:
    /// to write it again would change nothing.
    pub fn was_reported(
        &self,
        key: &JobKey,
        status: &StreamJobStatus,
        current: Option<&StreamJobStatus>,
    ) -> bool {
        let jobs = self.lock();
        let reported = jobs.get(key).and_then(|job| job.reported.as_ref());
        reported.is_some_and(|(old, made)| old == status && made.as_ref() == current)
    }

    /// Takes note of the status that was written, and what the server made of it.
    pub fn set_reported(
        &self,
        key: &JobKey,
        status: StreamJobStatus,
        made: Option<StreamJobStatus>,
    ) {
        self.lock().entry(key.clone()).or_default().reported = Some((status, made));
    }

    /// Forgets the job.
    pub fn forget(&self, key: &JobKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobKey, JobMemory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_known_while_it_is_what_the_server_made_of_it() {
        let status = |restarts| StreamJobStatus {
            restarts: Some(restarts),
            ..StreamJobStatus::default()
        };
        let key = JobKey {
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
        };
        let memory = Memory::default();
        assert!(!memory.was_reported(&key, &status(1), None));
        memory.set_reported(&key, status(1), Some(status(2)));
        assert!(memory.was_reported(&key, &status(1), Some(&status(2))));
        assert!(
            !memory.was_reported(&key, &status(1), Some(&status(3))),
            "others wrote"
        );
        assert!(
            !memory.was_reported(&key, &status(4), Some(&status(2))),
            "it is news"
        );
        memory.forget(&key);
        assert!(!memory.was_reported(&key, &status(1), Some(&status(2))));
    }
}
