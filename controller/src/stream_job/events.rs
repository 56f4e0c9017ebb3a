//! What happened between two statuses, told once.

use tidegate_api::status::{
    Condition, ConditionStatus, ConditionType, Reason, StreamJobStatus, UpgradePhase,
};

use crate::plan::{EventNote, EventReason};

/// The events that lead from one status to the next.
pub(super) fn events(before: Option<&StreamJobStatus>, now: &StreamJobStatus) -> Vec<EventNote> {
    let mut notes = Vec::new();
    let upgrade = upgrade(before, now);
    for condition in &now.conditions {
        let old = before.and_then(|before| before.condition(condition.type_));
        if is_told(old, condition) && !is_repeated(upgrade.as_ref(), condition) {
            notes.push(EventNote {
                is_warning: is_warning(condition),
                reason: EventReason::Condition(condition.reason),
                message: condition.message.clone(),
            });
        }
    }
    notes.extend(upgrade);
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
        // An upgrade's steps are told as such; what keeps it from being made or finished is not.
        ConditionType::UpToDate => {
            let is_failure = matches!(
                new.reason,
                Reason::CheckpointMissing | Reason::UpgradeRefused | Reason::RolledBack
            );
            is_changed && is_failure && new.status == ConditionStatus::False
        }
    }
}

/// Whether the upgrade's own event tells already what the condition would.
fn is_repeated(upgrade: Option<&EventNote>, condition: &Condition) -> bool {
    let is_outcome = matches!(
        condition.reason,
        Reason::UpgradeRefused | Reason::RolledBack
    );
    is_outcome && upgrade.is_some_and(|upgrade| upgrade.is_warning)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Of a job that is up to date or not, with an upgrade in this phase.
    fn status(reason: &str, phase: Option<&str>) -> StreamJobStatus {
        let is_up_to_date = if reason == "Stable" { "True" } else { "False" };
        let condition = json!({
            "type": "UpToDate", "status": is_up_to_date, "reason": reason,
            "message": "the condition", "lastTransitionTime": "2026-11-24T12:00:00Z",
        });
        let upgrade = phase.map(|phase| {
            json!({
                "phase": phase, "requestedMode": "Savepoint", "message": "the upgrade",
                "fromRevision": "aaaaaaaa", "toRevision": "bbbbbbbb",
                "startedTime": "2026-11-24T12:00:00Z",
            })
        });
        let status = json!({"conditions": [condition], "upgrade": upgrade});
        serde_json::from_value(status).unwrap()
    }

    fn told(before: &StreamJobStatus, now: &StreamJobStatus) -> Vec<(bool, &'static str)> {
        let notes = events(Some(before), now).into_iter();
        notes
            .map(|note| (note.is_warning, note.reason.as_str()))
            .collect()
    }

    #[test]
    fn an_upgrade_that_cannot_take_over_is_told_as_soon_as_that_is_seen() {
        let coming = status("UpgradeInProgress", Some("Preparing"));
        let stuck = status("UpgradeRefused", Some("Preparing"));
        assert_eq!(told(&coming, &stuck), [(true, "UpgradeRefused")]);
        assert_eq!(told(&stuck, &stuck), []);
        let given_up = status("UpgradeRefused", Some("Refused"));
        assert_eq!(told(&stuck, &given_up), [(true, "Upgrade")]);
        assert_eq!(told(&given_up, &given_up), []);
    }

    #[test]
    fn what_the_upgrade_tells_is_not_told_twice() {
        let coming = status("UpgradeInProgress", Some("Preparing"));
        let refused = status("UpgradeRefused", Some("Refused"));
        assert_eq!(told(&coming, &refused), [(true, "Upgrade")]);
        let proving = status("UpgradeProving", Some("Proving"));
        let back = status("RolledBack", Some("RolledBack"));
        assert_eq!(told(&proving, &back), [(true, "Upgrade")]);
    }

    #[test]
    fn an_upgrade_that_begins_in_trouble_is_told_with_the_trouble() {
        let stable = status("Stable", None);
        let stuck = status("UpgradeRefused", Some("Preparing"));
        let expected = [(true, "UpgradeRefused"), (false, "Upgrade")];
        assert_eq!(told(&stable, &stuck), expected);
    }

    #[test]
    fn what_holds_an_upgrade_up_is_told_when_no_upgrade_is_reported() {
        let stable = status("Stable", None);
        for reason in ["CheckpointMissing", "UpgradeRefused", "RolledBack"] {
            let held_up = status(reason, None);
            assert_eq!(told(&stable, &held_up), [(true, reason)]);
            assert_eq!(told(&held_up, &stable), [], "it is told by what follows");
        }
    }

    #[test]
    fn an_upgrade_that_goes_well_is_told_by_its_steps_alone() {
        let stable = status("Stable", None);
        let coming = status("UpgradeInProgress", Some("Preparing"));
        let proving = status("UpgradeProving", Some("Proving"));
        let complete = status("Stable", Some("Complete"));
        for (before, now) in [
            (&stable, &coming),
            (&coming, &proving),
            (&proving, &complete),
        ] {
            assert_eq!(told(before, now), [(false, "Upgrade")]);
        }
    }
}
