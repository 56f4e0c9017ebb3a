use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use tempfile::TempDir;
use tidegate_engine::{Sink, describe, is_permanent};

use super::*;
use crate::encode::Lines;
use crate::file_sink::FileSink;
use crate::testing::recovery;

const BOUND: &str = "TIDEGATE_TEST_BOUND_BY_PERMISSIONS";
const BOUND_BY_PERMISSIONS: &str = "file_sink::local::trial::tests::bound_by_permissions";

/// Every name below a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        names.push(entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            names.extend(self::names(&entry.path()));
        }
    }
    names.sort();
    names
}

async fn prepare(folder: &Path) -> Result<()> {
    let sink = FileSink::<String, _>::new(folder, Lines);
    sink.recover(recovery(2), Vec::new()).await
}

fn set_mode(folder: &Path, mode: u32) {
    fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_that_is_there_and_may_not_be_written_ends_the_job_at_its_start() {
    let exe = std::env::current_exe().unwrap();
    // Permissions bind root once it has given up the right to pass over them.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = match is_root {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-dac_override", "--inh-caps=-dac_override"]);
            command.arg(exe);
            command
        }
        false => Command::new(exe),
    };
    command.args(["--ignored", "--exact", BOUND_BY_PERMISSIONS]);
    let output = command.env(BOUND, "yes").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}\n{err}"
    );
}

#[tokio::test]
#[ignore = "run by another test, without the right to pass over permissions"]
async fn bound_by_permissions() {
    if std::env::var_os(BOUND).is_none() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let pending = out.join(PENDING_FOLDER);
    let own = pending.join("words");
    fs::create_dir_all(&own).unwrap();
    for (denied, named) in [(&out, &out), (&pending, &pending), (&own, &own)] {
        let has_own = denied != &pending;
        if !has_own {
            fs::remove_dir(&own).unwrap();
        }
        set_mode(denied, 0o555);
        let error = prepare(&out).await.unwrap_err();
        let text = describe(&*error);
        assert!(is_permanent(&*error), "{text}");
        let start = format!("the file sink cannot use the folder `{}`", out.display());
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains(&format!("`{}`", named.display())), "{text}");
        assert!(text.contains("let the job's user write there"), "{text}");
        assert!(text.contains("Permission denied"), "{text}");
        let left: &[&str] = if has_own {
            &[".pending", "words"]
        } else {
            &[".pending"]
        };
        assert_eq!(names(&out), left);
        set_mode(denied, 0o755);
        prepare(&out).await.unwrap();
        assert_eq!(names(&out), left);
        fs::create_dir_all(&own).unwrap();
    }
}

#[tokio::test]
async fn a_pending_folder_that_is_a_file_ends_the_job_at_its_start() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    fs::create_dir_all(out.join(PENDING_FOLDER)).unwrap();
    for file in [".pending/words", ".pending"] {
        let file = out.join(file);
        fs::write(&file, "").unwrap();
        let error = prepare(&out).await.unwrap_err();
        let text = describe(&*error);
        assert!(is_permanent(&*error), "{text}");
        assert!(text.contains(&format!("`{}`", file.display())), "{text}");
        assert!(text.contains("choose another folder"), "{text}");
        fs::remove_file(&file).unwrap();
        if file.ends_with("words") {
            fs::remove_dir(out.join(PENDING_FOLDER)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trials_at_the_same_time_do_each_other_no_harm_and_leave_nothing() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("new/out");
    for _ in 0..2 {
        let trials: Vec<_> = (0..16)
            .map(|_| {
                let out = out.clone();
                tokio::spawn(async move { prepare(&out).await })
            })
            .collect();
        for trial in trials {
            trial.await.unwrap().unwrap();
        }
        // A folder of the job's own would make this one look like one that was moved.
        assert_eq!(names(&out), [PENDING_FOLDER]);
    }
}

#[tokio::test]
async fn what_a_trial_left_that_was_killed_is_removed_by_the_next_attempt() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    fs::create_dir_all(out.join(".pending/words")).unwrap();
    let earlier = ".trial-words-out-1-0-00000000000000ff";
    let same_time = ".trial-words-out-2-0-00000000000000ff";
    let other_job = ".trial-other-out-1-0-00000000000000ff";
    for name in [earlier, same_time, other_job] {
        for within in [&out, &out.join(".pending/words")] {
            fs::write(within.join(name), "").unwrap();
        }
    }
    prepare(&out).await.unwrap();
    let left = [
        ".pending", other_job, other_job, same_time, same_time, "words",
    ];
    assert_eq!(names(&out), left);
}
