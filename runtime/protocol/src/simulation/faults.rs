//! What goes wrong in a run, and how often. Each seed draws its own mixture, so that some runs have
//! one kind of trouble only and others everything at once.

use super::random::Random;

/// Chances per mille at each occasion.
#[derive(Debug, Default, Clone)]
pub(super) struct Faults {
    /// A put arrives long after it was answered as unknown.
    pub(super) late_put: u64,
    /// A put arrives once more, later.
    pub(super) duplicate_put: u64,
    /// A put is applied, and answered as unknown.
    pub(super) unknown_put: u64,
    /// A put never arrives, and is answered as unknown.
    pub(super) lost_put: u64,
    /// A listing or a read fails.
    pub(super) log_error: u64,
    /// An answer of the log takes long.
    pub(super) slow_log: u64,
    /// A process stands still for long.
    pub(super) sleep: u64,
    /// A process dies between two steps.
    pub(super) crash: u64,
    /// A worker is lost.
    pub(super) worker_loss: u64,
    /// A task fails.
    pub(super) task_failure: u64,
    /// A snapshot cannot be stored.
    pub(super) upload_failure: u64,
    /// A snapshot takes long.
    pub(super) slow_upload: u64,
    /// A collection stands still between two deletions.
    pub(super) slow_collector: u64,
    /// A worker does not drop its tasks when it is told to, and works on.
    pub(super) hang: u64,
    /// A process's clock is set, forth or back.
    pub(super) clock: u64,
    /// A person's tool fences the job to release a checkpoint.
    pub(super) tool: u64,
    /// Another process starts beside the one that runs.
    pub(super) rival: u64,
    /// Somebody gives a command.
    pub(super) user: u64,
}

impl Faults {
    pub(super) fn draw(random: &mut Random) -> Self {
        let mut rate = |rates: [u64; 2]| {
            if random.below(2) == 0 {
                0
            } else {
                rates[random.index(2)]
            }
        };
        Self {
            late_put: rate([50, 250]),
            duplicate_put: rate([50, 250]),
            unknown_put: rate([50, 250]),
            lost_put: rate([50, 250]),
            log_error: rate([20, 200]),
            slow_log: rate([20, 150]),
            sleep: rate([3, 15]),
            crash: rate([1, 8]),
            worker_loss: rate([1, 4]),
            task_failure: rate([1, 4]),
            upload_failure: rate([10, 50]),
            slow_upload: rate([20, 100]),
            slow_collector: rate([50, 200]),
            hang: rate([20, 200]),
            clock: rate([2, 10]),
            tool: rate([20, 100]),
            rival: rate([100, 400]),
            user: rate([200, 600]),
        }
    }
}
