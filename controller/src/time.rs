//! Points in time as a status holds them.

use jiff::Timestamp;

/// RFC 3339 to the millisecond.
pub(crate) fn to_text(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms)
        .unwrap_or_default()
        .to_string()
}

/// RFC 3339 to the second, as Kubernetes' own conditions have it.
pub(crate) fn to_seconds_text(time_ms: i64) -> String {
    to_text(time_ms.div_euclid(1000).saturating_mul(1000))
}

/// Milliseconds since the epoch, if the text is a time.
pub(crate) fn from_text(text: &str) -> Option<i64> {
    text.parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_millisecond)
}

/// How long ago a reported time is; none is now.
pub(crate) fn age_ms(now_ms: i64, text: Option<&str>) -> i64 {
    let then_ms = text.and_then(from_text).unwrap_or(now_ms);
    now_ms.saturating_sub(then_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_whole_seconds() {
        assert_eq!(to_seconds_text(1_790_000_000_999), "2026-09-21T14:13:20Z");
    }
}
