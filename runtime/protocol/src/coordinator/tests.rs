//! Scripts against one coordinator.

mod attempts;
mod checkpoints;
mod commands;
mod garbage;
mod script;
