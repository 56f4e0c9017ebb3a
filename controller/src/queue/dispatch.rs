//! Takes work from the queue and has it done, a bounded number of keys at a time.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Backoff, Queue, Work, jitter};

/// How a pass over one key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went through; look again after this long, if nothing changes before.
    Done {
        /// The delay.
        again: Option<Duration>,
    },
    /// It failed in a way that may pass.
    Failed {
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
}

/// The longest that one pass may take: everything in it has a shorter limit of its own, so this
/// only bounds what nobody thought of.
const PASS_LIMIT: Duration = Duration::from_secs(120);

/// Has work done until `stop`, then waits for what runs.
pub async fn dispatch<F, R>(queue: Arc<Queue>, limit: usize, stop: CancellationToken, work: F)
where
    F: Fn(Work) -> R,
    R: Future<Output = Outcome> + Send + 'static,
{
    let mut running: JoinSet<(Work, Outcome)> = JoinSet::new();
    let mut backoffs: HashMap<Work, Backoff> = HashMap::new();
    while !stop.is_cancelled() {
        while running.len() < limit
            && let Some(key) = queue.lock().take(Instant::now())
        {
            let pass = AssertUnwindSafe(work(key.clone())).catch_unwind();
            running.spawn(async move { (key, bounded(pass).await) });
        }
        let due = queue.lock().next_due();
        let due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = queue.changed.notified() => {}
            () = due, if running.len() < limit => {}
            Some(Ok((key, outcome))) = running.join_next() => {
                finish(&queue, &mut backoffs, key, outcome);
            }
        }
    }
    while running.join_next().await.is_some() {}
}

async fn bounded(pass: impl Future<Output = std::thread::Result<Outcome>>) -> Outcome {
    let failed = Outcome::Failed { retry_after: None };
    match tokio::time::timeout(PASS_LIMIT, pass).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            tracing::error!("a reconcile panicked, which is a defect of the controller");
            failed
        }
        Err(_) => {
            tracing::error!("a reconcile took too long and was given up");
            failed
        }
    }
}

fn finish(queue: &Queue, backoffs: &mut HashMap<Work, Backoff>, key: Work, outcome: Outcome) {
    let delay = match outcome {
        Outcome::Done { again } => {
            backoffs.remove(&key);
            again
        }
        Outcome::Failed { retry_after } => {
            let delay = backoffs.entry(key.clone()).or_default().next(jitter());
            Some(delay.max(retry_after.unwrap_or_default()))
        }
    };
    let again = delay.map(|delay| Instant::now() + delay);
    queue.lock().done(&key, again);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::JobKey;
    use super::*;

    fn job(name: &str) -> Work {
        Work::Job(JobKey {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_a_panic_counts_as_one() {
        let queue = Arc::new(Queue::default());
        queue.add(job("a"));
        let stop = CancellationToken::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        let pass = |_| {
            let (seen, stop) = (Arc::clone(&seen), stop.clone());
            async move {
                let count = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(start.elapsed());
                    seen.len()
                };
                match count {
                    1 => Outcome::Failed { retry_after: None },
                    2 => panic!("on purpose"),
                    3 => Outcome::Failed {
                        retry_after: Some(Duration::from_secs(7)),
                    },
                    _ => {
                        stop.cancel();
                        Outcome::Done { again: None }
                    }
                }
            }
        };
        dispatch(Arc::clone(&queue), 2, stop.clone(), pass).await;
        let seen = seen.lock().unwrap();
        let gaps: Vec<Duration> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] >= Duration::from_millis(175) && gaps[0] <= Duration::from_millis(230));
        assert!(gaps[1] > gaps[0], "{gaps:?}");
        assert!(gaps[2] >= Duration::from_secs(7), "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn work_under_way_is_finished_before_dispatching_ends() {
        let queue = Arc::new(Queue::default());
        queue.add(job("a"));
        queue.add(job("b"));
        let stop = CancellationToken::new();
        let finished = Arc::new(Mutex::new(0));
        let pass = |_| {
            let (finished, stop) = (Arc::clone(&finished), stop.clone());
            async move {
                stop.cancel();
                tokio::time::sleep(Duration::from_secs(3)).await;
                *finished.lock().unwrap() += 1;
                Outcome::Done { again: None }
            }
        };
        dispatch(queue, 1, stop.clone(), pass).await;
        assert_eq!(
            *finished.lock().unwrap(),
            1,
            "b was not begun, a was finished"
        );
    }
}
