//! Which of several controllers works: the one that holds the Lease.
//!
//! ```text
//! Lease ─ read ─▶ election (pure: is it held, by whom, since when as seen here) ─▶ write
//! ```
//! Clocks of machines differ, so a Lease has expired when its `renewTime` was seen not to change
//! for as long as it lasts, and never because its time lies in the past. Who holds it stops writing
//! before others may take it: it counts from before the request that renewed it.

mod election;
mod keeper;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use election::{Election, Step};
pub use keeper::{Keeper, LeaderError};

/// Whether this controller may write; shared by all that do.
#[derive(Clone, Debug, Default)]
pub struct Leadership(Arc<AtomicBool>);

impl Leadership {
    /// Whether this controller may write now.
    pub fn is_held(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, is_held: bool) {
        self.0.store(is_held, Ordering::SeqCst);
    }
}
