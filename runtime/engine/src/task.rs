//! Subtasks: one asynchronous task each, on the compute thread of its slot.
//!
//! ```text
//! source reader or input gate ─▶ operators of the chain ─▶ channels to other chains, or a sink
//!          ▲ barriers, commits                 │ frozen state
//!        worker ◀──────── acknowledgement ─── upload, on the I/O runtime
//! ```

mod gate;
mod intake;
mod outlet;
mod slot;
mod snapshot;
mod subtask;

pub(crate) use gate::InputGate;
pub(crate) use intake::{Intake, WantedRows};
pub(crate) use outlet::{Channel, ChannelOutlet, Outlet, SinkOutlet};
pub(crate) use slot::{Slots, Task};
pub(crate) use snapshot::{CommitTracker, SinkSnapshots};
pub(crate) use subtask::{Control, Head, Reporter, Stage, Subtask, SubtaskProgress};

/// Chunks that a channel holds before its sender waits. Few, so that what waits stays in the cache
/// and barriers are not long under way; at least two, so that sender and receiver can both work.
/// How large they are depends on how fast the receiver is ([`WantedRows`]).
pub(crate) const CHANNEL_CHUNKS: usize = 4;
