//! Interrupts: SIGINT and SIGTERM, counted, for whoever waits for one.

use std::process;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::Exit;
use crate::output::Screen;

/// How many interrupts there were. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts {
    count: watch::Receiver<u32>,
}

impl Interrupts {
    /// Catches SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(crate) fn catch() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // A handler, once set, stays: what is too large then fails as a full disk does, and the
        // process lives on.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let (sender, count) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                sender.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { count })
    }

    /// Waits until there were this many.
    pub(crate) async fn reach(&mut self, wanted: u32) {
        if self.count.wait_for(|count| *count >= wanted).await.is_err() {
            // The runtime ends, and with it whoever waits.
            std::future::pending().await
        }
    }

    /// Whether there was one.
    pub(crate) fn is_any(&self) -> bool {
        *self.count.borrow() > 0
    }
}

/// Ends the process here and now, as `kill -9` would: whatever is complete stays.
pub(crate) async fn exit_at_once(screen: &Arc<Screen>, exit: Exit) -> ! {
    let text = "stopped at once; the next run goes on from the last checkpoint";
    screen.print_within_a_moment(text.to_owned()).await;
    process::exit(i32::from(exit as u8))
}
