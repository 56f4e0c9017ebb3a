//! What gets lost when JSON is read into a type that does not have all of its fields.

use serde_json::Value;

/// The path, from `path` on, of the first field in `given` that `kept` lacks. Values are not
/// compared, and a null is no field: it asks for what is there without it.
pub(super) fn first_lost(given: &Value, kept: &Value, path: &str) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match kept.get(name) {
                _ if value.is_null() => None,
                Some(kept) => first_lost(value, kept, &path),
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(kept)) => {
            let pairs = given.iter().zip(kept).enumerate();
            let mut lost = pairs.filter_map(|(index, (given, kept))| {
                first_lost(given, kept, &format!("{path}[{index}]"))
            });
            lost.next()
        }
        _ => None,
    }
}
