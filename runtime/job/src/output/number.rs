//! Numbers, sizes and times as people read them.

/// With a comma between thousands: `1,234,567`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// With three significant digits and a unit: `1.25 MB`. Powers of 1000.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `24 ms`, `1.2 s`, `3 min 5 s`, `2 h 7 min`.
pub(super) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0")]
    #[case(999, "999")]
    #[case(1000, "1,000")]
    #[case(1_234_567, "1,234,567")]
    fn thousands_are_separated(#[case] value: u64, #[case] expected: &str) {
        assert_eq!(count(value), expected);
    }

    #[rstest]
    #[case(0, "0 B")]
    #[case(999, "999 B")]
    #[case(1000, "1.00 kB")]
    #[case(310_400, "310 kB")]
    #[case(999_999, "1.00 MB")]
    #[case(12_345_678, "12.3 MB")]
    #[case(u64::MAX, "18447 PB")]
    fn sizes_have_three_digits_and_a_unit(#[case] bytes: u64, #[case] expected: &str) {
        assert_eq!(size(bytes), expected);
    }

    #[rstest]
    #[case(24, "24 ms")]
    #[case(1234, "1.2 s")]
    #[case(185_000, "3 min 5 s")]
    #[case(7_620_000, "2 h 7 min")]
    fn durations_have_the_unit_that_fits(#[case] milliseconds: u64, #[case] expected: &str) {
        assert_eq!(duration(milliseconds), expected);
    }
}
