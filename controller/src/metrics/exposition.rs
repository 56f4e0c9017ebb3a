//! The Prometheus text format, version 0.0.4.

use std::fmt::Write;

/// What a family's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from the process's start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// A document under construction. Families come one after the other, each with all of its samples.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
    family: String,
}

impl Exposition {
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        name.clone_into(&mut self.family);
    }

    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.suffixed("", labels, value);
    }

    /// A sample of the family's name and a suffix, as histograms have them.
    pub(super) fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(label).collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            some => format!("{{{}}}", some.join(",")),
        };
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.family);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

fn label((name, value): &(&str, &str)) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}
