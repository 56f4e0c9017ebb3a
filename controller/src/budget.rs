//! Writes that only mirror checkpoints draw on one budget for the whole controller.
//!
//! Thousands of jobs that checkpoint every second would otherwise keep etcd busy with what nobody
//! reads that fast. Who gets no token comes again later and then writes what is newest.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::JobKey;

/// How many writes may come at once after a quiet time.
const BURST: f64 = 10.0;
/// A job whose turn has come keeps its place for this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A bucket of tokens that fills evenly, and the jobs that wait for one, in order.
///
/// # Invariants
/// A job that waits gets its token before a job that came later gets a second one: see
/// `a_job_with_many_changes_waits_behind_those_with_one`.
#[derive(Debug)]
pub struct Budget {
    per_second: f64,
    tokens: f64,
    filled: Instant,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    job: JobKey,
    /// When its turn had come by its place in the line.
    due: Instant,
}

/// The answer to who asks for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// One write, now.
    Now,
    /// Come again after this long.
    After(Duration),
}

impl Budget {
    /// A full bucket that allows so many writes a minute.
    pub fn new(per_minute: u32, now: Instant) -> Self {
        Self {
            per_second: f64::from(per_minute) / 60.0,
            tokens: BURST,
            filled: now,
            waiting: VecDeque::new(),
        }
    }

    /// Asks for some writes of a job, which go together: all of them are granted, or none is. More
    /// than fit at once are granted when the bucket is full.
    pub fn ask(&mut self, job: &JobKey, writes: u32, now: Instant) -> Grant {
        let gained = now.duration_since(self.filled).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(BURST);
        self.filled = now;
        self.waiting
            .retain(|waiting| waiting.job == *job || now < waiting.due + PATIENCE);
        let place = self.waiting.iter().position(|waiting| waiting.job == *job);
        let ahead = place.unwrap_or(self.waiting.len());
        #[expect(
            clippy::cast_precision_loss,
            reason = "a line of waiting jobs is short"
        )]
        let ahead = ahead as f64;
        let wanted = f64::from(writes).min(BURST);
        // Whoever is ahead wants one write at least.
        let missing = (ahead + wanted).min(BURST.max(ahead + 1.0)) - self.tokens;
        if missing <= 0.0 {
            self.tokens -= wanted;
            if let Some(place) = place {
                self.waiting.remove(place);
            }
            return Grant::Now;
        }
        let wait = match self.per_second {
            rate if rate > 0.0 => Duration::from_secs_f64((missing / rate).min(3600.0)),
            _ => Duration::from_secs(3600),
        };
        if place.is_none() {
            let (job, due) = (job.clone(), now + wait);
            self.waiting.push_back(Waiting { job, due });
        }
        Grant::After(wait)
    }

    /// Forgets a job that wants nothing any more.
    pub fn forget(&mut self, job: &JobKey) {
        self.waiting.retain(|waiting| waiting.job != *job);
    }

    /// How many jobs wait.
    pub fn backlog(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> JobKey {
        JobKey {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    fn empty(now: Instant) -> Budget {
        let mut budget = Budget::new(60, now);
        budget.tokens = 0.0;
        budget
    }

    #[test]
    fn no_more_writes_than_allowed_are_granted_in_the_long_run() {
        let start = Instant::now();
        let mut budget = Budget::new(45, start);
        let mut granted = 0;
        for step in 0..6_000 {
            let now = start + Duration::from_millis(step * 100);
            let asking = job(&format!("job-{}", step % 20));
            granted += u32::from(budget.ask(&asking, 1, now) == Grant::Now);
        }
        assert!((440..=460).contains(&granted), "{granted} in ten minutes");
    }

    #[test]
    fn a_job_with_many_changes_waits_behind_those_with_one() {
        let start = Instant::now();
        let mut budget = empty(start);
        assert_eq!(
            budget.ask(&job("many"), 1, start),
            Grant::After(Duration::from_secs(1))
        );
        assert_eq!(
            budget.ask(&job("one"), 1, start),
            Grant::After(Duration::from_secs(2))
        );
        let second = start + Duration::from_secs(1);
        assert_eq!(budget.ask(&job("many"), 1, second), Grant::Now);
        assert_eq!(
            budget.ask(&job("many"), 1, second),
            Grant::After(Duration::from_secs(2))
        );
        let third = second + Duration::from_secs(1);
        assert_eq!(budget.ask(&job("one"), 1, third), Grant::Now);
    }

    #[test]
    fn who_does_not_come_for_its_token_holds_up_nobody_for_long() {
        let start = Instant::now();
        let mut budget = empty(start);
        budget.ask(&job("gone"), 1, start);
        let now = start + Duration::from_secs(1);
        assert_ne!(
            budget.ask(&job("next"), 1, now),
            Grant::Now,
            "gone is first in line"
        );
        budget.tokens = 1.0;
        assert_eq!(
            budget.ask(&job("next"), 1, start + Duration::from_secs(11)),
            Grant::Now
        );
        budget.ask(&job("other"), 1, start);
        budget.forget(&job("other"));
        assert_eq!(budget.backlog(), 0);
    }

    #[test]
    fn writes_that_go_together_are_granted_together_and_waste_nothing() {
        let start = Instant::now();
        let mut budget = empty(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            budget.ask(&job("two"), 2, at(0)),
            Grant::After(Duration::from_secs(2))
        );
        assert_eq!(
            budget.ask(&job("two"), 2, at(1)),
            Grant::After(Duration::from_secs(1))
        );
        assert_eq!(budget.ask(&job("two"), 2, at(2)), Grant::Now);
        assert_eq!(budget.ask(&job("two"), 1, at(3)), Grant::Now);
        assert_ne!(budget.ask(&job("lot"), 99, at(9)), Grant::Now);
        assert_eq!(budget.ask(&job("lot"), 99, at(13)), Grant::Now);
    }

    #[test]
    fn every_job_gets_its_share_when_all_want_more() {
        let start = Instant::now();
        let mut budget = empty(start);
        let mut granted = [0_u32; 20];
        for step in 0..12_000_u64 {
            let now = start + Duration::from_millis(step * 50);
            let index = usize::try_from(step % 20).unwrap();
            let asking = job(&format!("job-{index}"));
            granted[index] += u32::from(budget.ask(&asking, 1, now) == Grant::Now);
        }
        let (least, most) = (granted.iter().min().unwrap(), granted.iter().max().unwrap());
        assert!(most - least <= 2, "{granted:?}");
    }
}
