//! Events: what happened to a job or a checkpoint, for `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::api::ObjectMeta;

use crate::client::Writer;
use crate::plan::{EventNote, EventReason};

/// The name under which events are reported.
const REPORTER: &str = "tidegate.dev/controller";
/// What Kubernetes allows a note to have.
const NOTE_BYTES_MAX: usize = 1024;
/// The action that every event is about.
const ACTION: &str = "Reconcile";

impl EventReason {
    /// The word in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Condition(reason) => reason.as_str(),
            Self::RevisionCreated => "RevisionCreated",
            Self::Upgrade => "Upgrade",
            Self::Changed => "Changed",
            Self::FilesLeft => "FilesLeft",
            Self::FilesRemoved => "FilesRemoved",
            Self::SavepointTaken => "SavepointTaken",
            Self::SavepointFailed => "SavepointFailed",
        }
    }
}

/// Tells of what happened to `object`. An event that cannot be told is logged and lost: nothing
/// depends on one.
pub async fn tell<K>(writer: &Writer, identity: &str, object: &K, notes: &[EventNote])
where
    K: Resource<DynamicType = ()>,
{
    for note in notes {
        let event = event(identity, object.object_ref(&()), note, Timestamp::now());
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        if let Err(error) = writer.create(&namespace, &event).await {
            tracing::warn!(
                reason = note.reason.as_str(), message = note.message, %error,
                "an event could not be told"
            );
        }
    }
}

fn event(identity: &str, about: ObjectReference, note: &EventNote, now: Timestamp) -> Event {
    let type_ = if note.is_warning { "Warning" } else { "Normal" };
    let name = about.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            namespace: about.namespace.clone(),
            // As client-go names them: unique among the object's events.
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            ..ObjectMeta::default()
        },
        action: Some(ACTION.to_owned()),
        reason: Some(note.reason.as_str().to_owned()),
        note: Some(shortened(&note.message)),
        type_: Some(type_.to_owned()),
        event_time: Some(MicroTime(now)),
        regarding: Some(about),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(identity.to_owned()),
        ..Event::default()
    }
}

fn shortened(message: &str) -> String {
    let fits = |end: &usize| message.is_char_boundary(*end);
    let end = message.len().min(NOTE_BYTES_MAX);
    let end = (0..=end).rev().find(fits).unwrap_or_default();
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_what_the_api_server_asks_for() {
        let about = ObjectReference {
            namespace: Some("shop".to_owned()),
            name: Some("orders".to_owned()),
            ..ObjectReference::default()
        };
        let note = EventNote {
            is_warning: true,
            reason: EventReason::Upgrade,
            message: "ä".repeat(600),
        };
        let event = event("pod-1", about, &note, Timestamp::UNIX_EPOCH);
        assert_eq!(event.metadata.name.as_deref(), Some("orders.0"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.note.as_ref().map(String::len), Some(1024));
        assert_eq!(event.reporting_instance.as_deref(), Some("pod-1"));
    }
}
