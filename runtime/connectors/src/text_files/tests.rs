use std::io::Write;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::testing::context;

/// Reads until the end or until so many calls were made; gives the lines and the state.
async fn read(
    source: &TextFiles,
    splits: Vec<SplitState>,
    calls: usize,
) -> Result<(Vec<String>, Vec<SplitState>)> {
    let mut reader = source.reader(splits, context("text"))?;
    let mut output = SourceOutput::default();
    for _ in 0..calls {
        if reader.read(&mut output).await? == ReadStatus::Ended {
            break;
        }
    }
    Ok((output.into_records(), reader.snapshot()))
}

fn fresh(source: &TextFiles) -> Result<Vec<SplitState>> {
    let found = source.discover(&[])?;
    Ok(found.into_iter().map(SplitState::unread).collect())
}

fn expected(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.split('\n').collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }
    lines
        .iter()
        .map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned())
        .collect()
}

fn write_file(folder: &std::path::Path, text: &[u8], is_gzip: bool) -> String {
    let path = folder.join(if is_gzip { "text.gz" } else { "text.txt" });
    let mut file = std::fs::File::create(&path).unwrap();
    if is_gzip {
        // Two members, as `cat a.gz b.gz` makes them.
        for part in [&text[..text.len() / 2], &text[text.len() / 2..]] {
            let mut packed = flate2::write::GzEncoder::new(&mut file, flate2::Compression::fast());
            packed.write_all(part).unwrap();
            packed.finish().unwrap();
        }
    } else {
        file.write_all(text).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn all_splits_together_give_every_line_once(
        text in "([a-zä]{0,12}\r?\n){0,60}[a-z]{0,5}", split_bytes in 1_u64..200, is_gzip: bool
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = write_file(folder.path(), text.as_bytes(), is_gzip);
        let source = TextFiles::new(path).with_split_bytes(split_bytes);
        let (lines, _) = run(async { read(&source, fresh(&source)?, usize::MAX).await }).unwrap();
        prop_assert_eq!(lines, expected(&text));
    }

    #[test]
    fn a_reader_that_goes_on_gives_exactly_the_rest(
        text in "([a-z]{0,12}\n){0,60}", split_bytes in 1_u64..200, calls in 0_usize..20,
        is_gzip: bool
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = write_file(folder.path(), text.as_bytes(), is_gzip);
        let source = TextFiles::new(path).with_split_bytes(split_bytes);
        let (mut lines, rest) = run(async {
            let (lines, state) = read(&source, fresh(&source)?, calls).await?;
            assert_eq!(source.discover(&state)?, []);
            let (rest, _) = read(&source, state, usize::MAX).await?;
            Ok::<_, tidegate_engine::BoxError>((lines, rest))
        }).unwrap();
        lines.extend(rest);
        prop_assert_eq!(lines, expected(&text));
    }
}

#[test]
fn lines_longer_than_a_read_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("a\n{}\nb\n{}", "x".repeat(700_000), "y".repeat(600_000));
    let path = write_file(folder.path(), text.as_bytes(), false);
    let source = TextFiles::new(path);
    let (lines, _) = run(async { read(&source, fresh(&source)?, usize::MAX).await }).unwrap();
    assert_eq!(lines, expected(&text));
}

#[test]
fn a_line_over_the_bound_and_one_that_is_no_utf8_are_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = format!("a\n{}\nb\n{}\nc\n", "x".repeat(50), "y".repeat(2_000_000)).into_bytes();
    text.extend(b"\xff\xfe\nd\n");
    let path = write_file(folder.path(), &text, false);
    let source = TextFiles::new(path)
        .with_max_line_bytes(10)
        .on_bad_records(BadRecords::Skip);
    run(async {
        let context = context("text");
        let metrics = Arc::clone(&context.metrics);
        let mut reader = source.reader(fresh(&source).unwrap(), context).unwrap();
        let mut output = SourceOutput::default();
        while reader.read(&mut output).await.unwrap() == ReadStatus::More {}
        assert_eq!(output.into_records(), ["a", "b", "c", "d"]);
        assert_eq!(metrics.skipped_records.get(), 3);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn reads_of_any_size_and_lines_of_any_length_give_the_same_lines(
        text in "([a-zä]{0,40}\r?\n){0,30}[a-z]{0,40}", split_bytes in 1_u64..300,
        max_line_bytes in 1_usize..50, read_bytes in 1_usize..60, calls in 0_usize..20,
        is_gzip: bool
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = write_file(folder.path(), text.as_bytes(), is_gzip);
        let mut source = TextFiles::new(path)
            .with_split_bytes(split_bytes)
            .with_max_line_bytes(max_line_bytes)
            .on_bad_records(BadRecords::Skip);
        source.limits.read_bytes = read_bytes;
        let (mut lines, rest) = run(async {
            let (lines, state) = read(&source, fresh(&source)?, calls).await?;
            let (rest, _) = read(&source, state, usize::MAX).await?;
            Ok::<_, tidegate_engine::BoxError>((lines, rest))
        }).unwrap();
        lines.extend(rest);
        let fits = |line: &&str| line.len() <= max_line_bytes;
        let mut wanted: Vec<_> = text.split('\n').filter(fits).collect();
        if text.is_empty() || text.ends_with('\n') {
            wanted.pop();
        }
        for line in &mut wanted {
            *line = line.strip_suffix('\r').unwrap_or(line);
        }
        prop_assert_eq!(lines, wanted);
    }

    #[test]
    fn blocks_are_whole_lines_and_together_the_file(
        text in "([a-zä]{0,40}\r?\n){0,40}[a-z]{0,9}", split_bytes in 1_u64..300,
        read_bytes in 1_usize..200, calls in 0_usize..20, is_gzip: bool
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = write_file(folder.path(), text.as_bytes(), is_gzip);
        let mut source = TextFiles::new(path).with_split_bytes(split_bytes).blocks();
        source.limits.read_bytes = read_bytes;
        let (mut blocks, rest) = run(async {
            let (blocks, state) = read(&source, fresh(&source)?, calls).await?;
            let (rest, _) = read(&source, state, usize::MAX).await?;
            Ok::<_, tidegate_engine::BoxError>((blocks, rest))
        }).unwrap();
        blocks.extend(rest);
        prop_assert_eq!(blocks.concat(), text);
        let all_but_last = blocks.iter().rev().skip(1);
        prop_assert!(all_but_last.into_iter().all(|block| block.ends_with('\n')));
    }
}

#[test]
fn a_block_with_bytes_that_are_no_utf8_loses_the_bad_line_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_file(folder.path(), b"a\nb\n\xff\xfe\nc\n", false);
    let source = TextFiles::new(path)
        .blocks()
        .on_bad_records(BadRecords::Skip);
    let (blocks, _) = run(async { read(&source, fresh(&source)?, usize::MAX).await }).unwrap();
    assert_eq!(blocks.concat(), "a\nb\nc\n");
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_ends_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_file(
        folder.path(),
        "one line\n".repeat(1 << 20).as_bytes(),
        false,
    );
    let source = TextFiles::new(&path);
    run(async {
        let splits = fresh(&source).unwrap();
        let mut reader = source.reader(splits, context("text")).unwrap();
        let mut output = SourceOutput::default();
        reader.read(&mut output).await.unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(5 << 20).unwrap();
        let error = loop {
            match reader.read(&mut output).await {
                Ok(status) => assert_eq!(status, ReadStatus::More),
                Err(error) => break error,
            }
        };
        assert!(tidegate_engine::is_permanent(&*error));
        let error = error.to_string();
        assert!(
            error.contains(&path) && error.contains("changed"),
            "{error}"
        );
    });
}

#[test]
fn a_file_that_changed_before_it_is_read_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_file(folder.path(), b"a\nb\nc\n", false);
    let source = TextFiles::new(&path);
    run(async {
        let splits = fresh(&source).unwrap();
        std::fs::write(&path, "a\nb\nc\nd\n").unwrap();
        let error = read(&source, splits, usize::MAX)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&path) && error.contains("6 bytes and has 8"),
            "{error}"
        );
    });
}

#[test]
fn a_file_that_changed_under_way_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_file(folder.path(), b"a\nb\nc\n", false);
    let source = TextFiles::new(&path);
    run(async {
        let known = fresh(&source).unwrap();
        std::fs::write(&path, "a\nb\n").unwrap();
        let error = source.discover(&known).unwrap_err().to_string();
        assert!(
            error.contains(&path) && error.contains("6 bytes and has 4"),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();
        let error = source.discover(&known).unwrap_err().to_string();
        assert!(error.contains(&path), "{error}");
    });
}

#[test]
fn a_pattern_without_a_match_is_named() {
    let error = TextFiles::new("no/such/*.txt")
        .discover(&[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("`no/such/*.txt`"), "{error}");
}
