//! Interrupts: the first one stops the job with a savepoint, the second one at once.

use std::process;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command::{Ask, CommandError, Commands};
use crate::error::Exit;
use crate::output::Screen;

/// SIGINT and SIGTERM, caught from now on.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches both.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Stops the job as asked. Never returns; aborted when the job is over.
    pub(crate) async fn stop_job(mut self, commands: Commands, screen: Arc<Screen>) {
        self.next().await;
        screen.print("interrupted: stops with a savepoint; interrupt again to stop at once");
        let stop = Ask::Stop {
            is_immediate: false,
        };
        let stopping = tokio::spawn({
            let screen = Arc::clone(&screen);
            async move {
                if let Err(CommandError::Refused { reason }) = commands.ask(stop).await {
                    screen.print(&format!(
                        "the savepoint failed: {reason}; interrupt again to stop without one, the \
                         next run then goes on from the last checkpoint"
                    ));
                }
            }
        });
        self.next().await;
        stopping.abort();
        exit_at_once(&screen);
    }
}

/// Ends the process here and now, as `kill -9` would: whatever is complete stays.
pub(crate) fn exit_at_once(screen: &Screen) -> ! {
    screen.print("stopped at once; the next run goes on from the last checkpoint");
    process::exit(i32::from(Exit::Interrupted as u8))
}
