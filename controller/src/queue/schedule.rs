//! The order of work, without a clock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

use tokio::time::Instant;

/// The order of work.
///
/// # Invariants
/// - A key is at most once in `ready`, and never while it runs: see
///   `work_that_is_added_while_it_runs_is_done_again_once`.
/// - A key that neither is ready, runs, nor waits for a time takes no memory: see
///   `work_that_is_done_is_forgotten`.
#[derive(Debug)]
pub struct Schedule<K> {
    ready: VecDeque<K>,
    delayed: BTreeSet<(Instant, K)>,
    states: HashMap<K, State>,
}

#[derive(Debug, Default)]
struct State {
    is_ready: bool,
    is_running: bool,
    /// Whether it was added while it ran.
    is_dirty: bool,
    due: Option<Instant>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            delayed: BTreeSet::new(),
            states: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Schedule<K> {
    /// Puts a key at the end, unless it waits already.
    pub fn add(&mut self, key: K) {
        let state = self.states.entry(key.clone()).or_default();
        if let Some(due) = state.due.take() {
            self.delayed.remove(&(due, key.clone()));
        }
        if state.is_running {
            state.is_dirty = true;
        } else if !state.is_ready {
            state.is_ready = true;
            self.ready.push_back(key);
        }
    }

    /// Has a key added at a time, unless it is added or due before.
    pub fn add_at(&mut self, key: K, due: Instant) {
        let state = self.states.entry(key.clone()).or_default();
        if state.is_ready || state.is_dirty || state.due.is_some_and(|old| old <= due) {
            return;
        }
        if let Some(old) = state.due.replace(due) {
            self.delayed.remove(&(old, key.clone()));
        }
        self.delayed.insert((due, key));
    }

    /// The next key to work on; it runs until [`done`](Self::done) is called.
    pub fn take(&mut self, now: Instant) -> Option<K> {
        while let Some((due, _)) = self.delayed.first()
            && *due <= now
            && let Some((_, key)) = self.delayed.pop_first()
        {
            if let Some(state) = self.states.get_mut(&key) {
                state.due = None;
            }
            self.add(key);
        }
        let key = self.ready.pop_front()?;
        let state = self.states.entry(key.clone()).or_default();
        state.is_ready = false;
        state.is_running = true;
        Some(key)
    }

    /// Says that the work on a key has ended; it is done again at a time, if one is given, and at
    /// once if it was added meanwhile.
    pub fn done(&mut self, key: &K, again: Option<Instant>) {
        let Some(state) = self.states.get_mut(key) else {
            return;
        };
        state.is_running = false;
        let is_dirty = std::mem::take(&mut state.is_dirty);
        if is_dirty {
            self.add(key.clone());
        } else if let Some(due) = again {
            self.add_at(key.clone(), due);
        } else if state.due.is_none() {
            self.states.remove(key);
        }
    }

    /// When the next delayed key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// How many keys wait for their turn.
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn schedule(keys: &[&'static str]) -> Schedule<&'static str> {
        let mut schedule = Schedule::default();
        keys.iter().for_each(|key| schedule.add(*key));
        schedule
    }

    #[test]
    fn keys_take_turns_and_each_waits_only_once() {
        let now = Instant::now();
        let mut schedule = schedule(&["a", "b", "a"]);
        assert_eq!(schedule.take(now), Some("a"));
        schedule.done(&"a", None);
        schedule.add("a");
        assert_eq!(schedule.take(now), Some("b"));
        assert_eq!(schedule.take(now), Some("a"));
        assert_eq!(schedule.take(now), None);
    }

    #[test]
    fn work_that_is_added_while_it_runs_is_done_again_once() {
        let now = Instant::now();
        let mut schedule = schedule(&["a"]);
        assert_eq!(schedule.take(now), Some("a"));
        schedule.add("a");
        schedule.add("a");
        assert_eq!(schedule.take(now), None, "it runs");
        schedule.done(&"a", None);
        assert_eq!(schedule.take(now), Some("a"));
        schedule.done(&"a", None);
        assert_eq!(schedule.take(now), None);
    }

    #[test]
    fn delayed_work_waits_for_its_time_and_the_earlier_time_holds() {
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        let mut schedule = schedule(&[]);
        schedule.add_at("a", late);
        schedule.add_at("a", soon);
        schedule.add_at("a", late);
        assert_eq!(schedule.next_due(), Some(soon));
        assert_eq!(schedule.take(now), None);
        assert_eq!(schedule.take(soon), Some("a"));
        schedule.done(&"a", None);
        assert_eq!(schedule.take(late), None);
    }

    #[test]
    fn work_that_is_added_is_not_done_a_second_time_for_its_delay() {
        let now = Instant::now();
        let mut schedule = schedule(&[]);
        schedule.add_at("a", now + Duration::from_secs(1));
        schedule.add("a");
        assert_eq!(schedule.next_due(), None);
        assert_eq!(schedule.take(now), Some("a"));
    }

    #[test]
    fn work_that_is_done_is_forgotten() {
        let now = Instant::now();
        let mut schedule = schedule(&["a"]);
        schedule.take(now);
        schedule.done(&"a", None);
        assert!(schedule.states.is_empty());
        schedule.add("b");
        schedule.take(now);
        schedule.done(&"b", Some(now));
        assert_eq!(schedule.take(now), Some("b"));
    }
}
