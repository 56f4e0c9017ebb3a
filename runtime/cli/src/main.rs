//! The `tidegate` command.

mod fields;
mod manifest;
mod overrides;
mod path;
mod problem;
mod yaml;

fn main() {}
