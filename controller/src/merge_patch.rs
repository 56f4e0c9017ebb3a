//! Merge patches (RFC 7386) that leave nothing behind.

use serde::Serialize;
use serde_json::{Map, Value};

/// A merge patch that makes `new` of `old`: the members of the new, at any depth, and null for
/// those of the old that it no longer has, whoever wrote them, since a merge patch leaves alone
/// what it does not name.
///
/// # Panics
/// Never: objects of Kubernetes always serialize.
pub fn replacing<T: Serialize>(old: Option<&T>, new: &T) -> Value {
    let value = |of: &T| serde_json::to_value(of).expect("objects of Kubernetes always serialize");
    difference(old.map(value), value(new))
}

fn difference(old: Option<Value>, new: Value) -> Value {
    let Value::Object(new) = new else {
        return new;
    };
    let mut old = match old {
        Some(Value::Object(old)) => old,
        _ => Map::new(),
    };
    let told = new.into_iter().map(|(name, value)| {
        let value = difference(old.remove(&name), value);
        (name, value)
    });
    let mut patch: Map<String, Value> = told.collect();
    patch.extend(old.into_iter().map(|(name, _)| (name, Value::Null)));
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_new_has_no_more_is_taken_back_at_any_depth() {
        let old = json!({
            "state": "Pending", "size": "1MiB", "place": {"url": "s3://a", "region": "eu"},
            "conditions": [{"type": "A", "message": "a"}], "parts": {"a": 1},
        });
        let new = json!({
            "state": "Completed", "id": 7, "place": {"url": "s3://b"},
            "conditions": [{"type": "A"}], "parts": 2,
        });
        let patch = replacing(Some(&old), &new);
        let expected = json!({
            "state": "Completed", "id": 7, "size": null, "place": {"url": "s3://b", "region": null},
            "conditions": [{"type": "A"}], "parts": 2,
        });
        assert_eq!(patch, expected);
        assert_eq!(replacing(None, &new), new);
    }
}
