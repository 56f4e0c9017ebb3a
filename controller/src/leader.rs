//! Which of several controllers works: the one that holds the Lease.
//!
//! ```text
//! Lease ─ read ─▶ election (pure: is it held, by whom, since when as seen here) ─▶ write
//! ```
//! Clocks of machines differ, so a Lease has expired when its `renewTime` was seen not to change
//! for as long as it lasts, and never because its time lies in the past. Who holds it stops writing
//! before others may take it, whether or not a renewal is under way: it counts from before the
//! request that renewed it.

mod election;
mod keeper;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

pub use election::{Election, Step};
pub use keeper::{Keeper, LeaderError};

/// Whether this controller may write; shared by all that do.
#[derive(Clone, Debug, Default)]
pub struct Leadership(Arc<Mutex<Option<Instant>>>);

impl Leadership {
    /// Whether this controller may write now.
    pub fn is_held(&self) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Has it end at a moment, or now.
    pub(crate) fn end_at(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}
