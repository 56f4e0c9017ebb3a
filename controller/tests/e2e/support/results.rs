//! What a job has committed to its bucket.

use std::collections::BTreeMap;

use tidegate_testkit::Counts;

use super::job::KEYS;
use super::{Job, Space, bucket};

/// One line of a job's output: the record of `index` was the `count`-th of its key.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) key: String,
    pub(crate) count: u64,
    pub(crate) index: u64,
}

/// All committed lines below a prefix of the space's bucket.
///
/// # Errors
/// The server does not answer.
pub(crate) fn read(space: &Space, prefix: &str) -> Result<String, String> {
    let names = bucket::try_list(space, &format!("{prefix}/"))?;
    let committed = names.iter().filter(|name| !name.contains("/.pending/"));
    committed.map(|name| bucket::read(space, name)).collect()
}

impl Job<'_> {
    /// The committed output, line by line.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) fn lines(&self) -> Result<Vec<Line>, String> {
        let text = read(self.space, &self.output)?;
        let parsed = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            Some(Line {
                text: line.to_owned(),
                key: words.next()?.to_owned(),
                count: words.next()?.parse().ok()?,
                index: words.next()?.parse().ok()?,
            })
        });
        Ok(parsed.collect())
    }

    /// The history that this job goes on with: of each key, what `before` had counted when this one
    /// took over, and what this one counted since.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) fn history_after(&self, before: &Job<'_>) -> Result<Counts, String> {
        let own = self.lines()?;
        let mut taken_over: BTreeMap<&str, u64> = BTreeMap::new();
        for line in &own {
            let least = taken_over.entry(&line.key).or_insert(line.count);
            *least = line.count.min(*least);
        }
        let mut counts = Counts::new(KEYS, 0);
        let older = before.lines()?;
        let is_older = |line: &&Line| taken_over.get(&*line.key).is_some_and(|c| line.count < *c);
        for line in older.iter().filter(is_older).chain(&own) {
            counts
                .add(&format!("{}\n", line.text))
                .expect("a line of the program");
        }
        Ok(counts)
    }
}
