use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::testing::context;

type Row = (u64, Option<i32>, String);

fn fresh<R: Record>(source: &CsvFiles<R>) -> Vec<SplitState> {
    let found = source.discover(&[]).unwrap();
    found.into_iter().map(SplitState::unread).collect()
}

async fn read<R: Record>(
    source: &CsvFiles<R>,
    splits: Vec<SplitState>,
    calls: usize,
) -> Result<(Vec<R>, Vec<SplitState>)> {
    let mut reader = source.reader(splits, context("orders"))?;
    let mut output = SourceOutput::default();
    for _ in 0..calls {
        if reader.read(&mut output).await? == ReadStatus::Ended {
            break;
        }
    }
    Ok((output.into_records(), reader.snapshot()))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

fn read_text(text: &str, policy: BadRecords) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    std::fs::write(&path, text).unwrap();
    let source = CsvFiles::new(path.to_str().unwrap()).on_bad_records(policy);
    run(async { Ok(read(&source, fresh(&source), usize::MAX).await?.0) })
}

#[test]
fn columns_are_found_by_name_and_others_left_out() {
    let text =
        "\u{feff}_2,other,_0,_1\r\n\"a,\n\"\"b\"\"\",x,1,-2\r\nplain,y,18446744073709551615,\r\n";
    let rows = read_text(text, BadRecords::Fail).unwrap();
    assert_eq!(
        rows,
        [
            (1, Some(-2), "a,\n\"b\"".to_owned()),
            (u64::MAX, None, "plain".to_owned())
        ]
    );
}

#[test]
fn a_bad_cell_is_named_by_file_line_and_column() {
    let text = "_0,_1,_2\n1,2,\"two\nlines\"\n2,x,c\n";
    let error = read_text(text, BadRecords::Fail).unwrap_err();
    assert!(tidegate_engine::is_permanent(&*error));
    let text = error.to_string();
    let expected = "orders.csv, line 4, column `_1`: \"x\" is no integer of 32 bits";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn bad_rows_are_skipped_whole_by_policy() {
    let text = "_0,_1,_2\n1,2,a\nx,2,b\n3,3\n4,,d\n5,1,e,more\n,1,f\n7,99999999999,g\n8,1,h\n";
    let rows = read_text(text, BadRecords::Skip).unwrap();
    let kept: Vec<u64> = rows.iter().map(|row| row.0).collect();
    assert_eq!(kept, [1, 4, 8]);
}

#[test]
fn a_missing_or_doubled_column_is_named_with_those_that_are_there() {
    let error = read_text("_0,_2\n1,a\n", BadRecords::Skip)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no column `_1`") && error.contains("`_0`, `_2`"),
        "{error}"
    );
    let error = read_text("_0,_1,_0,_2\n1,2,3,a\n", BadRecords::Skip)
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than one column `_0`"), "{error}");
}

#[test]
fn a_field_that_csv_cannot_hold_is_refused_by_name() {
    run(async {
        let source = CsvFiles::<(u64, Vec<u64>)>::new("orders.csv");
        let error = source.reader(Vec::new(), context("orders")).err().unwrap();
        assert!(error.to_string().contains("field `_1`"), "{error}");
    });
}

#[test]
fn a_quote_that_is_never_closed_ends_in_an_error_and_not_in_all_memory() {
    let text = format!("_0,_1,_2\n1,2,\"{}", "a\n".repeat(10 << 20));
    let error = read_text(&text, BadRecords::Skip).unwrap_err();
    let text = tidegate_engine::describe(&*error);
    assert!(
        text.contains("orders.csv") && text.contains("never closed"),
        "{text}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_reader_that_goes_on_gives_exactly_the_rest(
        rows in prop::collection::vec(
            (any::<u64>(), any::<Option<i32>>(), "[a,\"\r\n]{0,6}é?"), 0..3000
        ),
        calls in 0_usize..4,
        is_gzip: bool
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if is_gzip { "orders.csv.gz" } else { "orders.csv" });
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["_0", "_1", "_2"]).unwrap();
        for (id, amount, text) in &rows {
            let amount = amount.map_or(String::new(), |amount| amount.to_string());
            writer.write_record([&id.to_string(), &amount, text]).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let file = std::fs::File::create(&path).unwrap();
        if is_gzip {
            let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            packed.write_all(&bytes).unwrap();
            packed.finish().unwrap();
        } else {
            std::fs::write(&path, &bytes).unwrap();
        }
        let source = CsvFiles::<Row>::new(path.to_str().unwrap());
        let (first, rest) = run(async {
            let (first, state) = read(&source, fresh(&source), calls).await?;
            let (rest, _) = read(&source, state, usize::MAX).await?;
            Ok::<_, tidegate_engine::BoxError>((first, rest))
        }).unwrap();
        prop_assert_eq!([first, rest].concat(), rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_ranges_of_a_file_together_give_every_row_once(
        cells in proptest::collection::vec(
            (any::<u64>(), any::<Option<i32>>(), "[a-z \"]{0,9}"), 0..60
        ),
        split_bytes in 1_u64..300,
        calls in 0_usize..20,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.csv");
        let mut writer = csv::Writer::from_path(&path).unwrap();
        writer.write_record(["_0", "_1", "_2"]).unwrap();
        for row in &cells {
            writer.serialize(row).unwrap();
        }
        drop(writer);
        let source = CsvFiles::new(path.to_str().unwrap()).with_split_bytes(split_bytes);
        let (first, rest) = run(async {
            let (first, state) = read(&source, fresh(&source), calls).await.unwrap();
            let (rest, _) = read(&source, state, usize::MAX).await.unwrap();
            (first, rest)
        });
        let all: Vec<Row> = first.into_iter().chain(rest).collect();
        prop_assert_eq!(all, cells);
    }
}

fn read_ranges(text: &str, split_bytes: u64) -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    std::fs::write(&path, text).unwrap();
    let source = CsvFiles::new(path.to_str().unwrap()).with_split_bytes(split_bytes);
    run(async { read(&source, fresh(&source), usize::MAX).await.unwrap().0 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn ranges_that_meet_anywhere_in_line_ends_and_blank_lines_give_every_row_once(
        ends in proptest::collection::vec("\r\n|\n|\r|\r\n\r\n|\n\n\n|\n\r|\r\r\n", 1..8),
        begin in "\n?\r?",
    ) {
        let rows = ends.iter().enumerate().map(|(index, end)| format!("{end}{index},,a"));
        let text = format!("{begin}_0,_1,_2{}", rows.collect::<String>());
        let expected: Vec<Row> = (0..ends.len() as u64).map(|id| (id, None, "a".into())).collect();
        for split_bytes in 1..=text.len() as u64 {
            prop_assert_eq!(&read_ranges(&text, split_bytes), &expected);
        }
    }
}

#[test]
fn an_empty_file_has_no_rows_and_one_without_a_header_is_told() {
    assert_eq!(read_text("", BadRecords::Fail).unwrap(), []);
    let error = read_text("\n\n", BadRecords::Skip).unwrap_err().to_string();
    assert!(error.contains("orders.csv` has no column `_0`"), "{error}");
}

#[test]
fn a_byte_order_mark_is_text_but_at_the_begin_of_a_file() {
    type Texts = (String, String);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("texts.csv");
    std::fs::write(&path, "\u{feff}_0,_1\n\u{feff}a,b\n\u{feff}c,d\n").unwrap();
    for split_bytes in [1, u64::MAX] {
        let source = CsvFiles::<Texts>::new(path.to_str().unwrap()).with_split_bytes(split_bytes);
        let texts = run(async { read(&source, fresh(&source), usize::MAX).await.unwrap().0 });
        let expected = [("\u{feff}a", "b"), ("\u{feff}c", "d")];
        assert_eq!(texts, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}

#[test]
fn a_bad_row_s_line_counts_blank_lines_and_carriage_returns() {
    let text = "_0,_1,_2\r\n1,2,a\r\n\r\n\r\n2,x,c\r\n";
    let error = read_text(text, BadRecords::Fail).unwrap_err().to_string();
    assert!(error.contains("orders.csv, line 5, column `_1`"), "{error}");
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_ends_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    let row = "1,2,three\n";
    std::fs::write(&path, format!("_0,_1,_2\n{}", row.repeat(1 << 20))).unwrap();
    let source = CsvFiles::<Row>::new(path.to_str().unwrap());
    run(async {
        let mut reader = source.reader(fresh(&source), context("orders")).unwrap();
        let mut output = SourceOutput::default();
        reader.read(&mut output).await.unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        // Cut between two rows, so that no row tells.
        file.set_len(9 + 10 * 500_000).unwrap();
        let error = loop {
            match reader.read(&mut output).await {
                Ok(status) => assert_eq!(status, ReadStatus::More),
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            error.contains("orders.csv") && error.contains("changed"),
            "{error}"
        );
    });
}
