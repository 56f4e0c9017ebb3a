//! How often and how fast a failed job is restarted. Pure.

use crate::RestartPolicy;

/// Doublings after which every sensible wait is the longest anyway.
const MAX_DOUBLINGS: u32 = 32;

/// Restarts in a row.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct RestartBudget {
    in_a_row: u32,
    in_all: u32,
}

impl RestartBudget {
    /// Restarts of this process so far.
    pub(super) const fn restart_count(self) -> u32 {
        self.in_all
    }

    /// Takes one restart for an attempt that ran this long, if at all; answers with the wait before
    /// it, or `None` if none is left.
    pub(super) fn take(&mut self, policy: &RestartPolicy, ran_ms: Option<i64>) -> Option<i64> {
        let is_stable = ran_ms.is_some_and(|ran_ms| {
            u64::try_from(ran_ms).is_ok_and(|ran_ms| ran_ms >= policy.reset_after_ms)
        });
        if is_stable {
            self.in_a_row = 0;
        }
        if policy.max_restarts.is_some_and(|max| self.in_a_row >= max) {
            return None;
        }
        let doublings = self.in_a_row.min(MAX_DOUBLINGS);
        let wait = policy.initial_backoff_ms.saturating_mul(1 << doublings);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.in_all = self.in_all.saturating_add(1);
        Some(i64::try_from(wait.min(policy.max_backoff_ms)).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        initial_backoff_ms: 100,
        max_backoff_ms: 1_000,
        max_restarts: Some(5),
        reset_after_ms: 60_000,
    };

    #[test]
    fn waits_double_up_to_the_longest_until_the_budget_is_spent() {
        let mut budget = RestartBudget::default();
        let waits: Vec<_> = (0..6).map(|_| budget.take(&POLICY, Some(10))).collect();
        let expected = [
            Some(100),
            Some(200),
            Some(400),
            Some(800),
            Some(1_000),
            None,
        ];
        assert_eq!(waits, expected);
        assert_eq!(budget.restart_count(), 5);
    }

    #[test]
    fn a_stable_while_resets_wait_and_budget() {
        let mut budget = RestartBudget::default();
        for _ in 0..5 {
            budget.take(&POLICY, None);
        }
        assert_eq!(budget.take(&POLICY, Some(59_999)), None);
        assert_eq!(budget.take(&POLICY, Some(60_000)), Some(100));
    }

    #[test]
    fn without_a_bound_restarts_go_on_at_the_longest_wait() {
        let policy = RestartPolicy {
            max_restarts: None,
            ..POLICY
        };
        let mut budget = RestartBudget::default();
        for _ in 0..1_000 {
            budget.take(&policy, None);
        }
        assert_eq!(budget.take(&policy, None), Some(1_000));
    }
}
