use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::*;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn printed(is_terminal: bool, events: &[JobEvent]) -> String {
    let shared = Shared::default();
    let screen = Arc::new(Screen::new(is_terminal, Box::new(shared.clone())));
    let mut printer = TextPrinter::new(screen);
    printer.print(&JobEvent::Started {
        namespace: "default".into(),
        name: "word-count".into(),
        folder: "tidegate-data/default/word-count".into(),
        parallelism: 2,
        address: None,
    });
    for event in events {
        printer.print(event);
    }
    String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
}

fn running() -> JobEvent {
    JobEvent::PhaseChanged {
        phase: PhaseView::new(Phase::Running, 0),
    }
}

fn progress() -> JobEvent {
    JobEvent::Progress {
        progress: ProgressView {
            records_read: 412_345,
            records_read_per_second: 31_024.4,
            state_keys: 12_543,
            state_bytes: 1_204_000,
            ..ProgressView::default()
        },
        last_checkpoint: None,
        restart_count: 1,
    }
}

#[test]
fn a_terminal_has_one_line_redrawn_below_the_others() {
    let failed = JobEvent::StoreUnavailable {
        reason: "no route".into(),
        failure_count: 2,
    };
    let text = printed(true, &[running(), progress(), failed]);
    let line = "word-count: 31,024 records/s, 412,345 read | no checkpoint yet | \
                state 12,543 keys, 1.20 MB | restarts 1";
    let line = format!("\x1b[?7l{line}\x1b[?7h");
    let said = "word-count: the checkpoint log cannot be reached (2 in a row): no route\n";
    assert!(
        text.ends_with(&format!("\r\x1b[2K{line}\r\x1b[2K{said}{line}")),
        "{text:?}"
    );
}

#[test]
fn without_a_terminal_progress_is_not_printed_every_second() {
    let text = printed(false, &[running(), progress(), progress()]);
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_failure_names_operator_and_message_once() {
    let failure = FailureView {
        category: "ProgramFailed".to_owned(),
        time_ms: 0,
        operator: Some("count".into()),
        subtask: Some("1/0".into()),
        message: "panicked: no more".into(),
        is_permanent: false,
    };
    let backing_off = PhaseView {
        reason: Some("operator `count`, subtask 1/0: panicked: no more".into()),
        restart_ms: Some(0),
        ..PhaseView::new(Phase::BackingOff, 1)
    };
    let events = [
        JobEvent::AttemptFailed { failure },
        JobEvent::PhaseChanged { phase: backing_off },
    ];
    let text = printed(false, &events);
    assert!(
        text.contains("failed in operator `count`, subtask 1/0: panicked: no more\n"),
        "{text}"
    );
    assert!(
        text.contains("restart 1 from the last checkpoint in 0 ms\n"),
        "{text}"
    );
    assert_eq!(text.matches("no more").count(), 1, "{text}");
}

#[test]
fn the_end_names_where_the_result_lies() {
    let ended = JobEvent::Ended {
        category: None,
        phase: Phase::Finished,
        reason: None,
        checkpoint: Some(4),
        results: vec![ResultView {
            sink: "counts".into(),
            location: "counts.txt".into(),
        }],
        progress: ProgressView::default(),
        duration_ms: 18_200,
    };
    let text = printed(false, &[ended]);
    assert!(text.contains("finished after 18.2 s"), "{text}");
    assert!(
        text.ends_with("the result of `counts` is in counts.txt\n"),
        "{text}"
    );
}

#[test]
fn the_end_tells_of_records_that_were_left_out() {
    let ended = |phase| JobEvent::Ended {
        phase,
        reason: None,
        category: None,
        checkpoint: None,
        results: Vec::new(),
        progress: ProgressView {
            records_read: 4,
            skipped_records: 3,
            late_records: 1,
            ..ProgressView::default()
        },
        duration_ms: 168,
    };
    let text = printed(false, &[ended(Phase::Finished)]);
    let line = "word-count: finished after 168 ms, 4 records read | skipped 3 | late 1\n";
    assert!(text.ends_with(line), "{text}");
    let text = printed(false, &[ended(Phase::Stopped)]);
    let line = "word-count: stopped after 168 ms | skipped 3 | late 1; the next run starts";
    assert!(text.contains(line), "{text}");
}
