//! Timers of a keyed operator: at most one for each key, kind and time.
//!
//! A key's timers are kept in two hidden columns of its row, lists in a snapshot, so that they are
//! frozen, written and restored like any other state; the ordered queue is an index over them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::block::Row;
use super::column::{AnyColumn, Column};
use super::times::TimesState;

/// Which clock a timer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerKind {
    /// Fires when the watermark reaches its time.
    EventTime,
    /// Fires when the machine's clock reaches its time.
    ProcessingTime,
}

/// The names of the hidden columns, in the order of [`Timers::columns`].
pub(super) const TIMER_COLUMNS: [&str; 2] = ["_event_timers", "_processing_timers"];

/// The timers of one table.
///
/// # Invariants
/// A queue holds exactly the times that its column's rows list (`timers_survive_a_restore`).
#[derive(Default)]
pub(crate) struct Timers {
    queues: [BTreeSet<(i64, Row)>; 2],
    columns: [Column<TimesState>; 2],
    is_used: bool,
}

impl Timers {
    /// Whether any timer was ever set.
    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    /// How many are set.
    pub(crate) fn len(&self) -> usize {
        self.queues.iter().map(BTreeSet::len).sum()
    }

    /// Bytes in memory, about.
    pub(super) fn size_bytes(&self) -> usize {
        let columns = self.columns().into_iter();
        let columns: usize = columns.map(AnyColumn::size_bytes).sum();
        columns + self.len() * size_of::<(i64, Row)>()
    }

    pub(super) fn columns(&self) -> [&dyn AnyColumn; 2] {
        let [event, processing] = &self.columns;
        [event, processing]
    }

    pub(super) fn columns_mut(&mut self) -> [&mut dyn AnyColumn; 2] {
        let [event, processing] = &mut self.columns;
        [event, processing]
    }

    /// Sets a timer; one that is set already stays.
    pub(crate) fn set(&mut self, kind: TimerKind, row: Row, time: i64) {
        self.is_used = true;
        if self.queues[kind as usize].insert((time, row)) {
            let column = &mut self.columns[kind as usize];
            column.ensure(row);
            Arc::make_mut(column.get_mut(row)).add(time);
        }
    }

    /// Removes a timer that is set.
    pub(crate) fn unset(&mut self, kind: TimerKind, row: Row, time: i64) {
        if self.queues[kind as usize].remove(&(time, row)) {
            self.forget(kind, row, time);
        }
    }

    fn forget(&mut self, kind: TimerKind, row: Row, time: i64) {
        let column = &mut self.columns[kind as usize];
        let times = Arc::make_mut(column.get_mut(row));
        times.remove(time);
        if times.is_empty() {
            column.clear(row);
        }
    }

    /// The earliest timer of a kind.
    pub(crate) fn first_time(&self, kind: TimerKind) -> Option<i64> {
        self.queues[kind as usize].first().map(|(time, _)| *time)
    }

    /// Takes the earliest timer at or before `until`.
    pub(crate) fn pop(&mut self, kind: TimerKind, until: i64) -> Option<(i64, Row)> {
        let (time, row) = *self.queues[kind as usize].first()?;
        if time > until {
            return None;
        }
        self.queues[kind as usize].pop_first();
        self.forget(kind, row, time);
        Some((time, row))
    }

    /// Whether a row has none.
    pub(super) fn is_empty(&self, row: Row) -> bool {
        !self.is_used || self.columns.iter().all(|column| !column.is_present(row))
    }

    /// Removes all of a row.
    pub(super) fn clear(&mut self, row: Row) {
        if self.is_used {
            for kind in [TimerKind::EventTime, TimerKind::ProcessingTime] {
                self.unqueue(kind, row);
                self.columns[kind as usize].clear(row);
            }
        }
    }

    fn unqueue(&mut self, kind: TimerKind, row: Row) {
        if self.columns[kind as usize].is_present(row)
            && let Some(times) = self.columns[kind as usize].get(row)
        {
            let queue = &mut self.queues[kind as usize];
            times.for_each(|time| {
                queue.remove(&(time, row));
            });
        }
    }

    /// Takes rows' timers from a snapshot's column.
    pub(super) fn restore(
        &mut self,
        kind: TimerKind,
        array: &arrow_array::ArrayRef,
        rows: &[Row],
    ) -> Option<()> {
        self.is_used = true;
        rows.iter().for_each(|row| self.unqueue(kind, *row));
        self.columns[kind as usize].restore(array, rows)?;
        for row in rows {
            if let Some(times) = self.columns[kind as usize].get(*row) {
                let queue = &mut self.queues[kind as usize];
                times.for_each(|time| {
                    queue.insert((time, *row));
                });
            }
        }
        Some(())
    }
}
