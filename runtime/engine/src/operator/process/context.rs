//! What user code sees besides the record: the key, its states, its timers and the time.

use crate::chunk::Watermark;
use crate::key::Key;
use crate::operator::watermarks::now_ms;
use crate::state::{KeyRef, State, TimerKind, Timers};

/// The current key with its states and timers.
pub struct KeyedContext<'a, K: Key, S: State> {
    /// The current key's states, as the operator's [`State`] declares them.
    pub state: S::Row<'a>,
    pub(crate) key: KeyRef<'a, K>,
    pub(crate) timers: &'a mut Timers,
    pub(crate) row: u32,
    pub(crate) timestamp: Option<i64>,
    pub(crate) watermark: Option<Watermark>,
}

impl<K: Key, S: State> KeyedContext<'_, K, S> {
    /// The current key.
    pub fn key(&self) -> K::View<'_> {
        self.key.get().as_view()
    }

    /// The record's event time, or the time of the timer that fires, milliseconds since the epoch;
    /// `None` where the stream has no event times.
    #[inline]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp
    }

    /// How far event time has come, milliseconds since the epoch; `None` before the first
    /// watermark.
    #[inline]
    pub fn watermark_ms(&self) -> Option<i64> {
        self.watermark
    }

    /// The machine's clock, milliseconds since the epoch.
    pub fn processing_time_ms(&self) -> i64 {
        now_ms()
    }

    /// Has `on_timer` called for this key once the watermark reaches a time. Set twice, it fires
    /// once.
    pub fn set_event_timer_ms(&mut self, time_ms: i64) {
        self.timers.set(TimerKind::EventTime, self.row, time_ms);
    }

    /// Has `on_timer` called for this key when all input has ended.
    pub fn set_end_of_input_timer(&mut self) {
        self.set_event_timer_ms(crate::chunk::MAX_WATERMARK);
    }

    /// Has `on_timer` called for this key once the machine's clock reaches a time.
    pub fn set_processing_timer_ms(&mut self, time_ms: i64) {
        self.timers
            .set(TimerKind::ProcessingTime, self.row, time_ms);
    }

    /// Removes a timer set by [`KeyedContext::set_event_timer_ms`].
    pub fn remove_event_timer_ms(&mut self, time_ms: i64) {
        self.timers.unset(TimerKind::EventTime, self.row, time_ms);
    }

    /// Removes a timer set by [`KeyedContext::set_processing_timer_ms`].
    pub fn remove_processing_timer_ms(&mut self, time_ms: i64) {
        self.timers
            .unset(TimerKind::ProcessingTime, self.row, time_ms);
    }
}
