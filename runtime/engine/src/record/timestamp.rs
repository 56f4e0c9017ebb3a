//! Moments as a field.

use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, TimestampMillisecondArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};

use super::{Field, FieldBuilder, Record, SingleColumn};

const ZONE: &str = "UTC";
const MS_PER_DAY: i64 = 86_400_000;

/// A moment in UTC, to the millisecond.
///
/// It is shown as in RFC 3339: `2026-11-24T08:30:00.250Z`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    unix_ms: i64,
}

impl Timestamp {
    /// The moment this many milliseconds after 1970-01-01T00:00:00Z, leap seconds not counted.
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        Self { unix_ms }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    pub const fn unix_ms(self) -> i64 {
        self.unix_ms
    }
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn civil_date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_month)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_date(self.unix_ms.div_euclid(MS_PER_DAY));
        let ms = self.unix_ms.rem_euclid(MS_PER_DAY);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        let fraction = ms % 1_000;
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z"
        )
    }
}

/// Collects moments.
#[derive(Debug, Default)]
pub struct TimestampBuilder {
    values: Vec<i64>,
}

impl Field for Timestamp {
    type View<'a> = Timestamp;
    type Column = ScalarBuffer<i64>;
    type Builder = TimestampBuilder;

    fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Millisecond, Some(Arc::from(ZONE)))
    }

    fn type_name() -> String {
        "timestamp_ms".to_owned()
    }

    fn values(array: &ArrayRef) -> Option<ScalarBuffer<i64>> {
        let array = array.as_any().downcast_ref::<TimestampMillisecondArray>()?;
        (array.timezone() == Some(ZONE)).then(|| array.values().clone())
    }

    #[inline]
    fn view(column: &ScalarBuffer<i64>, row: usize) -> Timestamp {
        Timestamp::from_unix_ms(column[row])
    }

    #[inline]
    fn as_view(&self) -> Timestamp {
        *self
    }

    #[inline]
    fn from_view(view: Timestamp) -> Self {
        view
    }
}

impl FieldBuilder<Timestamp> for TimestampBuilder {
    fn reserve(&mut self, additional: usize) {
        self.values.reserve(additional);
    }

    #[inline]
    fn push(&mut self, view: Timestamp) {
        self.values.push(view.unix_ms);
    }

    fn finish_with(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let values = std::mem::take(&mut self.values);
        Arc::new(TimestampMillisecondArray::new(values.into(), nulls).with_timezone(ZONE))
    }
}

super::field_as_record!(Timestamp);

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "1970-01-01T00:00:00.000Z")]
    #[case(-1, "1969-12-31T23:59:59.999Z")]
    #[case(951_782_400_000, "2000-02-29T00:00:00.000Z")]
    #[case(1_795_509_000_250, "2026-11-24T08:30:00.250Z")]
    #[case(-62_135_596_800_000, "0001-01-01T00:00:00.000Z")]
    fn a_timestamp_is_shown_as_in_rfc_3339(#[case] unix_ms: i64, #[case] text: &str) {
        assert_eq!(Timestamp::from_unix_ms(unix_ms).to_string(), text);
    }
}
