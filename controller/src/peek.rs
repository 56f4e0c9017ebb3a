//! Looks at running jobs every second, so that what happens in them is noticed at once. It writes
//! nothing: a job in which something has changed gets its turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::client::{JobClient, JobPod};
use crate::job_api::JobView;
use crate::observed::Observed;
use crate::queue::{JobKey, Queue};

const INTERVAL: Duration = Duration::from_secs(1);

/// The jobs that are looked at.
#[derive(Debug)]
pub struct Peeks {
    client: Arc<JobClient>,
    queue: Arc<Queue>,
    jobs: Mutex<HashMap<JobKey, Peek>>,
}

#[derive(Debug)]
struct Peek {
    seen: Arc<Mutex<Seen>>,
    task: AbortHandle,
}

impl Drop for Peek {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What each process said last; nothing if it did not answer.
type Seen = Vec<(JobPod, Option<JobView>)>;

impl Peeks {
    /// Looks at nothing yet.
    pub fn new(client: Arc<JobClient>, queue: Arc<Queue>) -> Self {
        Self {
            client,
            queue,
            jobs: Mutex::default(),
        }
    }

    /// Looks at the job's processes from now on, and tells when they say something else than what
    /// was observed.
    pub fn follow(&self, key: &JobKey, observed: &Observed) {
        let pods = observed.pods.iter().filter(|pod| !pod.is_over);
        let seen: Seen = pods
            .filter_map(|pod| {
                let ip = pod.ip.as_ref()?.parse().ok()?;
                Some((
                    JobPod {
                        job: key.clone(),
                        ip,
                    },
                    pod.view().cloned(),
                ))
            })
            .collect();
        let mut jobs = self.lock();
        if seen.is_empty() {
            jobs.remove(key);
            return;
        }
        match jobs.get(key) {
            Some(peek) => *lock(&peek.seen) = seen,
            None => {
                let seen = Arc::new(Mutex::new(seen));
                let work = look(
                    Arc::clone(&self.client),
                    Arc::clone(&self.queue),
                    key.clone(),
                    Arc::clone(&seen),
                );
                let task = tokio::spawn(work).abort_handle();
                jobs.insert(key.clone(), Peek { seen, task });
            }
        }
    }

    /// Looks at the job no more.
    pub fn forget(&self, key: &JobKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobKey, Peek>> {
        lock(&self.jobs)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look(client: Arc<JobClient>, queue: Arc<Queue>, key: JobKey, seen: Arc<Mutex<Seen>>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let before = lock(&seen).clone();
        for (pod, view) in before {
            let now = client.job(&pod).await.ok();
            let is_news = differs(view.as_ref(), now.as_ref());
            let mut seen = lock(&seen);
            // A pass may have looked meanwhile; what it saw is what counts.
            let entry = seen
                .iter_mut()
                .find(|(other, old)| *other == pod && *old == view);
            if is_news && let Some((_, old)) = entry {
                *old = now;
                queue.add_job(&key);
            }
        }
    }
}

/// Whether something has changed that a pass would act on or report.
fn differs(old: Option<&JobView>, new: Option<&JobView>) -> bool {
    let (Some(old), Some(new)) = (old, new) else {
        return old.is_some() != new.is_some();
    };
    // How many checkpoints this process completed follows from the newest one.
    let mut new = new.clone();
    new.completed_checkpoint_count = old.completed_checkpoint_count;
    *old != new
}
