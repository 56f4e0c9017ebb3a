//! A stream job from what is known about it to what is done: pure, and the same whenever the facts
//! are.
//!
//! ```text
//! Observed ─▶ wanted ─▶ roles ─▶ decide ─┬─ live, standstill ─┐
//!             (valid?)  (who is           ├─ upgrade, prove    ├─▶ Plan
//!                        current?)        └─ deletion         ─┘    status, conditions, events
//! ```
//! Everything is derived from the Deployments, the pods and what their processes say.
//! `status.revision` and `status.upgrade` are the only memory; without them the job goes on from
//! its Deployments' annotations, and at worst an upgrade that had failed is tried once more.
//!
//! # Invariants
//! A plan may be cut short after any step, and made from facts that are out of date: the next one
//! leads to the same end. A revision is let go only when the one before it has stopped or was
//! waited for; what still runs then is fenced by the checkpoint log. A spec that cannot be run, or
//! cannot take over, stops nothing that runs. Tests: `simulation`.

mod conditions;
mod decide;
mod deletion;
mod draft;
mod events;
mod failure;
mod leftovers;
mod live;
mod mend;
mod old_revision;
mod prove;
mod roles;
mod standing;
mod standstill;
mod status;
mod upgrade;
mod wanted;

use tidegate_api::status::{ConditionType, Reason, StreamJobStatus};

pub use deletion::purge_pod_name;
pub(crate) use roles::indispensable;

use crate::observed::{Observed, RevisionFacts};
use crate::plan::{Decision, LookAgain, Plan};
use crate::settings::Settings;
use conditions::{ready, reported};
use draft::{Draft, Verdict};
use roles::Roles;
use status::Told;
use wanted::Wanted;

/// What is to be done about a stream job.
pub fn plan(observed: &Observed, settings: &Settings) -> Plan {
    if observed.job.metadata.deletion_timestamp.is_some() {
        return deleted(observed, settings);
    }
    match Wanted::of(observed, settings) {
        Ok(wanted) => living(observed, settings, &wanted),
        Err(errors) => refused(observed, &errors),
    }
}

/// A job that lives and whose spec makes sense.
fn living(observed: &Observed, settings: &Settings, wanted: &Wanted) -> Plan {
    let mut draft = Draft::new(observed, settings, wanted);
    decide::decide(&mut draft);
    draft.remove_leftovers();
    let roles = Roles::of(observed, Some(&wanted.revision));
    let ready = draft
        .ready
        .take()
        .unwrap_or_else(|| ready(observed, roles.current));
    let told = Told {
        current: roles.current,
        revision: draft.revision,
        upgrade: draft.upgrade,
        ready,
        valid: Verdict::yes(Reason::SpecValid, "the spec can be run"),
        up_to_date: draft.up_to_date,
    };
    let plan = Plan {
        decision: draft.decision,
        finalizer: true,
        apply: draft.apply,
        ask: draft.ask,
        delete: draft.delete,
        status: StreamJobStatus::default(),
        status_is_mirror_only: false,
        events: draft.events,
        look_again: draft.look_again,
    };
    report(observed, plan, told)
}

/// A spec that cannot be run: it is said so, and what runs stays untouched.
fn refused(observed: &Observed, errors: &[String]) -> Plan {
    let roles = Roles::of(observed, None);
    let message = errors.join("; ");
    let mut told = unchanged(observed, roles.current);
    told.valid = Verdict::no(Reason::SpecInvalid, message.clone());
    if observed.revisions.is_empty() {
        told.ready = Verdict::no(Reason::SpecInvalid, message);
    }
    let mut plan = Plan {
        decision: Decision::RefuseSpec,
        finalizer: true,
        apply: Vec::new(),
        ask: Vec::new(),
        delete: Vec::new(),
        status: StreamJobStatus::default(),
        status_is_mirror_only: false,
        events: Vec::new(),
        // What runs is still reported.
        look_again: match observed.revisions.is_empty() {
            true => LookAgain::OnChange,
            false => LookAgain::Later,
        },
    };
    if let Some(current) = roles.current {
        standstill::go_on(observed, current, &mut plan);
    }
    report(observed, plan, told)
}

/// A job that is being deleted.
fn deleted(observed: &Observed, settings: &Settings) -> Plan {
    let farewell = deletion::farewell(observed, settings);
    let roles = Roles::of(observed, None);
    let mut told = unchanged(observed, roles.current);
    told.ready = Verdict::no(Reason::Deleting, farewell.message.clone());
    let plan = Plan {
        decision: farewell.decision,
        finalizer: farewell.finalizer,
        apply: farewell.apply,
        ask: farewell.ask,
        delete: Vec::new(),
        status: StreamJobStatus::default(),
        status_is_mirror_only: false,
        events: farewell.events,
        look_again: match farewell.finalizer {
            true => LookAgain::Soon,
            false => LookAgain::OnChange,
        },
    };
    report(observed, plan, told)
}

/// What is told of a job about whose revisions nothing is decided.
fn unchanged<'a>(observed: &Observed, current: Option<&'a RevisionFacts>) -> Told<'a> {
    let before = observed.job.status.as_ref();
    let told_before = |type_| reported(before, type_);
    let unknown = || Verdict::unknown(Reason::Starting, "the job has not run yet");
    Told {
        current,
        revision: before.and_then(|before| before.revision.clone()),
        upgrade: before.and_then(|before| before.upgrade.clone()),
        ready: ready(observed, current),
        valid: told_before(ConditionType::Valid).unwrap_or_else(unknown),
        up_to_date: told_before(ConditionType::UpToDate).unwrap_or_else(unknown),
    }
}

fn report(observed: &Observed, mut plan: Plan, told: Told<'_>) -> Plan {
    let before = observed.job.status.as_ref();
    plan.status = status::status(observed, told);
    plan.status_is_mirror_only = status::is_mirror_only(before, &plan.status);
    plan.events.extend(events::events(before, &plan.status));
    plan
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
