//! A user's pod template merged into ours, as Kubernetes' strategic merge does it: objects member
//! by member, lists of named things by name, other lists as a whole.

use serde_json::{Map, Value};

/// The lists that are merged entry by entry, and the members by which entries are the same. A
/// mount is the same by its path, as Kubernetes has it, a port by its number.
const KEYS: &[(&str, &str)] = &[
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("ports", "containerPort"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
];

/// Puts `over` onto `base`. A null removes a member.
pub(super) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => merge_members(base, over),
        (base, over) => *base = over,
    }
}

fn merge_members(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        if value.is_null() {
            base.remove(&name);
            continue;
        }
        let key = KEYS.iter().find(|(list, _)| *list == name);
        match (base.get_mut(&name), key) {
            (Some(Value::Array(entries)), Some((_, key))) if value.is_array() => {
                merge_entries(entries, value, key);
            }
            (Some(existing), _) if !is_replaced(existing, &value) => merge(existing, value),
            _ => {
                base.insert(name, without_nulls(value));
            }
        }
    }
}

fn merge_entries(entries: &mut Vec<Value>, over: Value, key: &str) {
    let Value::Array(over) = over else { return };
    for entry in over {
        let is_same =
            |other: &&mut Value| entry.get(key).is_some() && other.get(key) == entry.get(key);
        match entries.iter_mut().find(is_same) {
            Some(existing) if !is_replaced(existing, &entry) => merge(existing, entry),
            Some(existing) => *existing = without_nulls(entry),
            None => entries.push(without_nulls(entry)),
        }
    }
}

/// Of some objects one member alone may be given: one of another kind takes the whole's place.
fn is_replaced(existing: &Value, over: &Value) -> bool {
    const UNIONS: &[&[&str]] = &[
        &["httpGet", "exec", "tcpSocket", "grpc"],
        &["value", "valueFrom"],
        &[
            "emptyDir",
            "secret",
            "configMap",
            "persistentVolumeClaim",
            "projected",
            "csi",
            "ephemeral",
        ],
    ];
    UNIONS.iter().any(|kinds| {
        let kind = |value: &Value| {
            kinds
                .iter()
                .find(|kind| value.get(**kind).is_some())
                .copied()
        };
        matches!((kind(existing), kind(over)), (Some(a), Some(b)) if a != b)
    })
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(name, value)| (name, without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(entries) => Value::Array(entries.into_iter().map(without_nulls).collect()),
        plain => plain,
    }
}
