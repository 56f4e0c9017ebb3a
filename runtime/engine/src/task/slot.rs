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

impl Slot {
    fn start(number: usize) -> std::io::Result<Self> {
        let (tasks, mut queue) = mpsc::unbounded_channel::<Task>();
        let (built, is_built) = std::sync::mpsc::sync_channel(1);
        let name = format!("slot-{number}");
        // The scheduler is made on its thread: it must not be dropped by who asks for it, who may
        // be in a scheduler of his own.
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = built.send(Err(error));
                    return;
                }
            };
            let _ = built.send(Ok(()));
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                while let Some(task) = queue.recv().await {
                    tokio::task::spawn_local(task());
                }
            });
        })?;
        is_built.recv().map_err(std::io::Error::other)??;
        Ok(Self { tasks, thread })
    }
}

impl Slots {
    /// Starts threads up to this many.
    ///
    /// # Errors
    /// The system refuses a thread, or what its scheduler needs.
    pub(crate) fn ensure(&mut self, count: usize) -> std::io::Result<()> {
        while self.threads.len() < count {
            let slot = Slot::start(self.threads.len())?;
            self.threads.push(slot);
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
