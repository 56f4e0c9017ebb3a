//! Counts the words of a text, and keeps counting right when it is killed.
//!
//! Start it, end it half-way with `kill -9`, start it again: it goes on from its last checkpoint
//! and ends with the same counts.

use std::cell::OnceCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use tidegate::prelude::*;

/// The variable that names the text that is counted unless `--input` does.
const TEXT_ENV: &str = "WORD_COUNT_TEXT";
/// The variable that says where the result goes unless `--output` does.
const OUTPUT_ENV: &str = "WORD_COUNT_OUTPUT";
/// Where the text lies: where this program was built, and in an image.
const TEXTS: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/data/kjv.txt"),
    "/data/kjv.txt",
];
/// Small enough for several subtasks to share a text of a few megabytes.
const SPLIT_BYTES: u64 = 256 * 1024;

/// How many of the most frequent words are shown at the end.
const SHOWN_WORDS: usize = 10;

/// Counts each word, and says how often it came once the text has ended.
#[derive(Clone)]
struct CountWords;

impl KeyedProcess for CountWords {
    type Key = String;
    type Input = String;
    type Output = String;
    type State = ValueState<u64>;

    fn process(
        &mut self,
        _word: &str,
        context: &mut KeyedContext<'_, String, ValueState<u64>>,
        _output: &mut Output<String>,
    ) -> Result<()> {
        context.state.update(|count| *count += 1);
        context.set_end_of_input_timer();
        Ok(())
    }

    fn on_timer(
        &mut self,
        _time_ms: i64,
        context: &mut KeyedContext<'_, String, ValueState<u64>>,
        output: &mut Output<String>,
    ) -> Result<()> {
        let count = context.state.get_or_default();
        output.push(&format!("{count} {}", context.key()));
        Ok(())
    }
}

/// The words of a line: its letters, in lower case.
fn split_words(line: &str, words: &mut Output<String>) {
    let line = line.to_ascii_lowercase();
    let parts = line.split(|c: char| !c.is_ascii_alphabetic());
    parts
        .filter(|word| !word.is_empty())
        .for_each(|word| words.push(word));
}

fn build(pipeline: &mut Pipeline, arguments: &Arguments) -> Result<()> {
    let mut text = TextFiles::new(arguments.get::<String>("input")?).with_split_bytes(SPLIT_BYTES);
    let lines_per_second = arguments.get("rate")?;
    if lines_per_second > 0 {
        text = text.with_rate(lines_per_second);
    }
    let result = FileSink::new(arguments.get::<String>("output")?, Lines);
    pipeline
        .source("text", text)
        .flat_map(split_words)
        .key_by::<String>(|word| word)
        .process("count", CountWords)
        .sink("result", result);
    Ok(())
}

/// The most frequent words of a finished result, for a first look.
fn show_top(folder: &Path) -> std::io::Result<()> {
    let mut counts: Vec<(u64, String)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            let text = std::fs::read_to_string(path)?;
            let pairs = text.lines().filter_map(|line| line.split_once(' '));
            let parsed = pairs.filter_map(|(count, word)| Some((count.parse().ok()?, word.into())));
            counts.extend(parsed);
        }
    }
    counts.sort_by(|(a, _), (b, _)| b.cmp(a));
    let mut screen = std::io::stderr().lock();
    for (count, word) in counts.iter().take(SHOWN_WORDS) {
        writeln!(screen, "{count:>8} {word}")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let output = Rc::new(OnceCell::new());
    let chosen = Rc::clone(&output);
    let exit = program().run(move |pipeline, arguments| {
        build(pipeline, arguments)?;
        let _ = chosen.set(arguments.get::<PathBuf>("output")?);
        Ok(())
    });
    // Of a job that failed there may only be an earlier one's result.
    if let Some(folder) = output.get().filter(|_| exit == ExitCode::SUCCESS) {
        // There is nothing to show of a job that was stopped before its end.
        let _ = show_top(folder);
    }
    exit
}

/// The text that is counted unless another is named.
fn default_text() -> String {
    let there = TEXTS.iter().find(|path| Path::new(path).exists());
    std::env::var(TEXT_ENV).unwrap_or_else(|_| there.unwrap_or(&TEXTS[0]).to_string())
}

/// Where the result goes unless another place is named.
fn default_output() -> String {
    std::env::var(OUTPUT_ENV).unwrap_or_else(|_| "word-count-result".to_owned())
}

fn program() -> tidegate::Program {
    tidegate::Program::new(
        "Counts the words of a text, and keeps counting right when it is killed.",
    )
    .option_with_default(
        "input",
        "PATH",
        &default_text(),
        "the text: a file, a folder or a pattern",
    )
    .option_with_default(
        "output",
        "PLACE",
        &default_output(),
        "where the result goes: a folder or s3://bucket/prefix",
    )
    .option_with_default(
        "rate",
        "LINES",
        "1700",
        "lines read a second; 0: as fast as it goes",
    )
}
