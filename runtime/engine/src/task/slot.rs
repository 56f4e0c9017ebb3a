//! Compute threads: one a slot, each with a scheduler of its own, so that a subtask never moves.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::mpsc;

/// A task, made on the thread that runs it.
pub(crate) type Task = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The compute threads of a worker. They start as they are first needed.
#[derive(Default)]
pub(crate) struct Slots {
    threads: Vec<Slot>,
}

struct Slot {
    tasks: mpsc::UnboundedSender<Task>,
    thread: std::thread::JoinHandle<()>,
}

impl Slots {
    /// Starts threads up to this many.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn ensure(&mut self, count: usize) -> std::io::Result<()> {
        while self.threads.len() < count {
            let (tasks, mut queue) = mpsc::unbounded_channel::<Task>();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?;
            let name = format!("slot-{}", self.threads.len());
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async move {
                    while let Some(task) = queue.recv().await {
                        tokio::task::spawn_local(task());
                    }
                });
            })?;
            self.threads.push(Slot { tasks, thread });
        }
        Ok(())
    }

    /// Runs a task on a slot's thread, which [`Slots::ensure`] has started.
    pub(crate) fn spawn(&self, slot: usize, task: Task) {
        // A thread ends only with `join`, after which nothing is spawned.
        let _ = self.threads[slot % self.threads.len()].tasks.send(task);
    }

    /// Ends the threads once each is between two steps of its tasks.
    pub(crate) fn join(self) {
        let handles: Vec<_> = self
            .threads
            .into_iter()
            .map(|slot| {
                drop(slot.tasks);
                slot.thread
            })
            .collect();
        for handle in handles {
            let _ = handle.join();
        }
    }
}
