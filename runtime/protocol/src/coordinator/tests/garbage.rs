//! Events that nobody asked for, in any order: no panic, and nothing after the end.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::script::*;
use crate::*;

fn any_message() -> impl Strategy<Value = FromWorker> {
    let parts = (1..5_u64, 1..5_u64, 0..3_u32, 0..3_u32, any::<bool>());
    (0..7, parts).prop_map(|(which, (attempt, id, chain, index, is_permanent))| {
        let attempt = Attempt::new(attempt).unwrap();
        let checkpoint = checkpoint_id(id);
        let reason = "some reason".to_owned();
        let subtask = SubtaskId {
            chain: ChainId(chain),
            index: SubtaskIndex(index),
        };
        match which {
            0 => FromWorker::Running { attempt },
            1 => FromWorker::Acknowledged {
                attempt,
                checkpoint,
                subtask,
                snapshot: Box::new(snapshot(["lines", "result", "odd"][index as usize], &[])),
            },
            2 => FromWorker::SnapshotFailed {
                attempt,
                checkpoint,
                subtask,
                reason,
            },
            3 => FromWorker::Ended { attempt, subtask },
            4 => FromWorker::Committed {
                attempt,
                checkpoint,
            },
            5 => FromWorker::Failed {
                attempt,
                subtask: Some(subtask),
                operator: None,
                message: reason,
                is_permanent: is_permanent && id == 1,
                category: FailureCategory::ProgramFailed,
            },
            _ => FromWorker::Cancelled { attempt },
        }
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    (0..12, any::<u64>(), 1..9_u64).prop_map(|(which, request, count)| match which {
        0..4 => Command::Savepoint {
            request,
            name: (count > 4).then(|| format!("named-{count}")),
        },
        4..6 => Command::Rescale {
            request,
            parallelism: Parallelism::new(count as u32).unwrap(),
        },
        6..9 => Command::Release {
            request,
            checkpoint: checkpoint_id(count),
        },
        9..11 => Command::Reconfigure {
            checkpoint_interval_ms: (count > 4).then_some(count),
            retained_checkpoints: count as u32 - 1,
        },
        _ => Command::Stop {
            request,
            mode: match count {
                0..4 => StopMode::Checkpoint,
                4..7 => StopMode::Savepoint,
                _ => StopMode::Immediate,
            },
        },
    })
}

fn any_log_answer() -> impl Strategy<Value = Event> {
    (0..4, 1..40_u64, 1..9_u64).prop_map(|(which, request, highest)| match which {
        0 => Event::LogListed {
            request,
            numbers: Ok((1..highest).map(number).collect()),
        },
        1 => Event::EntryRead {
            request,
            entry: Ok(None),
        },
        2 => Event::Appended {
            request,
            outcome: AppendOutcome::Taken,
        },
        _ => Event::GarbageCollected {
            request,
            result: Err("no".to_owned()),
        },
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let worker = || (1..4_u64).prop_map(worker_id);
    let joined = (worker(), 0..4_u32)
        .prop_map(|(worker, slot_count)| Event::WorkerJoined { worker, slot_count });
    let lost = worker().prop_map(|worker| Event::WorkerLost {
        worker,
        reason: "gone".to_owned(),
    });
    let said =
        (worker(), any_message()).prop_map(|(worker, message)| Event::Worker { worker, message });
    prop_oneof![
        1 => Just(Event::Start),
        4 => Just(Event::Tick),
        3 => joined,
        1 => lost,
        12 => said,
        2 => any_log_answer(),
        3 => any_command().prop_map(Event::Command),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_events_leads_to_a_panic_or_to_anything_after_the_end(
        events in proptest::collection::vec((0..3_000_i64, any_event()), 1..120),
    ) {
        let mut script = Script::started(config(), BTreeMap::new());
        for (wait_ms, event) in events {
            script.now_ms += wait_ms;
            script.event(event);
        }
        let is_end = |action: &Action| matches!(action, Action::Finish(_));
        let end_count = script.actions.iter().filter(|action| is_end(action)).count();
        prop_assert!(end_count <= 1);
        prop_assert!(end_count == 0 || script.actions.last().is_some_and(is_end));
    }
}
