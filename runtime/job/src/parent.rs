//! A job that must not outlive the process that started it.
//!
//! `tidegate run` can be killed like anything else; a job that then ran on would be in the way of
//! the next run, unseen.

use std::os::unix::process::parent_id;
use std::time::Duration;
use std::{io, process, thread};

use crate::error::Exit;

/// How long a job may outlive its starter.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Ends this process at once, as if killed, when `starter` is no longer its parent.
///
/// # Errors
/// The operating system refuses a thread.
pub(crate) fn watch(starter: u32) -> io::Result<()> {
    let look = move || {
        loop {
            if parent_id() != starter {
                process::exit(i32::from(Exit::Interrupted as u8));
            }
            thread::sleep(LOOK_INTERVAL);
        }
    };
    thread::Builder::new()
        .name("tidegate-parent".into())
        .spawn(look)?;
    Ok(())
}
