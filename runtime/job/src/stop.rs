//! What an interrupt of a running job leads to: its last checkpoint, and then its end.
//!
//! On a terminal the first interrupt stops the job with a savepoint and the second one at once. On
//! a cluster the process has a grace period, and whatever is complete when that is over counts.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::job_config::OnTerminate;
use tidegate_protocol::StopMode;

use crate::command::{Ask, CommandError, Commands};
use crate::error::Exit;
use crate::output::Screen;
use crate::signals::{Interrupts, exit_at_once};

/// How long the last checkpoint may take on a cluster, where a pod has 30 s unless told otherwise.
const LAST_CHECKPOINT_LIMIT: Duration = Duration::from_secs(20);

/// Stops the job as asked. Aborted when the job is over.
pub(crate) async fn stop_at_interrupt(
    mut interrupts: Interrupts,
    commands: Commands,
    screen: Arc<Screen>,
    (on_terminate, is_bounded): (OnTerminate, bool),
) {
    interrupts.reach(1).await;
    let (mode, what) = match on_terminate {
        OnTerminate::Savepoint => (StopMode::Savepoint, "savepoint"),
        OnTerminate::Checkpoint => (StopMode::Checkpoint, "checkpoint"),
    };
    let told = format!("interrupted: stops with a {what}; interrupt again to stop at once");
    screen.print_within_a_moment(told).await;
    let asking = {
        let screen = Arc::clone(&screen);
        async move {
            if let Err(CommandError::Refused { reason }) = commands.ask(Ask::Stop { mode }).await {
                let told = format!(
                    "the {what} failed: {reason}; interrupt again to stop without one, the next \
                     run then goes on from the last checkpoint"
                );
                screen.print_within_a_moment(told).await;
                return;
            }
            // The job ends, and this task with it.
            std::future::pending().await
        }
    };
    if is_bounded {
        let _ = tokio::time::timeout(LAST_CHECKPOINT_LIMIT, asking).await;
        exit_at_once(&screen, Exit::Done).await;
    }
    let stopping = tokio::spawn(asking);
    interrupts.reach(2).await;
    stopping.abort();
    exit_at_once(&screen, Exit::Interrupted).await;
}
