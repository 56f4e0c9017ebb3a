//! The Prometheus text format, version 0.0.4.

/// What a family's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from the process's start.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A document under construction. Families come one after the other, each with all of its samples.
#[derive(Debug)]
pub(super) struct Exposition {
    text: String,
    family: String,
    /// The labels that every sample of ours has.
    common: String,
}

impl Exposition {
    pub(super) fn new(common: &[(&str, &str)]) -> Self {
        let common: Vec<_> = common.iter().map(label).collect();
        Self {
            text: String::new(),
            family: String::new(),
            common: common.join(","),
        }
    }

    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.text
            .push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        name.clone_into(&mut self.family);
    }

    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(label);
        let all: Vec<_> = std::iter::once(self.common.clone()).chain(labels).collect();
        self.text
            .push_str(&format!("{}{{{}}} {value}\n", self.family, all.join(",")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_escaped_labels_are_written_as_the_format_wants_them() {
        let mut text = Exposition::new(&[("job", "a\"b\\c\nd")]);
        text.family("x_total", Kind::Counter, "What x is.");
        text.sample(&[], 1.0);
        text.sample(&[("operator", "count")], 1e18);
        let expected = "# HELP x_total What x is.\n# TYPE x_total counter\n\
                        x_total{job=\"a\\\"b\\\\c\\nd\"} 1\n\
                        x_total{job=\"a\\\"b\\\\c\\nd\",operator=\"count\"} 1000000000000000000\n";
        assert_eq!(text.finish(), expected);
    }
}
