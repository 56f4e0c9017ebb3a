//! Scripts against one coordinator.

mod administration;
mod attempts;
mod checkpoints;
mod commands;
mod garbage;
mod script;
