//! `tidegate checkpoints verify`: reads every entry and file, and names each that is broken.

use std::collections::HashMap;

use serde_json::{Value, json};
use tidegate_protocol::{LogNumber, Manifest, StateFile};
use tidegate_storage::JobFolder;

use crate::args::{FolderArgs, Wanted};
use crate::failure::{EXIT_FAILED, Failure, print};
use crate::folder::{give_up, kept, locate, no_log, retained};
use crate::table::{count, size};

/// What was found about a checkpoint.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    /// The checkpoint's number, or its log entry's where the entry cannot be read.
    id: Option<u64>,
    log_number: LogNumber,
    file_count: usize,
    size_bytes: u64,
    /// What is broken and where; nothing for a whole checkpoint.
    problems: Vec<String>,
    /// Whether a running job released it meanwhile, so that its files had to go.
    is_released: bool,
}

impl Report {
    fn is_broken(&self) -> bool {
        !self.problems.is_empty()
    }
}

/// Clears the problems of checkpoints that are no longer kept.
fn mark_released(reports: &mut [Report], kept: &[LogNumber]) {
    for report in reports {
        if report.is_broken() && !kept.contains(&report.log_number) {
            report.problems.clear();
            report.is_released = true;
        }
    }
}

/// Verifies what is kept, or one checkpoint; the exit code tells whether all of it is whole.
pub(super) async fn run(args: &FolderArgs, wanted: Option<Wanted>) -> Result<u8, Failure> {
    let folder = locate(args).await?;
    // Readers trust the highest entry and what it names, and so does this.
    let Some(numbers) = retained(&folder).await? else {
        return Err(no_log(args, &folder));
    };
    let mut verifier = Verifier {
        folder: &folder,
        files: HashMap::new(),
        ids: Vec::new(),
    };
    let mut reports = Vec::new();
    for number in numbers {
        reports.extend(verifier.checkpoint(number, wanted).await);
    }
    if reports.iter().any(Report::is_broken) {
        let kept = retained(&folder).await?.unwrap_or_default();
        mark_released(&mut reports, &kept);
    }
    if let (Some(wanted), true) = (wanted, reports.is_empty()) {
        let kept = kept(verifier.ids.into_iter(), std::iter::empty());
        return Err(Failure::failed(format!(
            "there is no {wanted} in {}; kept there: {kept}",
            folder.url()
        )));
    }
    let is_whole = !reports.iter().any(Report::is_broken);
    let url = folder.url().to_string();
    print(&if args.json {
        render_json(&url, &reports)
    } else {
        render_text(&url, &reports)
    })?;
    Ok(if is_whole { 0 } else { EXIT_FAILED })
}

struct Verifier<'a> {
    folder: &'a JobFolder,
    /// What was found about each file: checkpoints share them.
    files: HashMap<String, Option<String>>,
    /// The checkpoints that were met, verified or not.
    ids: Vec<String>,
}

impl Verifier<'_> {
    /// Verifies the checkpoint of a log entry; `None` if another one is wanted.
    async fn checkpoint(&mut self, number: LogNumber, wanted: Option<Wanted>) -> Option<Report> {
        let entry = self.folder.read_entry(number).await;
        let location = || self.folder.location(&format!("log/{}", number.file_name()));
        let problem = match entry {
            Ok(Some(entry)) => match entry.manifest() {
                Some(manifest) => return self.manifest(number, manifest, wanted).await,
                None => format!("{} is retained but holds no checkpoint", location()),
            },
            Ok(None) => format!("{} is missing", location()),
            Err(error) => error.with_causes(),
        };
        // An entry that cannot be read may be the one that is wanted.
        if matches!(wanted, Some(Wanted::Entry(wanted)) if wanted != number) {
            self.ids.push(Wanted::entry_name(number));
            return None;
        }
        Some(Report {
            id: None,
            log_number: number,
            file_count: 0,
            size_bytes: 0,
            problems: vec![problem],
            is_released: false,
        })
    }

    async fn manifest(
        &mut self,
        number: LogNumber,
        manifest: &Manifest,
        wanted: Option<Wanted>,
    ) -> Option<Report> {
        let id = manifest.checkpoint.get();
        self.ids.push(id.to_string());
        let is_other = |wanted| match wanted {
            Wanted::Checkpoint(wanted) => wanted != id,
            Wanted::Entry(wanted) => wanted != number,
        };
        if wanted.is_some_and(is_other) {
            return None;
        }
        let mut problems = Vec::new();
        for file in manifest.files() {
            problems.extend(self.file(file).await);
        }
        Some(Report {
            id: Some(id),
            log_number: number,
            file_count: manifest.files().count(),
            size_bytes: manifest.size_bytes(),
            problems,
            is_released: false,
        })
    }

    async fn file(&mut self, file: &StateFile) -> Option<String> {
        // The manifests of two checkpoints may tell different things of one path.
        let key = format!("{} {} {:?}", file.path, file.checksum, file.key_groups);
        if let Some(found) = self.files.get(&key) {
            return found.clone();
        }
        let result = self.folder.verify_file(file).await;
        let problem = result.err().map(|error| error.with_causes());
        self.files.insert(key, problem.clone());
        problem
    }
}

fn name(report: &Report) -> String {
    match report.id {
        Some(id) => format!("checkpoint {id}"),
        None => format!("log entry {}", report.log_number),
    }
}

fn render_text(url: &str, reports: &[Report]) -> String {
    let mut text = format!("{url}\n\n");
    for report in reports {
        let verdict = match report {
            Report {
                is_released: true, ..
            } => "released by its job meanwhile",
            _ if report.is_broken() => "broken",
            _ => "whole",
        };
        let files = count(report.file_count, "file");
        let size = size(report.size_bytes);
        text += &format!("{}: {verdict}, {size} in {files}\n", name(report));
        for problem in &report.problems {
            text += &format!("  {problem}\n");
        }
    }
    let broken = reports.iter().filter(|report| report.is_broken()).count();
    let all = count(reports.len(), "checkpoint");
    text += &match (broken, reports.len()) {
        (_, 0) => "no checkpoint is kept\n".to_owned(),
        (0, _) => format!("\n{all} verified: every byte is as it was written\n"),
        _ => format!("\n{broken} of {all} broken; start from another one with startFrom\n"),
    };
    let unreadable = reports
        .iter()
        .filter(|it| it.is_broken() && it.id.is_none());
    for report in unreadable {
        let name = Wanted::entry_name(report.log_number);
        text += &format!(
            "{} keeps files that it may name from being deleted; {}\n",
            self::name(report),
            give_up(&name)
        );
    }
    text
}

fn render_json(url: &str, reports: &[Report]) -> String {
    let checkpoints: Vec<Value> = reports
        .iter()
        .map(|report| {
            json!({
                "id": report.id,
                "logNumber": report.log_number,
                "fileCount": report.file_count,
                "sizeBytes": report.size_bytes,
                "isWhole": !report.is_broken() && !report.is_released,
                "isReleased": report.is_released,
                "problems": report.problems,
            })
        })
        .collect();
    let is_whole = !reports.iter().any(Report::is_broken);
    let document = json!({"folder": url, "isWhole": is_whole, "checkpoints": checkpoints});
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(number: u64, problem: Option<&str>) -> Report {
        Report {
            id: Some(number),
            log_number: LogNumber::new(number).unwrap(),
            file_count: 1,
            size_bytes: 1000,
            problems: problem.into_iter().map(str::to_owned).collect(),
            is_released: false,
        }
    }

    #[test]
    fn what_a_running_job_released_meanwhile_is_not_broken() {
        let missing = Some("x is missing");
        let mut reports = [report(1, missing), report(2, missing), report(3, None)];
        let kept = [2, 3, 4].map(|number| LogNumber::new(number).unwrap());
        mark_released(&mut reports, &kept);
        let text = render_text("/jobs/default/a", &reports);
        assert_eq!(
            text,
            "/jobs/default/a\n\n\
             checkpoint 1: released by its job meanwhile, 1.00 kB in 1 file\n\
             checkpoint 2: broken, 1.00 kB in 1 file\n  x is missing\n\
             checkpoint 3: whole, 1.00 kB in 1 file\n\n\
             1 of 3 checkpoints broken; start from another one with startFrom\n"
        );
        assert_eq!(
            reports.iter().filter(|report| report.is_broken()).count(),
            1
        );
    }
}
