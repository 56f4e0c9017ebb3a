//! What happened between two statuses, told once.

use tidegate_api::status::{
    Condition, ConditionStatus, ConditionType, Reason, StreamJobStatus, UpgradePhase,
};

use crate::plan::{EventNote, EventReason};

/// The events that lead from one status to the next.
pub(super) fn events(before: Option<&StreamJobStatus>, now: &StreamJobStatus) -> Vec<EventNote> {
    let mut notes = Vec::new();
    for condition in &now.conditions {
        let old = before.and_then(|before| before.condition(condition.type_));
        if is_told(old, condition) {
            notes.push(EventNote {
                is_warning: is_warning(condition),
                reason: EventReason::Condition(condition.reason),
                message: condition.message.clone(),
            });
        }
    }
    notes.extend(upgrade(before, now));
    notes.extend(failure(before, now));
    notes
}

/// A failure that the job may have survived already; of a condition that it has led to, the event
/// is told besides.
fn failure(before: Option<&StreamJobStatus>, now: &StreamJobStatus) -> Option<EventNote> {
    let new = now.last_failure.as_ref()?;
    let old = before.and_then(|before| before.last_failure.as_ref());
    (old != Some(new)).then(|| EventNote {
        is_warning: true,
        reason: EventReason::Condition(new.reason),
        message: new.message.clone(),
    })
}

/// A condition is told when its status or its reason changes, and at first only if it is bad.
fn is_told(old: Option<&Condition>, new: &Condition) -> bool {
    let is_changed = old.is_none_or(|old| old.reason != new.reason || old.status != new.status);
    let is_first = old.is_none();
    let is_good = new.status == ConditionStatus::True;
    let is_known = new.status != ConditionStatus::Unknown;
    match new.type_ {
        ConditionType::Ready => is_changed,
        ConditionType::Valid => is_changed && !(is_first && is_good),
        ConditionType::Checkpointing => is_changed && is_known && !(is_first && is_good),
        // An upgrade's steps are told as such.
        ConditionType::UpToDate => is_changed && new.reason == Reason::CheckpointMissing,
    }
}

fn is_warning(condition: &Condition) -> bool {
    match condition.reason {
        Reason::Running
        | Reason::Starting
        | Reason::Finished
        | Reason::Suspending
        | Reason::Suspended
        | Reason::Deleting
        | Reason::SpecValid
        | Reason::CheckpointsRecent
        | Reason::CheckpointsPeriodicOff
        | Reason::NoCheckpointYet
        | Reason::UpgradeInProgress
        | Reason::UpgradeProving
        | Reason::Stable => false,
        Reason::Restarting
        | Reason::SpecInvalid
        | Reason::RestartsExhausted
        | Reason::ProgramFailed
        | Reason::StorageUnavailable
        | Reason::BucketMissing
        | Reason::StorageDenied
        | Reason::StorageUnsuitable
        | Reason::CheckpointMissing
        | Reason::CheckpointUnreadable
        | Reason::StateIncompatible
        | Reason::ImagePullFailed
        | Reason::Unschedulable
        | Reason::PodRefused
        | Reason::PodNotStarting
        | Reason::OutOfMemory
        | Reason::CrashLoop
        | Reason::Unreachable
        | Reason::Fenced
        | Reason::CheckpointFailing
        | Reason::CheckpointOverdue
        | Reason::UpgradeRefused
        | Reason::RolledBack => true,
    }
}

fn upgrade(before: Option<&StreamJobStatus>, now: &StreamJobStatus) -> Option<EventNote> {
    let new = now.upgrade.as_ref()?;
    let old = before.and_then(|before| before.upgrade.as_ref());
    let is_same =
        old.is_some_and(|old| old.phase == new.phase && old.to_revision == new.to_revision);
    if is_same {
        return None;
    }
    let (from, to, why) = (&new.from_revision, &new.to_revision, &new.message);
    let message = match new.phase {
        UpgradePhase::Preparing => format!("revision {to} is brought up beside {from}"),
        UpgradePhase::HandingOver => format!("revision {to} is ready, and {from} stops"),
        UpgradePhase::Proving => {
            let mode = new.used_mode.unwrap_or(new.requested_mode);
            format!("revision {to} was let go, by {mode:?}: {why}")
        }
        UpgradePhase::Complete => format!("revision {to} is stable"),
        UpgradePhase::Refused => format!("revision {to} could not take over: {why}"),
        UpgradePhase::RolledBack => format!("revision {to} failed, and {from} runs again: {why}"),
    };
    let is_warning = matches!(new.phase, UpgradePhase::Refused | UpgradePhase::RolledBack);
    Some(EventNote {
        is_warning,
        reason: EventReason::Upgrade,
        message,
    })
}
