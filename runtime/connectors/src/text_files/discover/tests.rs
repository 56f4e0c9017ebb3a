use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tidegate_engine::is_permanent;

use super::*;

/// A folder with these files, each of four bytes.
fn folder_of(files: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "abc\n").unwrap();
    }
    folder
}

fn within(folder: &TempDir, path: &str) -> String {
    format!("{}/{path}", folder.path().display())
}

fn cut_of(pattern: &str, known: &[SplitState]) -> Result<Vec<Split>> {
    discover(&[pattern.to_owned()], 1 << 20, known)
}

/// The paths of the files found, seen from the folder.
fn found(folder: &TempDir, patterns: &[&str]) -> Vec<String> {
    let patterns: Vec<_> = patterns.iter().map(|it| within(folder, it)).collect();
    let real = folder.path().canonicalize().unwrap();
    let splits = discover(&patterns, 1 << 20, &[]).unwrap().into_iter();
    let ranges = splits.map(|split| range_of(&SplitState::unread(split)).unwrap());
    let seen = |range: FileRange| {
        let path = range.path.strip_prefix(&real).unwrap();
        path.to_str().unwrap().to_owned()
    };
    ranges.map(seen).collect()
}

/// What a checkpoint knows of files that are read to their end.
fn read_to_the_end(splits: Vec<Split>) -> Vec<SplitState> {
    let states = splits.into_iter().map(SplitState::unread);
    states
        .map(|state| SplitState {
            is_ended: true,
            ..state
        })
        .collect()
}

/// What an older version wrote to a checkpoint: the path as it was spelt.
fn known_as(path: &str, is_ended: bool) -> Vec<SplitState> {
    let mut split = cut_of(path, &[]).unwrap().remove(0);
    split.id = format!("{path}@0");
    split.spec["path"] = path.into();
    vec![SplitState {
        is_ended,
        ..SplitState::unread(split)
    }]
}

#[test]
fn a_file_that_is_spelt_otherwise_on_the_next_run_is_not_read_again() {
    let folder = folder_of(&["in.txt", "sub/other.txt"]);
    symlink("in.txt", folder.path().join("lnk.txt")).unwrap();
    symlink(folder.path(), folder.path().join("sub/up")).unwrap();
    let spellings = [
        "in.txt",
        "sub/../in.txt",
        "lnk.txt",
        "sub/up/in.txt",
        "i*.txt",
    ];
    let spellings = spellings.map(|spelling| within(&folder, spelling));
    for before in &spellings {
        let known = read_to_the_end(cut_of(before, &[]).unwrap());
        for now in &spellings {
            let splits = cut_of(now, &known).unwrap();
            assert_eq!(splits, [], "{before}, then {now}");
        }
    }
}

#[test]
fn a_path_that_an_older_version_wrote_to_a_checkpoint_is_known_however_it_is_spelt() {
    let folder = folder_of(&["in.txt", "sub/other.txt"]);
    symlink("in.txt", folder.path().join("lnk.txt")).unwrap();
    for before in ["in.txt", "sub/../in.txt", "lnk.txt"] {
        for is_ended in [false, true] {
            let known = known_as(&within(&folder, before), is_ended);
            for now in ["in.txt", "sub/../in.txt", "lnk.txt", "*.txt"] {
                let splits = cut_of(&within(&folder, now), &known).unwrap();
                assert_eq!(splits, [], "{before}, then {now}");
            }
        }
    }
}

#[test]
fn a_known_file_that_is_gone_is_no_matter_once_it_is_read() {
    let folder = folder_of(&["a.txt", "b.txt"]);
    let known = read_to_the_end(cut_of(&within(&folder, "a.txt"), &[]).unwrap());
    fs::remove_file(folder.path().join("a.txt")).unwrap();
    let splits = cut_of(&within(&folder, "*.txt"), &known).unwrap();
    assert_eq!(splits.len(), 1);
    assert!(splits[0].id.ends_with("/b.txt@0"), "{}", splits[0].id);
}

#[test]
fn a_link_that_leads_to_another_file_by_now_names_a_new_file() {
    let folder = folder_of(&["file-1", "file-2"]);
    let later = SystemTime::now() + Duration::from_secs(60);
    let second = fs::File::options()
        .write(true)
        .open(folder.path().join("file-2"));
    second.unwrap().set_modified(later).unwrap();
    let link = folder.path().join("current");
    symlink("file-1", &link).unwrap();
    let current = within(&folder, "current");
    let known = read_to_the_end(cut_of(&current, &[]).unwrap());
    let known_by_link = known_as(&current, true);
    fs::remove_file(&link).unwrap();
    symlink("file-2", &link).unwrap();
    for known in [known, known_by_link] {
        let splits = cut_of(&current, &known).unwrap();
        assert_eq!(splits.len(), 1);
        assert!(splits[0].id.ends_with("/file-2@0"), "{}", splits[0].id);
    }
}

#[test]
fn a_folder_link_that_leads_to_another_folder_by_now_names_new_files() {
    let folder = folder_of(&["day1/in.txt", "day2/in.txt"]);
    fs::write(within(&folder, "day2/in.txt"), "of another day\n").unwrap();
    let link = folder.path().join("current");
    symlink("day1", &link).unwrap();
    let input = within(&folder, "current/in.txt");
    let known = known_as(&input, true);
    fs::remove_file(&link).unwrap();
    symlink("day2", &link).unwrap();
    let splits = cut_of(&input, &known).unwrap();
    assert_eq!(splits.len(), 1);
    assert!(splits[0].id.ends_with("/day2/in.txt@0"), "{}", splits[0].id);
}

#[test]
fn a_file_whose_place_became_a_link_to_another_one_does_not_hide_that() {
    let folder = folder_of(&["app.log"]);
    let log = within(&folder, "app.log");
    let known = read_to_the_end(cut_of(&log, &[]).unwrap());
    fs::rename(&log, within(&folder, "app.log.1")).unwrap();
    fs::write(within(&folder, "app.log.2"), "longer\n").unwrap();
    symlink("app.log.2", &log).unwrap();
    let splits = cut_of(&log, &known).unwrap();
    assert_eq!(splits.len(), 1);
    assert!(splits[0].id.ends_with("/app.log.2@0"), "{}", splits[0].id);
}

#[test]
fn a_folder_that_was_moved_and_left_a_link_behind_is_not_read_again() {
    let folder = folder_of(&["data/a.txt"]);
    let pattern = within(&folder, "data/*.txt");
    let known = read_to_the_end(cut_of(&pattern, &[]).unwrap());
    fs::rename(within(&folder, "data"), within(&folder, "moved")).unwrap();
    symlink("moved", folder.path().join("data")).unwrap();
    assert_eq!(cut_of(&pattern, &known).unwrap(), []);
}

#[test]
fn a_file_that_several_patterns_and_links_name_is_read_once() {
    let folder = folder_of(&["in.txt", "sub/b.txt"]);
    symlink("in.txt", folder.path().join("lnk.txt")).unwrap();
    symlink("../in.txt", folder.path().join("sub/lnk.txt")).unwrap();
    let patterns = ["in.txt", "sub/../in.txt", "*.txt", "**/*.txt", ""];
    assert_eq!(found(&folder, &patterns), ["in.txt", "sub/b.txt"]);
}

#[test]
fn links_to_folders_above_neither_repeat_a_file_nor_take_for_ever() {
    let folder = folder_of(&["a.txt", "x/b.txt", "x/y/c.txt"]);
    for (link, target) in [
        ("loop", "."),
        ("again", "."),
        ("x/up", ".."),
        ("x/y/top", "../.."),
        ("self", "self"),
    ] {
        symlink(target, folder.path().join(link)).unwrap();
    }
    let all = ["a.txt", "x/b.txt", "x/y/c.txt"];
    assert_eq!(found(&folder, &["**/*.txt"]), all);
    assert_eq!(found(&folder, &["**/**/*"]), all);
    assert_eq!(
        found(&folder, &["*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*.txt"]),
        all
    );
    assert_eq!(found(&folder, &["loop/again/loop/*.txt"]), ["a.txt"]);
}

#[test]
fn hidden_names_are_read_only_by_a_pattern_that_has_their_dot() {
    let files = [
        "a.txt",
        ".b.txt",
        "x/c.txt",
        "x/.d.txt",
        ".y/e.txt",
        ".y/.f.txt",
    ];
    let folder = folder_of(&files);
    assert_eq!(found(&folder, &[""]), ["a.txt"]);
    assert_eq!(found(&folder, &["*"]), ["a.txt"]);
    let none = cut_of(&within(&folder, "?b.txt"), &[]).unwrap_err();
    assert!(none.to_string().contains("no file matches"), "{none}");
}

#[test]
fn patterns_match_as_in_a_shell() {
    let files = [
        "a.txt",
        ".b.txt",
        "x/c.txt",
        "x/.d.txt",
        ".y/e.txt",
        ".y/.f.txt",
        "[z].txt",
    ];
    let folder = folder_of(&files);
    for (pattern, wanted) in [
        ("**/*.txt", vec!["[z].txt", "a.txt", "x/c.txt"]),
        (".*", vec![".b.txt"]),
        (".b*", vec![".b.txt"]),
        (".y", vec![".y/e.txt"]),
        (".y/*", vec![".y/e.txt"]),
        (".?/.*", vec![".y/.f.txt"]),
        ("**/.*.txt", vec![".b.txt", "x/.d.txt"]),
        ("x/../[ab].txt", vec!["a.txt"]),
        ("./*//c.txt", vec!["x/c.txt"]),
        ("[z].txt", vec!["[z].txt"]),
        ("[[]z].t*", vec!["[z].txt"]),
        (".y/e.txt", vec![".y/e.txt"]),
    ] {
        assert_eq!(found(&folder, &[pattern]), wanted, "{pattern}");
    }
}

#[test]
fn what_a_file_sink_has_not_committed_is_no_input() {
    let pending = ".pending/words/out-1-0-00000000000000ff";
    let folder = folder_of(&["part-1.txt", pending, "sub/part-2.txt"]);
    symlink("../.pending", folder.path().join("sub/link")).unwrap();
    symlink(pending, folder.path().join("link.txt")).unwrap();
    assert_eq!(found(&folder, &[""]), ["part-1.txt"]);
    let both = ["part-1.txt", "sub/part-2.txt"];
    assert_eq!(found(&folder, &["**/*"]), both);
    assert_eq!(found(&folder, &["*", "*/*"]), both);
    // Only what is behind the link is that deep.
    cut_of(&within(&folder, "*/*/*/*"), &[]).unwrap_err();
    assert_eq!(found(&folder, &[".pending/**/*"]), [pending]);
    assert_eq!(found(&folder, &["link.txt"]), [pending], "named as it is");
}

#[test]
fn a_packed_file_is_told_by_its_name_or_that_of_a_link_to_it() {
    let folder = folder_of(&["blob", "packed.gz"]);
    symlink("blob", folder.path().join("link.gz")).unwrap();
    symlink("packed.gz", folder.path().join("link")).unwrap();
    for pattern in ["link.gz", "link", "packed.gz", "[bl]*"] {
        let splits = cut_of(&within(&folder, pattern), &[]).unwrap();
        for split in splits {
            let range = range_of(&SplitState::unread(split)).unwrap();
            assert!(range.is_gzip && range.end.is_none(), "{pattern}");
        }
    }
}

#[test]
fn what_is_there_and_cannot_be_read_is_told_for_what_it_is() {
    let folder = folder_of(&["sub/.hidden"]);
    symlink("gone", folder.path().join("broken")).unwrap();
    let pipe = Command::new("mkfifo").arg(within(&folder, "pipe")).status();
    assert!(pipe.unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(within(&folder, "socket")).unwrap();
    for (path, wanted) in [
        (within(&folder, "sub"), "has no file to read"),
        (within(&folder, "pipe"), "is a named pipe"),
        (within(&folder, "socket"), "is a socket"),
        ("/dev/null".to_owned(), "is a device"),
        (within(&folder, "broken"), "is a link to `gone`"),
        (within(&folder, "sub/**"), "names folders only"),
        (within(&folder, "missing.txt"), "no file matches"),
        (within(&folder, "*.txt"), "only a dot matches"),
        (within(&folder, "a**"), "is no pattern of file names"),
    ] {
        let error = cut_of(&path, &[]).unwrap_err();
        assert!(is_permanent(&*error));
        let error = error.to_string();
        assert!(error.contains(wanted), "{error}");
        assert!(error.contains(&path), "{error}");
    }
}

/// Mounts a file as kubelet does: by way of a folder that is another one in each pod.
fn mount(folder: &TempDir, version: &str) {
    let real = folder.path().join(version);
    fs::create_dir(&real).unwrap();
    fs::write(real.join("in.txt"), "abc\n").unwrap();
    symlink(version, folder.path().join("..data")).unwrap();
    symlink("..data/in.txt", folder.path().join("in.txt")).unwrap();
}

#[test]
fn a_mounted_file_that_was_read_is_not_read_again_in_another_pod() {
    let folder = TempDir::new().unwrap();
    mount(&folder, "..2026_11_29_06_03_09.1574");
    let pattern = within(&folder, "*.txt");
    let splits = cut_of(&pattern, &[]).unwrap();
    assert_eq!(splits.len(), 1);
    assert!(splits[0].id.ends_with("/in.txt@0"), "{}", splits[0].id);
    assert!(!splits[0].id.contains("2026"), "{}", splits[0].id);
    let known = read_to_the_end(splits);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        match path.is_symlink() {
            true => fs::remove_file(path).unwrap(),
            false => fs::remove_dir_all(path).unwrap(),
        }
    }
    mount(&folder, "..2026_11_30_07_00_00.99");
    assert_eq!(cut_of(&pattern, &known).unwrap(), []);
}

#[test]
fn a_file_that_grew_after_it_was_read_is_told_and_not_read() {
    let folder = folder_of(&["a.txt", "b.txt"]);
    let patterns = [within(&folder, "*.txt")];
    let known = read_to_the_end(discover(&patterns, 1 << 20, &[]).unwrap());
    assert_eq!(
        find_new(&patterns, 1 << 20, &known).unwrap(),
        (vec![], vec![])
    );
    fs::write(folder.path().join("a.txt"), "abc\ndef\n").unwrap();
    let path = folder.path().canonicalize().unwrap().join("a.txt");
    let change = "it had 4 bytes and has 8 now".to_owned();
    let expected = (vec![], vec![(path, change)]);
    assert_eq!(find_new(&patterns, 1 << 20, &known).unwrap(), expected);
    // What is not an input any more is nobody's concern.
    let others = [within(&folder, "b.txt")];
    assert_eq!(
        find_new(&others, 1 << 20, &known).unwrap(),
        (vec![], vec![])
    );
}

#[test]
fn a_file_whose_name_is_no_utf_8_is_refused_by_name() {
    use std::os::unix::ffi::OsStrExt;

    let folder = folder_of(&["a.txt", "sub/b.txt"]);
    let name = std::ffi::OsStr::from_bytes(b"bad\xff.txt");
    for parent in ["", "sub"] {
        let path = folder.path().join(parent).join(name);
        fs::write(&path, "abc\n").unwrap();
        for pattern in [parent, "**/*.txt", "**/bad*"] {
            let error = cut_of(&within(&folder, pattern), &[]).unwrap_err();
            assert!(is_permanent(&*error));
            assert!(error.to_string().contains(r"/bad\xFF.txt"), "{error}");
        }
        // What no pattern matches is left alone.
        assert_eq!(found(&folder, &["**/a.*"]), ["a.txt"]);
        fs::remove_file(path).unwrap();
    }
}
