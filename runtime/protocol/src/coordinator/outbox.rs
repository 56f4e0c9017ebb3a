//! Actions on their way out, with the numbers that make answers and entries recognisable.

use crate::{Action, Entry, EntryBody, FORMAT_VERSION, LogNumber, ToWorker, WorkerId};

/// Collects what one event leads to.
#[derive(Debug)]
pub(super) struct Outbox {
    actions: Vec<Action>,
    request: u64,
    nonce_seed: u64,
    nonce_count: u64,
}

impl Outbox {
    pub(super) fn new(nonce_seed: u64) -> Self {
        Self {
            actions: Vec::new(),
            request: 0,
            nonce_seed,
            nonce_count: 0,
        }
    }

    pub(super) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn send(&mut self, worker: WorkerId, message: ToWorker) {
        self.push(Action::Send { worker, message });
    }

    /// A number that no other action of this coordinator has.
    pub(super) fn next_request(&mut self) -> u64 {
        self.request += 1;
        self.request
    }

    pub(super) fn list_log(&mut self) -> u64 {
        let request = self.next_request();
        self.push(Action::ListLog { request });
        request
    }

    pub(super) fn read_entry(&mut self, number: LogNumber) -> u64 {
        let request = self.next_request();
        self.push(Action::ReadEntry { request, number });
        request
    }

    pub(super) fn append(&mut self, entry: &Entry) -> u64 {
        let request = self.next_request();
        let entry = Box::new(entry.clone());
        self.push(Action::Append { request, entry });
        request
    }

    /// An entry of the current format with a nonce of its own.
    pub(super) fn new_entry(
        &mut self,
        number: LogNumber,
        retained: Vec<LogNumber>,
        start_generation: u64,
        body: EntryBody,
    ) -> Entry {
        self.nonce_count += 1;
        let count = self.nonce_count.to_le_bytes();
        Entry {
            format: FORMAT_VERSION,
            number,
            nonce: crate::hash_key_with_seed(&count, self.nonce_seed),
            retained,
            start_generation,
            greatest_checkpoint: 0,
            body,
        }
    }
}
