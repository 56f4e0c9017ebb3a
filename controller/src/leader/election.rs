//! When to take, renew or fear for the Lease, without a clock or a client.

use std::time::Duration;

use tokio::time::Instant;

/// What this controller knows about the Lease.
///
/// # Invariants
/// A Lease that another holds is taken only when it was seen unchanged for its whole duration, by
/// this controller's own clock: see `anothers_lease_is_taken_only_after_it_stood_still`.
#[derive(Debug)]
pub struct Election {
    identity: String,
    duration: Duration,
    /// What was seen, and when it was first seen so.
    seen: Option<(Seen, Instant)>,
    /// Until when this controller may write.
    writes_until: Option<Instant>,
}

/// What matters of a Lease that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who holds it; nobody when absent or empty.
    pub holder: Option<String>,
    /// Its `renewTime`, only ever compared for equality.
    pub renewed: Option<String>,
    /// How long its holder lets it last.
    pub duration: Duration,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write oneself into it: it is free or one's own.
    Take,
    /// Read it again later: another holds it.
    Wait,
}

impl Election {
    /// Knows nothing yet.
    pub fn new(identity: String, duration: Duration) -> Self {
        Self {
            identity,
            duration,
            seen: None,
            writes_until: None,
        }
    }

    /// Takes note of the Lease as it was read, or of its absence, and says what to do.
    pub fn read(&mut self, lease: Option<Seen>, now: Instant) -> Step {
        let Some(lease) = lease else {
            self.seen = None;
            return Step::Take;
        };
        let is_free = lease
            .holder
            .as_ref()
            .is_none_or(|h| h.is_empty() || *h == self.identity);
        match &self.seen {
            Some((seen, since)) if *seen == lease => {
                let is_expired = now.duration_since(*since) >= lease.duration;
                if is_free || is_expired {
                    Step::Take
                } else {
                    Step::Wait
                }
            }
            _ => {
                self.seen = Some((lease, now));
                if is_free { Step::Take } else { Step::Wait }
            }
        }
    }

    /// Takes note that the write which began at `began` succeeded.
    pub fn renewed(&mut self, began: Instant) {
        self.writes_until = Some(began + self.duration - self.duration / 6);
    }

    /// Takes note that another has written the Lease.
    pub fn lost(&mut self) {
        self.writes_until = None;
    }

    /// Until when this controller may write, if it may. It stops a sixth of the duration early, so
    /// that a write under way ends before another controller begins.
    pub fn writes_until(&self) -> Option<Instant> {
        self.writes_until
    }

    /// Whether this controller may write at `now`.
    pub fn may_write(&self, now: Instant) -> bool {
        self.writes_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(30);

    fn lease(holder: &str, renewed: &str) -> Option<Seen> {
        Some(Seen {
            holder: Some(holder.to_owned()),
            renewed: Some(renewed.to_owned()),
            duration: DURATION,
        })
    }

    fn election() -> Election {
        Election::new("me".to_owned(), DURATION)
    }

    #[test]
    fn a_free_lease_is_taken_at_once() {
        let now = Instant::now();
        assert_eq!(election().read(None, now), Step::Take);
        assert_eq!(election().read(lease("", "1"), now), Step::Take);
        assert_eq!(election().read(lease("me", "1"), now), Step::Take);
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_stood_still() {
        let start = Instant::now();
        let mut election = election();
        // Whatever its time says, however long past: what counts is what is seen from here.
        assert_eq!(election.read(lease("other", "1970"), start), Step::Wait);
        let almost = start + DURATION - Duration::from_millis(1);
        assert_eq!(election.read(lease("other", "1970"), almost), Step::Wait);
        assert_eq!(election.read(lease("other", "1971"), almost), Step::Wait);
        let old = start + DURATION;
        assert_eq!(
            election.read(lease("other", "1971"), old),
            Step::Wait,
            "it was renewed"
        );
        assert_eq!(
            election.read(lease("other", "1971"), almost + DURATION),
            Step::Take
        );
    }

    #[test]
    fn writing_ends_before_another_may_begin() {
        let began = Instant::now();
        let mut election = election();
        assert!(!election.may_write(began));
        election.renewed(began);
        assert!(election.may_write(began + Duration::from_secs(24)));
        assert!(!election.may_write(began + Duration::from_secs(25)));
        election.renewed(began + Duration::from_secs(10));
        assert!(election.may_write(began + Duration::from_secs(30)));
        election.lost();
        assert!(!election.may_write(began + Duration::from_secs(11)));
    }
}
