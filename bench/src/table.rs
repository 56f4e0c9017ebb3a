//! The table that a person reads: each value, and what share of the machine's limit it is.

use std::fmt::Write;

use crate::case::Measured;

/// Cores that a job of the benchmark uses.
const CORES: f64 = 2.0;

/// What Flink 2.3 does on a machine of this kind, tuned in good faith (ParallelGC, object reuse,
/// heap state), by case.
const FLINK: &[(&str, f64)] = &[
    ("keyed_count_1k_plain", 5.5e6),
    ("keyed_count_1m_plain", 1.9e6),
    ("keyed_count_10m_plain", 1.0e6),
    ("keyed_count_1m", 1.4e6),
    ("keyed_count_10m", 0.5e6),
    ("word_count_text", 2.4e6),
];

/// Renders all values with their ratios.
pub(crate) fn render(all: &[Measured]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<24} {:>14} {:<10} {:>22} {:>14} {:>10}",
        "case", "value", "unit", "of 2 cores' bare hash", "of no ckpts", "x Flink"
    );
    for measured in all {
        let name = measured.case.name;
        let bare = size_of(name).and_then(|size| value(all, &format!("bare_hash_{size}")));
        let of_bare = bare.map(|bare| measured.value / (CORES * bare));
        let plain = value(all, &format!("{name}_plain")).map(|plain| measured.value / plain);
        let flink = FLINK.iter().find(|(flink, _)| *flink == name);
        let over_flink = flink.map(|(_, flink)| measured.value / flink);
        let percent = |share: Option<f64>| {
            share.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0))
        };
        let _ = writeln!(
            text,
            "{name:<24} {:>14} {:<10} {:>22} {:>14} {:>10}",
            short(measured.value),
            measured.case.unit,
            percent(of_bare),
            percent(plain),
            over_flink.map_or_else(String::new, |times| format!("{times:.1}")),
        );
    }
    text
}

fn value(all: &[Measured], name: &str) -> Option<f64> {
    all.iter()
        .find(|measured| measured.case.name == name)
        .map(|measured| measured.value)
}

/// The number of keys in a keyed count's name.
fn size_of(name: &str) -> Option<&str> {
    name.strip_prefix("keyed_count_")
        .map(|rest| rest.trim_end_matches("_plain"))
}

fn short(value: f64) -> String {
    match value {
        _ if value >= 1e9 => format!("{:.2} G", value / 1e9),
        _ if value >= 1e6 => format!("{:.2} M", value / 1e6),
        _ if value >= 1e3 => format!("{:.1} k", value / 1e3),
        _ => format!("{value:.3}"),
    }
}
