//! What becomes of records that cannot be read: the policy, and its execution in one subtask.
//!
//! Sources use it for what is no valid line or row, and a parse step for what user code refuses.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tidegate_engine::{OperatorMetrics, PermanentError, Result};

/// How many characters of a bad record an error message shows.
const SHOWN_CHARS: usize = 120;

/// What to do with a record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRecords {
    /// End the job, with a message that names the record's place.
    Fail,
    /// Leave it out and count it.
    Skip,
    /// Leave it out, count it, and append it to this file: one JSON object a line, with the
    /// operator, the place, the problem and the raw record.
    ///
    /// A record is in the file before any checkpoint is past it. After a failure, records since the
    /// last checkpoint are read again and appended again, so the file may hold one more than once.
    /// A loss of power can take the newest ones, as the file is not synchronised.
    DeadLetter(PathBuf),
}

/// One line of a dead-letter file.
#[derive(Serialize)]
struct DeadLetterLine<'a> {
    operator: &'a str,
    place: &'a str,
    problem: &'a str,
    raw: &'a str,
}

/// Carries out a policy for one subtask.
#[derive(Debug)]
pub struct BadRecordHandler {
    policy: Policy,
    operator: String,
    metrics: Arc<OperatorMetrics>,
}

#[derive(Debug)]
enum Policy {
    Fail,
    Skip,
    DeadLetter(DeadLetterFile),
}

impl BadRecordHandler {
    /// For one subtask of the operator of this name. A dead-letter file is opened at the first bad
    /// record, with its folder.
    ///
    /// # Errors
    /// A dead-letter path that names a folder.
    pub fn new(policy: &BadRecords, operator: &str, metrics: Arc<OperatorMetrics>) -> Result<Self> {
        let policy = match policy {
            BadRecords::Fail => Policy::Fail,
            BadRecords::Skip => Policy::Skip,
            BadRecords::DeadLetter(path) => Policy::DeadLetter(DeadLetterFile::new(path)?),
        };
        Ok(Self {
            policy,
            operator: operator.to_owned(),
            metrics,
        })
    }

    /// Treats a bad record. `place` says where it is ("/a/b.txt, byte 120", "line 7"), `problem`
    /// what is wrong with it, and `raw` is the record as far as it can be shown.
    ///
    /// # Errors
    /// Under [`BadRecords::Fail`], a [`PermanentError`] that names all of these; else that the
    /// dead-letter file cannot be written.
    pub fn bad(&mut self, place: &str, problem: &str, raw: &str) -> Result<()> {
        match &mut self.policy {
            Policy::Fail => Err(self.refusal(place, problem, raw).into()),
            Policy::Skip => {
                self.metrics.skipped_records.add(1);
                Ok(())
            }
            Policy::DeadLetter(file) => {
                let operator = &self.operator;
                file.append(&DeadLetterLine {
                    operator,
                    place,
                    problem,
                    raw,
                })?;
                self.metrics.dead_letter_records.add(1);
                Ok(())
            }
        }
    }

    fn refusal(&self, place: &str, problem: &str, raw: &str) -> PermanentError {
        let operator = &self.operator;
        let shown = shorten(raw);
        PermanentError::new(format!(
            "bad record in `{operator}` at {place}: {problem}: {shown:?}; correct the input, or \
             let the job skip bad records or write them to a dead-letter file"
        ))
    }
}

fn shorten(raw: &str) -> String {
    match raw.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &raw[..end]),
        None => raw.to_owned(),
    }
}

/// A file that bad records are appended to, by several subtasks and processes at once: each line is
/// one write to the file's end.
#[derive(Debug)]
struct DeadLetterFile {
    path: PathBuf,
    file: Option<File>,
    /// Whether the file's last line lacks its end, since a write of it failed half-way.
    is_torn: bool,
}

impl DeadLetterFile {
    fn new(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let path = path.display();
            let message = format!(
                "the dead-letter path `{path}` is a folder; name a file, which need not exist"
            );
            return Err(PermanentError::new(message).into());
        }
        Ok(Self {
            path: path.to_owned(),
            file: None,
            is_torn: false,
        })
    }

    fn append(&mut self, line: &DeadLetterLine<'_>) -> Result<()> {
        let mut bytes = Vec::with_capacity(line.raw.len() + 256);
        if self.file.is_none() {
            let (file, is_torn) = open(&self.path).map_err(|error| self.error("open", error))?;
            self.file = Some(file);
            self.is_torn = is_torn;
        }
        if self.is_torn {
            bytes.push(b'\n');
        }
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&bytes)
        {
            // What did get in is found when the file is opened again.
            self.file = None;
            return Err(self.error("write", error));
        }
        self.is_torn = false;
        Ok(())
    }

    fn error(&self, action: &str, error: io::Error) -> tidegate_engine::BoxError {
        let path = self.path.display();
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "let the job's user write there, or choose another path"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on that disk",
            io::ErrorKind::FileTooLarge => {
                "raise the limit on the size of files (`ulimit -f`), or begin another file"
            }
            _ => "check the path",
        };
        let message = format!("cannot {action} the dead-letter file `{path}`; {advice}");
        Box::new(DeadLetterError {
            message,
            source: error,
        })
    }
}

/// A dead-letter file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct DeadLetterError {
    message: String,
    source: io::Error,
}

/// Opens a file to append to, and tells whether its last line lacks its end.
fn open(path: &Path) -> io::Result<(File, bool)> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok((file, false));
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok((file, last[0] != b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(policy: &BadRecords) -> BadRecordHandler {
        BadRecordHandler::new(policy, "lines", Arc::default()).unwrap()
    }

    #[test]
    fn fail_names_operator_place_problem_and_record_and_is_permanent() {
        let long = "x".repeat(1000);
        let error = handler(&BadRecords::Fail)
            .bad("a.txt, byte 120", "it is no number", &long)
            .unwrap_err();
        assert!(tidegate_engine::is_permanent(error.as_ref()));
        let text = error.to_string();
        assert!(
            text.contains("`lines` at a.txt, byte 120: it is no number: \"xxx"),
            "{text}"
        );
        assert!(text.len() < 400, "{text}");
    }

    #[test]
    fn skipped_records_are_counted() {
        let mut handler = handler(&BadRecords::Skip);
        handler.bad("line 1", "odd", "a").unwrap();
        handler.bad("line 2", "odd", "b").unwrap();
        assert_eq!(handler.metrics.skipped_records.get(), 2);
        assert_eq!(handler.metrics.dead_letter_records.get(), 0);
    }

    #[test]
    fn dead_letters_of_two_subtasks_are_whole_json_lines_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/demand.jsonl");
        let policy = BadRecords::DeadLetter(path.clone());
        let (mut one, mut two) = (handler(&policy), handler(&policy));
        assert!(!path.exists());
        one.bad("line 1", "odd", "a \"quoted\"\nrecord").unwrap();
        two.bad("line 9", "odd", "b").unwrap();
        one.bad("line 2", "odd", "c").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["raw"], "a \"quoted\"\nrecord");
        assert_eq!(lines[1]["place"], "line 9");
        assert_eq!(lines[2]["operator"], "lines");
        assert_eq!(one.metrics.dead_letter_records.get(), 2);
    }

    #[test]
    fn a_line_torn_by_a_crash_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.jsonl");
        std::fs::write(&path, "{\"torn").unwrap();
        handler(&BadRecords::DeadLetter(path.clone()))
            .bad("line 1", "odd", "a")
            .unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(text.lines().nth(1).unwrap()).is_ok());
    }

    #[test]
    fn a_dead_letter_path_that_is_a_folder_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let policy = BadRecords::DeadLetter(folder.path().to_owned());
        let error = BadRecordHandler::new(&policy, "lines", Arc::default()).unwrap_err();
        assert!(error.to_string().contains("is a folder"));
    }

    #[test]
    fn a_dead_letter_file_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let path = folder.path().join("file/below.jsonl");
        let error = handler(&BadRecords::DeadLetter(path))
            .bad("line 1", "odd", "a")
            .unwrap_err();
        assert!(error.to_string().contains("file/below.jsonl"));
    }
}
