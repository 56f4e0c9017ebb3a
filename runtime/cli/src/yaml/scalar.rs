//! What a scalar without quotes means.
//!
//! `kubectl` reads YAML 1.1 booleans (`yes`, `on`) and numbers with underscores; so does this, or a
//! file would mean one thing here and another on a cluster.

use super::Value;

/// The meaning of a scalar that was written without quotes and without a tag.
pub(crate) fn plain_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    integer(text)
        .map(Value::Integer)
        .or_else(|| float(text).map(Value::Float))
        .unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        // YAML 1.1 takes a leading zero for octal and 1.2 does not: neither is guessed.
        Some(start) if start.starts_with('0') => return None,
        _ => (10, digits.as_str()),
    };
    // `from_str_radix` would take another sign.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(digits, radix)
        .ok()
        .map(|value| sign * value)
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['-', '+']);
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.contains(['.', 'e', 'E'])
        && text.len() - unsigned.len() <= 1;
    // What is no JSON number (infinities) stays text, and is refused where a number belongs.
    is_number
        .then(|| text.parse().ok())
        .flatten()
        .filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", Value::Null)]
    #[case("~", Value::Null)]
    #[case("true", Value::Bool(true))]
    #[case("off", Value::Bool(false))]
    #[case("4", Value::Integer(4))]
    #[case("-4", Value::Integer(-4))]
    #[case("+4", Value::Integer(4))]
    #[case("1_000", Value::Integer(1000))]
    #[case("0", Value::Integer(0))]
    #[case("0x1f", Value::Integer(31))]
    #[case("0o17", Value::Integer(15))]
    #[case("1.5", Value::Float(1.5))]
    #[case(".5", Value::Float(0.5))]
    #[case("1e3", Value::Float(1000.0))]
    #[case("1.2.3", Value::Text("1.2.3".into()))]
    #[case("--4", Value::Text("--4".into()))]
    #[case("0123", Value::Text("0123".into()))]
    #[case("2Gi", Value::Text("2Gi".into()))]
    #[case("-", Value::Text("-".into()))]
    #[case("_", Value::Text("_".into()))]
    #[case("1e999", Value::Text("1e999".into()))]
    #[case("99999999999999999999", Value::Text("99999999999999999999".into()))]
    #[case("é", Value::Text("é".into()))]
    fn a_plain_scalar_means_what_kubectl_takes_it_for(#[case] text: &str, #[case] value: Value) {
        assert_eq!(plain_scalar(text), value);
    }
}
