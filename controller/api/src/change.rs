//! What a change of a spec asks for: nothing, a word to the running job, a rescale, a new revision,
//! or a refusal. And a revision's name, which follows from the fields that need a redeploy.
//!
//! ```text
//! spec ── normalized ──┬── classify(old, new) ──▶ Changes   each field that differs, its class
//!                      └── revision ───────────▶ 8 digits  over the fields of class Redeploy
//! ```
//! Both see a spec in one normal form, in which defaults that are written out, the order of members
//! and another spelling of the same quantity make no difference.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::rules;
use crate::spec::{Quantity, StreamJobSpec};

/// What a change asks for; the greatest of several decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeClass {
    /// Nothing differs.
    None,
    /// The controller or the running job takes it over; nothing restarts.
    Live,
    /// The job restarts its subtasks at another parallelism; its revision stays.
    Rescale,
    /// A new revision takes over.
    Redeploy,
    /// It cannot be done to a job that exists.
    Refused,
}

impl ChangeClass {
    /// The word, as it stands in messages and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Live => "Live",
            Self::Rescale => "Rescale",
            Self::Redeploy => "Redeploy",
            Self::Refused => "Refused",
        }
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The field, as in `spec.program.args`: the innermost object member that differs.
    pub path: String,
    /// What it asks for.
    pub class: ChangeClass,
    /// What to do instead, for a refused one.
    pub remedy: Option<&'static str>,
}

/// All fields that differ, ordered by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(pub Vec<Change>);

impl Changes {
    /// The class of the whole: the greatest of its fields'.
    pub fn class(&self) -> ChangeClass {
        let classes = self.0.iter().map(|change| change.class);
        classes.max().unwrap_or(ChangeClass::None)
    }

    /// Those that cannot be done.
    pub fn refused(&self) -> impl Iterator<Item = &Change> {
        let is_refused = |change: &&Change| change.class == ChangeClass::Refused;
        self.0.iter().filter(is_refused)
    }
}

/// The fields by class, the greatest first, as in `Redeploy: spec.program.args; Live:
/// spec.logLevel`.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_class: BTreeMap<ChangeClass, Vec<&str>> = BTreeMap::new();
        for change in &self.0 {
            let paths = by_class.entry(change.class).or_default();
            paths.push(&change.path);
        }
        if by_class.is_empty() {
            return f.write_str(ChangeClass::None.as_str());
        }
        for (index, (class, paths)) in by_class.iter().rev().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", class.as_str(), paths.join(", "))?;
        }
        Ok(())
    }
}

/// The class of each field; what is not listed, a field's members included, takes its parent's.
///
/// The job API changes the interval, the number of retained checkpoints and the log level of a
/// running job. What else a job process is told when it starts needs a new one. The rest concerns
/// the controller alone.
const CLASSES: &[(&str, ChangeClass)] = &[
    ("spec", ChangeClass::Redeploy),
    ("spec.parallelism", ChangeClass::Rescale),
    ("spec.maxParallelism", ChangeClass::Refused),
    ("spec.checkpoint.intervalSeconds", ChangeClass::Live),
    ("spec.checkpoint.intervalMilliseconds", ChangeClass::Live),
    ("spec.checkpoint.retention.count", ChangeClass::Live),
    ("spec.upgrade", ChangeClass::Live),
    ("spec.deletionPolicy", ChangeClass::Live),
    ("spec.suspend", ChangeClass::Live),
    ("spec.logLevel", ChangeClass::Live),
];

/// What lies between two specs of one job.
///
/// Whether a storage may move is not decided here but by the API server, which knows whether there
/// is state to leave behind.
pub fn classify(old: &StreamJobSpec, new: &StreamJobSpec) -> Changes {
    let mut changes = Vec::new();
    differences("spec", &normalized(old), &normalized(new), &mut changes);
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Changes(changes)
}

/// The name of the revision that a spec asks for: 8 hexadecimal digits, the same on every machine
/// and in every version.
///
/// It is the lower half of XXH3 over the normal form of the fields of class Redeploy or Refused,
/// so specs have the same revision when nothing but live and rescale fields differs. A field that
/// has its default is left out: a new version's further fields rename no revision.
pub fn revision(spec: &StreamJobSpec) -> String {
    let mut fields = without_defaults(normalized(spec), &normalized(&StreamJobSpec::default()));
    remove_hot_fields("spec", &mut fields);
    let mut text = String::new();
    write_canonical(&fields, &mut text);
    format!("{:08x}", xxh3_64(text.as_bytes()) & 0xffff_ffff)
}

/// The class of a field, from the longest listed path that it is or lies below.
fn class_of(path: &str) -> ChangeClass {
    let is_below = |listed: &str| {
        let rest = path.strip_prefix(listed);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let listed = CLASSES.iter().filter(|(listed, _)| is_below(listed));
    let longest = listed.max_by_key(|(listed, _)| listed.len());
    longest.map_or(ChangeClass::Redeploy, |(_, class)| *class)
}

fn differences(path: &str, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        for (name, value) in old {
            let other = new.get(name).unwrap_or(&Value::Null);
            differences(&format!("{path}.{name}"), value, other, changes);
        }
        for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            differences(&format!("{path}.{name}"), &Value::Null, value, changes);
        }
    } else if old != new {
        let class = class_of(path);
        let is_refused = class == ChangeClass::Refused;
        changes.push(Change {
            path: path.to_owned(),
            class,
            remedy: is_refused.then_some(rules::FIXED_MAX_PARALLELISM.remedy),
        });
    }
}

/// The spec's fields with every default, amounts as billionths, and no object that says nothing.
fn normalized(spec: &StreamJobSpec) -> Value {
    let mut fields =
        serde_json::to_value(spec).expect("string keys and plain values always serialize");
    for kind in ["requests", "limits"] {
        let amounts = fields.pointer_mut(&format!("/resources/{kind}"));
        for (_, amount) in amounts.and_then(Value::as_object_mut).into_iter().flatten() {
            let quantity = amount.as_str().map(|text| Quantity(text.to_owned()));
            if let Some(billionths) = quantity.and_then(|quantity| quantity.billionths()) {
                *amount = json!(billionths.to_string());
            }
        }
    }
    let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|name, value| {
            let may_be_empty = name == "resources" || name == "podTemplate";
            !(value.is_null() || may_be_empty && is_empty(value))
        });
    }
    fields
}

/// The members that differ from the defaults, at every depth that the defaults have.
fn without_defaults(value: Value, default: &Value) -> Value {
    match (value, default) {
        (Value::Object(members), Value::Object(defaults)) => {
            let absent = Value::Null;
            let differing = members.into_iter().filter_map(|(name, value)| {
                let default = defaults.get(&name).unwrap_or(&absent);
                (value != *default).then(|| (name, without_defaults(value, default)))
            });
            Value::Object(differing.collect())
        }
        (value, _) => value,
    }
}

/// Removes what may change within a revision, and the objects that held nothing else.
fn remove_hot_fields(path: &str, fields: &mut Value) {
    let Some(members) = fields.as_object_mut() else {
        return;
    };
    members.retain(|name, value| {
        let path = format!("{path}.{name}");
        if matches!(class_of(&path), ChangeClass::Live | ChangeClass::Rescale) {
            return false;
        }
        let has_hot_fields = CLASSES.iter().any(|(listed, class)| {
            *class != ChangeClass::Redeploy && listed.starts_with(&format!("{path}."))
        });
        if has_hot_fields {
            remove_hot_fields(&path, value);
        }
        !(has_hot_fields && value.as_object().is_some_and(Map::is_empty))
    });
}

/// JSON without spaces, members in the order of their names, whatever order the map keeps.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let ordered: BTreeMap<&String, &Value> = members.iter().collect();
            for (index, (name, member)) in ordered.into_iter().enumerate() {
                text.push_str(if index == 0 { "{" } else { "," });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(member, text);
            }
            text.push_str(if members.is_empty() { "{}" } else { "}" });
        }
        Value::Array(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write_canonical(element, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests;
