//! What is measured, under which names.

use anyhow::Result;

use crate::{bare_hash, keyed_count, machine, process, text};

/// Which way is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One measurement.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// Runs in a process of its own.
    pub(crate) measure: fn() -> Result<f64>,
}

/// A case and what came of it.
pub(crate) struct Measured {
    pub(crate) case: &'static Case,
    pub(crate) value: f64,
}

impl Measured {
    /// One JSON object on one line.
    pub(crate) fn json(&self) -> String {
        let better = match self.case.better {
            Better::Higher => "higher",
            Better::Lower => "lower",
        };
        let Case { name, unit, .. } = self.case;
        let value = self.value;
        serde_json::json!({ "name": name, "value": value, "unit": unit, "better": better })
            .to_string()
    }
}

macro_rules! cases {
    ($($name:literal, $unit:literal, $better:ident, $measure:expr;)*) => {
        /// All cases: each job beside the limit of the machine that it is compared with.
        pub(crate) const CASES: &[Case] = &[$(Case {
            name: $name,
            unit: $unit,
            better: Better::$better,
            measure: $measure,
        }),*];
    };
}

cases! {
    "memory_copy", "bytes/s", Higher, machine::memory_copy;
    "disk_write", "bytes/s", Higher, machine::disk_write;
    "bare_hash_1k", "records/s", Higher, || Ok(bare_hash::measure(1_000));
    "keyed_count_1k_plain", "records/s", Higher, || keyed_count::measure(1_000, false);
    "keyed_count_1k", "records/s", Higher, || keyed_count::measure(1_000, true);
    "bare_hash_1m", "records/s", Higher, || Ok(bare_hash::measure(1_000_000));
    "keyed_count_1m_plain", "records/s", Higher, || keyed_count::measure(1_000_000, false);
    "keyed_count_1m", "records/s", Higher, || keyed_count::measure(1_000_000, true);
    "bare_hash_10m", "records/s", Higher, || Ok(bare_hash::measure(10_000_000));
    "keyed_count_10m_plain", "records/s", Higher, || keyed_count::measure(10_000_000, false);
    "keyed_count_10m", "records/s", Higher, || keyed_count::measure(10_000_000, true);
    "word_count_text", "words/s", Higher, text::measure;
    "idle_rss", "bytes", Lower, process::idle_rss;
    "start_to_first_record", "seconds", Lower, process::start_to_first_record;
}
