//! Scripts against one coordinator.

mod administration;
mod attempts;
mod checkpoints;
mod commands;
mod damaged;
mod garbage;
mod script;
