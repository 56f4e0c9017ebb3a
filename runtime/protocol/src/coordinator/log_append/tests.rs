use super::*;
use crate::{Action, Base, EntryBody};

fn number(value: u64) -> LogNumber {
    LogNumber::new(value).unwrap()
}

/// An append of entry 5 under way.
struct Script {
    append: LogAppend,
    out: Outbox,
    now_ms: i64,
}

impl Script {
    fn begin() -> Self {
        let mut out = Outbox::new(7);
        let body = EntryBody::Fence {
            created_ms: 0,
            writer: "test".to_owned(),
            base: Base::Empty,
        };
        let entry = out.new_entry(number(5), Vec::new(), 0, body);
        let append = LogAppend::begin(entry, Some(number(4)), &mut out);
        Self {
            append,
            out,
            now_ms: 0,
        }
    }

    /// The one action since the last call.
    fn asked(&mut self) -> Action {
        let mut actions = self.out.take();
        assert_eq!(actions.len(), 1, "{actions:?}");
        actions.remove(0)
    }

    fn appended(&mut self, outcome: AppendOutcome) -> AppendProgress {
        let Action::Append { request, entry } = self.asked() else {
            panic!("no append is awaited");
        };
        assert_eq!(entry.number, number(5));
        self.append
            .on_appended(self.now_ms, request, outcome, &mut self.out)
    }

    fn unknown(&mut self) -> AppendProgress {
        self.appended(AppendOutcome::Unknown {
            reason: "timeout".to_owned(),
        })
    }

    fn read(&mut self, found: Result<Option<Box<Entry>>, String>) -> AppendProgress {
        let Action::ReadEntry {
            request,
            number: asked,
        } = self.asked()
        else {
            panic!("no read is awaited");
        };
        assert_eq!(asked, number(5));
        self.append
            .on_read(self.now_ms, request, found, &mut self.out)
    }

    fn listed(&mut self, numbers: &[u64]) -> AppendProgress {
        let Action::ListLog { request } = self.asked() else {
            panic!("no listing is awaited");
        };
        let numbers = numbers.iter().copied().map(number).collect();
        self.append.on_listed(self.now_ms, request, Ok(numbers))
    }

    /// Waits until the next try.
    fn wait(&mut self) -> i64 {
        let due_ms = self.append.due_ms().unwrap();
        let waited_ms = due_ms - self.now_ms;
        self.now_ms = due_ms;
        self.append.on_time(due_ms, &mut self.out);
        waited_ms
    }

    fn own(&self) -> Box<Entry> {
        Box::new(self.append.entry.clone())
    }

    fn others(&self) -> Box<Entry> {
        let mut entry = self.own();
        entry.nonce += 1;
        entry
    }
}

#[test]
fn a_created_entry_counts_only_after_a_listing_shows_nothing_higher() {
    let mut script = Script::begin();
    assert_eq!(
        script.appended(AppendOutcome::Created),
        AppendProgress::Waiting
    );
    let numbers = vec![number(4), number(5)];
    assert_eq!(script.listed(&[4, 5]), AppendProgress::Counted { numbers });
}

#[test]
fn a_created_entry_below_another_has_lost() {
    let mut script = Script::begin();
    script.appended(AppendOutcome::Created);
    assert_eq!(
        script.listed(&[4, 5, 9]),
        AppendProgress::Lost { by: number(9) }
    );
}

#[test]
fn an_unknown_outcome_is_read_again_and_the_own_entry_is_known_by_its_nonce() {
    let mut script = Script::begin();
    assert!(matches!(
        script.unknown(),
        AppendProgress::Unavailable {
            failure_count: 1,
            ..
        }
    ));
    script.wait();
    let own = script.own();
    assert_eq!(script.read(Ok(Some(own))), AppendProgress::Waiting);
    assert!(matches!(
        script.listed(&[4, 5]),
        AppendProgress::Counted { .. }
    ));
}

#[test]
fn an_unknown_outcome_under_which_another_entry_stands_has_lost() {
    let mut script = Script::begin();
    script.unknown();
    script.wait();
    let others = script.others();
    assert_eq!(
        script.read(Ok(Some(others))),
        AppendProgress::Lost { by: number(5) }
    );
}

#[test]
fn an_unknown_outcome_with_nothing_there_puts_the_same_entry_again() {
    let mut script = Script::begin();
    let nonce = script.own().nonce;
    script.unknown();
    script.wait();
    assert_eq!(script.read(Ok(None)), AppendProgress::Waiting);
    assert_eq!(script.own().nonce, nonce);
    // The first put was late and is there now: the store says so, and the nonce tells whose it is.
    assert_eq!(
        script.appended(AppendOutcome::Taken),
        AppendProgress::Waiting
    );
    let own = script.own();
    script.read(Ok(Some(own)));
    assert!(matches!(
        script.listed(&[4, 5]),
        AppendProgress::Counted { .. }
    ));
}

#[test]
fn a_store_that_is_down_is_asked_at_growing_intervals_up_to_a_bound() {
    let mut script = Script::begin();
    script.unknown();
    let mut waits = Vec::new();
    let mut tries = 1;
    let last = loop {
        waits.push(script.wait());
        tries += 1;
        match script.read(Err("503".to_owned())) {
            AppendProgress::Unavailable { .. } => {}
            last => break last,
        }
    };
    assert_eq!(waits[..4], [100, 200, 400, 800]);
    assert!(waits.iter().all(|wait| *wait <= 30_000));
    assert_eq!(tries, MAX_TRIES);
    assert!(matches!(last, AppendProgress::GaveUp { .. }));
}

#[test]
fn a_listing_that_lacks_the_created_entry_does_not_count() {
    let mut script = Script::begin();
    script.appended(AppendOutcome::Created);
    let AppendProgress::Unavailable { reason, .. } = script.listed(&[4]) else {
        panic!("the entry counted");
    };
    assert!(reason.contains("lacks entry 5"), "{reason}");
}

#[test]
fn an_answer_to_an_earlier_request_is_ignored() {
    let mut script = Script::begin();
    let progress = script.append.on_listed(0, 99, Ok(vec![number(5)]));
    assert_eq!(progress, AppendProgress::Waiting);
    script.unknown();
    let own = script.own();
    let progress = script.append.on_read(0, 1, Ok(Some(own)), &mut script.out);
    assert_eq!(progress, AppendProgress::Waiting);
}

#[test]
fn an_entry_that_follows_nothing_any_more_does_not_count() {
    let mut script = Script::begin();
    script.appended(AppendOutcome::Created);
    assert_eq!(script.listed(&[5]), AppendProgress::Lost { by: number(5) });
}
