//! Word count of a large text of Zipf words: the job that everybody knows.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use tidegate::prelude::ValueState;
use tidegate::{KeyedContext, KeyedProcess, Output, run_job};
use tidegate_connectors::{TextFiles, mix};

use crate::job;

const TEXT_BYTES: u64 = 500 << 20;
const VOCABULARY: usize = 100_000;
const WORDS_A_LINE: u64 = 12;

/// Counts each word; the totals come at the end.
#[derive(Clone)]
struct CountWords;

impl KeyedProcess for CountWords {
    type Key = String;
    type Input = String;
    type Output = (String, u64);
    type State = ValueState<u64>;

    fn process(
        &mut self,
        _: &str,
        context: &mut KeyedContext<'_, String, ValueState<u64>>,
        _: &mut Output<(String, u64)>,
    ) -> tidegate::Result<()> {
        let count = context.state.get().unwrap_or(0);
        if count == 0 {
            context.set_end_of_input_timer();
        }
        context.state.set(count + 1);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        context: &mut KeyedContext<'_, String, ValueState<u64>>,
        output: &mut Output<(String, u64)>,
    ) -> tidegate::Result<()> {
        let count = context.state.get().unwrap_or(0);
        output.push((context.key(), count));
        Ok(())
    }
}

/// Words a second, from the start of the job to its end. The text is in the page cache by then.
pub(crate) fn measure() -> Result<f64> {
    let folder = job::scratch()?;
    let path = folder.path().join("words.txt");
    let word_count = write_text(&path)?;
    let state = job::scratch()?;
    let config = job::config(&state, Some(1000))?;
    let (sink, records) = job::Counted::new();
    let text = TextFiles::new(path.to_string_lossy()).blocks();
    let graph = job::graph(|pipeline| {
        let words = pipeline
            .source("text", text)
            .flat_map::<String>(|block, output| {
                block
                    .split_ascii_whitespace()
                    .for_each(|word| output.push(word));
            });
        let counts = words
            .key_by::<String>(|word| word)
            .process("count", CountWords);
        counts.sink("discard", sink);
    })?;
    let start = Instant::now();
    run_job(&config, graph)?;
    let seconds = start.elapsed().as_secs_f64();
    let distinct = records.load(std::sync::atomic::Ordering::Relaxed);
    ensure!(
        distinct > 0 && distinct <= VOCABULARY as u64,
        "{distinct} distinct words came out"
    );
    Ok(word_count as f64 / seconds)
}

/// Writes lines of words, the n-th most frequent of which comes n times more rarely than the first;
/// gives the number of words.
fn write_text(path: &Path) -> Result<u64> {
    let words: Vec<String> = (0..VOCABULARY).map(word).collect();
    let mut sums = Vec::with_capacity(VOCABULARY);
    let mut sum = 0.0;
    for rank in 1..=VOCABULARY {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    // Ranks drawn once, since drawing takes longer than writing.
    let draw = |index: u64| {
        let point = (mix(index) >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        sums.partition_point(|sum| *sum < point).min(VOCABULARY - 1)
    };
    let ranks: Vec<usize> = (0..1 << 20).map(draw).collect();
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (mut bytes, mut count) = (0, 0);
    while bytes < TEXT_BYTES {
        // Another order in each round, so that no line repeats.
        let rank = ranks[(mix(count) % ranks.len() as u64) as usize];
        count += 1;
        let end = if count % WORDS_A_LINE == 0 { "\n" } else { " " };
        file.write_all(words[rank].as_bytes())?;
        file.write_all(end.as_bytes())?;
        bytes += words[rank].len() as u64 + 1;
    }
    file.write_all(b"\n")?;
    file.flush()?;
    Ok(count)
}

/// A word of three to ten letters, a different one for each number.
fn word(number: usize) -> String {
    let mut letters = String::new();
    let mut rest = number;
    loop {
        letters.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
        if rest == 0 {
            break;
        }
    }
    let ending = mix(number as u64);
    let length = 2 + (ending % 5) as usize;
    letters.push('\'');
    letters.extend((0..length).map(|at| char::from(b'a' + (ending >> (8 + at * 8)) as u8 % 26)));
    letters
}
