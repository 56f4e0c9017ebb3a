//! What is measured, under which names, and what it should be.

use anyhow::Result;

use crate::space::Space;
use crate::{controller, job};

/// One figure; less is better in all of them.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    unit: &'static str,
    /// What the project aims at, where it has said so.
    aim: Option<f64>,
    pub(crate) measure: fn(&Space) -> Result<f64>,
}

pub(crate) const FIGURES: &[Figure] = &[
    Figure {
        name: "apply_to_first_record",
        unit: "seconds",
        aim: Some(3.0),
        measure: job::apply_to_first_record,
    },
    Figure {
        name: "pod_deletion_to_first_record",
        unit: "seconds",
        aim: Some(3.0),
        measure: job::pod_deletion_to_first_record,
    },
    Figure {
        name: "job_kill_to_first_record",
        unit: "seconds",
        aim: Some(0.5),
        measure: job::job_kill_to_first_record,
    },
    Figure {
        name: "controller_rss_1_job",
        unit: "bytes",
        aim: None,
        measure: controller::rss_with_one_job,
    },
    Figure {
        name: "controller_rss_200_suspended_jobs",
        unit: "bytes",
        aim: None,
        measure: controller::rss_with_suspended_jobs,
    },
    Figure {
        name: "api_writes_per_minute_20_jobs",
        unit: "writes/minute",
        aim: Some(60.0),
        measure: controller::writes_per_minute,
    },
];

impl Figure {
    /// The figure for a person, or one JSON object on one line.
    pub(crate) fn show(&self, value: f64, is_json: bool) -> String {
        let Self {
            name, unit, aim, ..
        } = self;
        if is_json {
            let figure = serde_json::json!({
                "name": name, "value": value, "unit": unit, "better": "lower",
            });
            return figure.to_string();
        }
        let shown = match *unit {
            "bytes" => format!("{:.1} MB", value / 1e6),
            unit => format!("{value:.2} {unit}"),
        };
        let aim = aim.map_or_else(String::new, |aim| format!("(aim: {aim} {unit})"));
        format!("{name:<36} {shown:>22} {aim}")
    }
}
