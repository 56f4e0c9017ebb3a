//! Kubernetes' amounts of a resource, such as `500m` of a processor or `2Gi` of memory.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What each pod of the job asks of its node, and the most that it gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct Resources {
    /// What is reserved, by resource, as in cpu: 500m, memory: 2Gi.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(extend("maxProperties" = crate::bounds::RESOURCE_COUNT))
    )]
    pub requests: BTreeMap<String, Quantity>,
    /// The most that a pod gets, by resource. A job that needs more memory is ended by the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(extend("maxProperties" = crate::bounds::RESOURCE_COUNT))
    )]
    pub limits: BTreeMap<String, Quantity>,
}

/// An amount as it was written, as text or as a bare integer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

/// Why a quantity's text is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no quantity: write a number and a unit, as in 500m, 2, 1.5, 512Mi or 2Gi (units \
     {UNITS})"
)]
pub struct QuantityError {
    text: String,
}

const UNITS: &str = "n u m k M G T P E Ki Mi Gi Ti Pi Ei";

impl Quantity {
    /// Whether the text is an amount that Kubernetes takes.
    ///
    /// # Errors
    /// Text that is no number with one of Kubernetes' units.
    pub fn check(&self) -> Result<(), QuantityError> {
        let unsigned = self.0.strip_prefix('+').unwrap_or(&self.0);
        let number_end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, unit) = unsigned.split_at(number_end);
        let has_digit = number.bytes().any(|byte| byte.is_ascii_digit());
        let is_number = has_digit && number.matches('.').count() <= 1;
        if is_number && (unit.is_empty() || is_unit(unit)) {
            Ok(())
        } else {
            Err(QuantityError {
                text: self.0.clone(),
            })
        }
    }
}

impl Quantity {
    /// The amount in billionths, as Kubernetes counts: what is finer is rounded up. Absent for
    /// text that is no quantity, or an amount beyond 10^28.
    pub fn billionths(&self) -> Option<i128> {
        self.check().ok()?;
        let unsigned = self.0.strip_prefix('+').unwrap_or(&self.0);
        let number_end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, unit) = unsigned.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let mantissa: i128 = match digits {
            "" => return Some(0),
            _ => digits.parse().ok()?,
        };
        let (factor, exponent) = scale(unit)?;
        let exponent = exponent.checked_add(9)? - i32::try_from(fraction.len()).ok()?;
        let amount = mantissa.checked_mul(factor)?;
        let power = 10_i128.checked_pow(exponent.unsigned_abs());
        if exponent >= 0 {
            return amount.checked_mul(power?);
        }
        // A divisor beyond all numbers leaves less than one billionth, which is rounded up.
        Some(power.map_or(1, |power| amount / power + i128::from(amount % power != 0)))
    }
}

/// A unit as a factor and a power of ten.
fn scale(unit: &str) -> Option<(i128, i32)> {
    if let Some(prefix) = unit.strip_suffix('i') {
        let power = "KMGTPE".find(prefix)?;
        return Some((1 << (10 * (power + 1)), 0));
    }
    let exponent = match unit {
        "" => 0,
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => unit.strip_prefix(['e', 'E'])?.parse().ok()?,
    };
    Some((1, exponent))
}

fn is_unit(unit: &str) -> bool {
    UNITS.split(' ').any(|known| known == unit) || is_exponent(unit)
}

fn is_exponent(unit: &str) -> bool {
    let Some(digits) = unit.strip_prefix(['e', 'E']) else {
        return false;
    };
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;
        impl Visitor<'_> for TextOrNumber {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 500m or 2Gi")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
            // The API server refuses one too: its text would depend on who reads it.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                Err(E::custom(format!(
                    "an amount with a fraction is written as text: \"{number}\" in quotes"
                )))
            }
        }
        deserializer.deserialize_any(TextOrNumber)
    }
}

#[cfg(feature = "crd")]
impl schemars::JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "x-kubernetes-int-or-string": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("500m")]
    #[case("2")]
    #[case("1.5")]
    #[case(".5")]
    #[case("2Gi")]
    #[case("512Mi")]
    #[case("128974848")]
    #[case("129e6")]
    #[case("1E")]
    #[case("1e+3")]
    #[case("+3k")]
    fn a_quantity_of_kubernetes_is_accepted(#[case] text: &str) {
        assert_eq!(Quantity(text.to_owned()).check(), Ok(()));
    }

    #[rstest]
    #[case("")]
    #[case("Gi")]
    #[case("2GB")]
    #[case("2gi")]
    #[case("-1")]
    #[case("1.2.3")]
    #[case("2 Gi")]
    #[case("1e")]
    fn other_text_is_refused_with_examples(#[case] text: &str) {
        let message = Quantity(text.to_owned()).check().unwrap_err().to_string();
        assert!(message.contains(&format!("{text:?}")), "{message}");
        assert!(message.contains("512Mi"), "{message}");
    }

    #[rstest]
    #[case("2", 2_000_000_000)]
    #[case("500m", 500_000_000)]
    #[case("0.5", 500_000_000)]
    #[case(".5", 500_000_000)]
    #[case("1.5Gi", 1_610_612_736_000_000_000)]
    #[case("1Ki", 1_024_000_000_000)]
    #[case("+3k", 3_000_000_000_000)]
    #[case("1e3", 1_000_000_000_000)]
    #[case("5E-1", 500_000_000)]
    #[case("1E", 1_000_000_000_000_000_000_000_000_000)]
    #[case("0.00", 0)]
    #[case("0.1n", 1)]
    #[case("1e-99", 1)]
    fn an_amount_is_counted_in_billionths(#[case] text: &str, #[case] expected: i128) {
        assert_eq!(Quantity(text.to_owned()).billionths(), Some(expected));
    }

    #[rstest]
    #[case("2GB")]
    #[case("1e40")]
    #[case("99999999999999999999999999999999999999999")]
    fn what_is_no_amount_is_not_counted(#[case] text: &str) {
        assert_eq!(Quantity(text.to_owned()).billionths(), None);
    }

    #[test]
    fn a_bare_number_is_a_quantity() {
        let resources: Resources =
            serde_json::from_str(r#"{"limits": {"cpu": 2, "memory": "2Gi"}}"#).unwrap();
        assert_eq!(resources.limits["cpu"], Quantity("2".to_owned()));
    }
}
