//! The bounds of numbers and texts in a spec, for the schema and for [`crate::validate`] alike.

use std::fmt;

/// The least and the greatest value allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) min: i32,
    pub(crate) max: i32,
}

impl Bounds {
    const fn new(min: i32, max: i32) -> Self {
        Self { min, max }
    }

    pub(crate) fn contains(self, value: i32) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.min, self.max)
    }
}

/// Key groups are 16-bit numbers, and half of their range is plenty.
pub(crate) const PARALLELISM: Bounds = Bounds::new(1, 32_768);
pub(crate) const INTERVAL_SECONDS: Bounds = Bounds::new(0, 86_400);
pub(crate) const INTERVAL_MILLISECONDS: Bounds = Bounds::new(10, 86_400_000);
pub(crate) const TIMEOUT_SECONDS: Bounds = Bounds::new(1, 86_400);
pub(crate) const MIN_PAUSE_SECONDS: Bounds = Bounds::new(0, 86_400);
pub(crate) const RETAINED_COUNT: Bounds = Bounds::new(1, 1000);
pub(crate) const INITIAL_DELAY_MILLISECONDS: Bounds = Bounds::new(0, 3_600_000);
pub(crate) const MAX_DELAY_SECONDS: Bounds = Bounds::new(0, 3600);
pub(crate) const ATTEMPTS: Bounds = Bounds::new(0, 1_000_000);
pub(crate) const RESET_AFTER_SECONDS: Bounds = Bounds::new(1, 604_800);
pub(crate) const DEADLINE_SECONDS: Bounds = Bounds::new(10, 86_400);

/// Names of what belongs to a job add a hyphen and up to ten characters, and must stay labels.
#[cfg(feature = "crd")]
pub(crate) const JOB_NAME_LENGTH: u32 = 52;
pub(crate) const OBJECT_NAME_LENGTH: u32 = 253;
#[cfg(feature = "crd")]
pub(crate) const RESOURCE_COUNT: u32 = 8;
pub(crate) const SQL_LENGTH: u32 = 262_144;
pub(crate) const LINE_LENGTH: u32 = 1024;
/// A storage's URL with a job's folder and a checkpoint's number behind it.
pub(crate) const LOCATION_LENGTH: u32 = 2048;
pub(crate) const REGION_LENGTH: u32 = 63;
pub(crate) const ARGUMENT_LENGTH: u32 = 4096;
pub(crate) const COMMAND_COUNT: u32 = 64;
pub(crate) const ARGUMENT_COUNT: u32 = 256;
pub(crate) const ENV_COUNT: u32 = 256;
pub(crate) const ENV_VALUE_LENGTH: u32 = 32_768;
