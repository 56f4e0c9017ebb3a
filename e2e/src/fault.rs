//! What a faulty network may do to a request, and how often.

use std::time::Duration;

use crate::Random;

/// One thing that goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server never sees the request; the client gets this status.
    Reject(u16),
    /// The server sees a random part of the request, then both connections are cut.
    CutRequest,
    /// The request takes effect, but the client gets this status.
    ApplyThenFail(u16),
    /// The request takes effect; the client gets a random part of the answer, maybe nothing.
    ApplyThenCut,
    /// The client gets 503 at once; the request takes effect later, on its own.
    ApplyLate,
    /// The request takes effect twice, one after the other; the client gets the second answer.
    Duplicate,
    /// The request waits a random time before it is forwarded.
    Delay,
}

/// Which faults a proxy injects, drawn for each request from one seed.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    seed: u64,
    method: Option<String>,
    rates: Vec<(Fault, u64)>,
    delay_max: Duration,
    late_after: Duration,
}

impl FaultPlan {
    /// No faults yet; those added by [`FaultPlan::with`] are drawn from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            method: None,
            rates: Vec::new(),
            delay_max: Duration::from_millis(20),
            late_after: Duration::from_millis(200),
        }
    }

    /// A bit of everything, `per_mille` of the requests being hit by each of eight faults.
    #[must_use]
    pub fn hostile(seed: u64, per_mille: u64) -> Self {
        let faults = [
            Fault::Reject(500),
            Fault::Reject(503),
            Fault::CutRequest,
            Fault::ApplyThenFail(500),
            Fault::ApplyThenCut,
            Fault::ApplyLate,
            Fault::Duplicate,
            Fault::Delay,
        ];
        faults.into_iter().fold(Self::seeded(seed), |plan, fault| {
            plan.with(fault, per_mille)
        })
    }

    /// Adds a fault that hits this many of a thousand requests. All rates together are at most
    /// 1,000; what is above never happens.
    #[must_use]
    pub fn with(mut self, fault: Fault, per_mille: u64) -> Self {
        self.rates.push((fault, per_mille));
        self
    }

    /// Only requests of this method are hit, such as `PUT`.
    #[must_use]
    pub fn only(mut self, method: &str) -> Self {
        self.method = Some(method.to_string());
        self
    }

    /// The longest wait of [`Fault::Delay`]; 20 ms unless set.
    #[must_use]
    pub fn delay_max(mut self, delay: Duration) -> Self {
        self.delay_max = delay;
        self
    }

    /// When a request hit by [`Fault::ApplyLate`] is forwarded; after 200 ms unless set.
    #[must_use]
    pub fn late_after(mut self, delay: Duration) -> Self {
        self.late_after = delay;
        self
    }

    pub(crate) fn random(&self) -> Random {
        Random::seeded(self.seed)
    }

    /// Draws what happens to a request; always consumes one draw, so that a filter does not
    /// shift the sequence.
    pub(crate) fn draw(&self, random: &mut Random, method: &str) -> Option<Fault> {
        let mut drawn = random.below(1000);
        if self.method.as_deref().is_some_and(|only| only != method) {
            return None;
        }
        for (fault, per_mille) in &self.rates {
            if drawn < *per_mille {
                return Some(*fault);
            }
            drawn -= per_mille;
        }
        None
    }

    pub(crate) fn draw_delay(&self, random: &mut Random) -> Duration {
        let max_us = u64::try_from(self.delay_max.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random.below(max_us))
    }

    pub(crate) fn late_delay(&self) -> Duration {
        self.late_after
    }
}

/// What a proxy has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Requests read, faulty or not.
    pub requests: u64,
    /// [`Fault::Reject`].
    pub rejected: u64,
    /// [`Fault::CutRequest`].
    pub cut_requests: u64,
    /// [`Fault::ApplyThenFail`].
    pub applied_then_failed: u64,
    /// [`Fault::ApplyThenCut`].
    pub applied_then_cut: u64,
    /// [`Fault::ApplyLate`], counted when the client is answered.
    pub applied_late: u64,
    /// [`Fault::ApplyLate`], counted when the server has answered the late request.
    pub late_arrived: u64,
    /// [`Fault::Duplicate`].
    pub duplicated: u64,
    /// [`Fault::Delay`].
    pub delayed: u64,
}

impl FaultCounts {
    /// How many requests were hit by any fault.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.rejected
            + self.cut_requests
            + self.applied_then_failed
            + self.applied_then_cut
            + self.applied_late
            + self.duplicated
            + self.delayed
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        let counter = match fault {
            Fault::Reject(_) => &mut self.rejected,
            Fault::CutRequest => &mut self.cut_requests,
            Fault::ApplyThenFail(_) => &mut self.applied_then_failed,
            Fault::ApplyThenCut => &mut self.applied_then_cut,
            Fault::ApplyLate => &mut self.applied_late,
            Fault::Duplicate => &mut self.duplicated,
            Fault::Delay => &mut self.delayed,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_met_within_a_tenth() {
        let plan = FaultPlan::seeded(3)
            .with(Fault::CutRequest, 100)
            .with(Fault::Delay, 300);
        let mut random = plan.random();
        let drawn: Vec<_> = (0..10_000).map(|_| plan.draw(&mut random, "GET")).collect();
        let count = |fault| drawn.iter().filter(|drawn| **drawn == fault).count();
        assert!((900..1100).contains(&count(Some(Fault::CutRequest))));
        assert!((2700..3300).contains(&count(Some(Fault::Delay))));
    }

    #[test]
    fn other_methods_are_left_alone() {
        let plan = FaultPlan::seeded(3)
            .with(Fault::CutRequest, 1000)
            .only("PUT");
        let mut random = plan.random();
        assert_eq!(plan.draw(&mut random, "GET"), None);
        assert_eq!(plan.draw(&mut random, "PUT"), Some(Fault::CutRequest));
    }
}
