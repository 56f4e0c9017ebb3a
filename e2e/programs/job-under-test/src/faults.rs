//! What goes wrong on request.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;
use std::process;
use std::str::FromStr;

use tidegate::prelude::*;

/// How much memory is taken at a time.
const MOUTHFUL_BYTES: usize = 16 << 20;
/// The exit code of a program that gives up at its start.
const EXIT_CODE: i32 = 3;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Panic,
    Exit,
    Abort,
    Error,
}

/// When and how the program fails, each time anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mode {
    end: End,
    /// Of one subtask in one attempt; `None`: at the start.
    after_records: Option<u64>,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is none of the modes that --help tells");
        let (name, after_records) = match text.split_once('=') {
            Some((name, count)) => (name, Some(count.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let end = match (name, after_records) {
            ("panic-at-start", None) | ("panic-after", Some(_)) => End::Panic,
            ("abort-at-start", None) | ("abort-after", Some(_)) => End::Abort,
            ("exit-at-start", None) => End::Exit,
            ("error-after", Some(_)) => End::Error,
            _ => return Err(unknown()),
        };
        Ok(Self { end, after_records })
    }
}

/// The faults of one subtask.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    mode: Option<Mode>,
    eaten_mib: Option<usize>,
    /// Made before a fault, which does not strike where it is there.
    once: Option<PathBuf>,
    /// Since the attempt's start.
    record_count: u64,
}

impl Faults {
    pub(crate) fn of(arguments: &Arguments) -> Result<Self> {
        Ok(Self {
            mode: arguments.get_optional("fail")?,
            eaten_mib: arguments.get_optional("eat-memory")?,
            once: arguments.get_optional("once")?,
            record_count: 0,
        })
    }

    pub(crate) fn strike_at_start(&self) {
        if let Some(mode) = self.mode
            && mode.after_records.is_none()
            && self.may_strike()
        {
            // Nothing at the start can return an error that is not a panic, an exit or an abort.
            let _ = strike(mode.end);
        }
    }

    /// Called before each record is counted.
    pub(crate) fn strike_at_record(&mut self) -> Result<()> {
        if self.record_count == 0
            && let Some(mib) = self.eaten_mib
            && self.may_strike()
        {
            eat(mib);
        }
        self.record_count += 1;
        match self.mode {
            Some(Mode {
                end,
                after_records: Some(count),
            }) if self.record_count > count && self.may_strike() => strike(end),
            _ => Ok(()),
        }
    }

    /// Whether nobody has failed before, where once is enough.
    fn may_strike(&self) -> bool {
        let made = |marker| OpenOptions::new().write(true).create_new(true).open(marker);
        self.once.as_ref().is_none_or(|marker| made(marker).is_ok())
    }
}

fn strike(end: End) -> Result<()> {
    match end {
        End::Panic => panic!("failing on request"),
        End::Abort => process::abort(),
        End::Error => Err("failing on request".into()),
        End::Exit => {
            let _ = std::io::stderr().write_all(b"giving up on request\n");
            process::exit(EXIT_CODE)
        }
    }
}

/// Takes memory and keeps it; touches all of it, so that it counts.
fn eat(mib: usize) {
    let bytes = mib << 20;
    for _ in 0..bytes.div_ceil(MOUTHFUL_BYTES) {
        let mouthful = vec![1_u8; MOUTHFUL_BYTES.min(bytes)];
        black_box(mouthful.leak());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_says_how_and_when() {
        let mode: Mode = "panic-after=7".parse().unwrap();
        let expected = Mode {
            end: End::Panic,
            after_records: Some(7),
        };
        assert_eq!(mode, expected);
        assert_eq!("exit-at-start".parse::<Mode>().unwrap().after_records, None);
        for wrong in [
            "panic-after",
            "panic-at-start=1",
            "exit-after=1",
            "panic-after=x",
            "burn",
        ] {
            assert!(
                wrong
                    .parse::<Mode>()
                    .unwrap_err()
                    .contains("none of the modes")
            );
        }
    }

    #[test]
    fn what_fails_once_fails_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut faults = Faults {
            mode: Some("error-after=1".parse().unwrap()),
            eaten_mib: None,
            once: Some(folder.path().join("failed")),
            record_count: 0,
        };
        let mut after_restart = faults.clone();
        assert!(faults.strike_at_record().is_ok());
        assert!(faults.strike_at_record().is_err());
        assert!((0..3).all(|_| after_restart.strike_at_record().is_ok()));
    }
}
