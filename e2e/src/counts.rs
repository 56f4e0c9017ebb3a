//! Whether a count by key is exact, judged from its lines alone.
//!
//! A line is `<key> <count> <index> <label>`: the record of that index was the count-th of its key.
//! Which key an index has is computed here anew.

use std::collections::{BTreeMap, BTreeSet};

/// Lines that a counting job has written, of all its files.
#[derive(Debug, Clone)]
pub struct Counts {
    key_count: u64,
    seed: u64,
    /// For each key, for each count that was written, the indexes with it.
    by_key: BTreeMap<u64, BTreeMap<u64, Vec<u64>>>,
    labels: BTreeSet<String>,
}

impl Counts {
    /// No lines yet, of a job with so many keys and this seed.
    #[must_use]
    pub fn new(key_count: u64, seed: u64) -> Self {
        Self {
            key_count: key_count.max(1),
            seed,
            by_key: BTreeMap::new(),
            labels: BTreeSet::new(),
        }
    }

    /// Adds the lines of a text.
    ///
    /// # Errors
    /// A line that the job cannot have written.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(format!("the last line of {} bytes has no end", text.len()));
        }
        for line in text.lines() {
            self.add_line(line)
                .ok_or_else(|| format!("`{line}` is no line of the job"))?;
        }
        Ok(())
    }

    fn add_line(&mut self, line: &str) -> Option<()> {
        let mut parts = line.splitn(4, ' ');
        let key = parts.next()?.strip_prefix('k')?.parse().ok()?;
        let count = parts.next()?.parse().ok()?;
        let index: u64 = parts.next()?.parse().ok()?;
        if !self.labels.contains(parts.next()?) {
            self.labels.insert(line.splitn(4, ' ').last()?.to_owned());
        }
        let counts = self.by_key.entry(key).or_default();
        counts.entry(count).or_default().push(index);
        (key == scrambled(index.wrapping_add(self.seed)) % self.key_count).then_some(())
    }

    /// Whether each key's counts are 1 to n, each once, and no index came twice; gives the number
    /// of records.
    ///
    /// # Errors
    /// The first key with a gap or a double, and what is wrong.
    pub fn check(&self) -> Result<u64, String> {
        let mut seen = BTreeSet::new();
        for (key, counts) in &self.by_key {
            for ((count, indexes), expected) in counts.iter().zip(1..) {
                if *count != expected {
                    return Err(format!(
                        "key k{key} lacks count {expected}: {count} comes next"
                    ));
                }
                if let [first, second, ..] = indexes.as_slice() {
                    return Err(format!(
                        "key k{key} has count {count} more than once: for indexes {first} and \
                         {second}"
                    ));
                }
            }
            for index in counts.values().flatten() {
                if !seen.insert(*index) {
                    return Err(format!("index {index} was counted twice, for key k{key}"));
                }
            }
        }
        Ok(seen.len() as u64)
    }

    /// Whether the records are those of the indexes below `count`, each once.
    ///
    /// # Errors
    /// As [`Counts::check`], and another number of records.
    pub fn check_exactly(&self, count: u64) -> Result<(), String> {
        let found = self.check()?;
        let indexes = self.by_key.values().flat_map(BTreeMap::values).flatten();
        let last = indexes.max().copied();
        if found == count && last.is_none_or(|last| last < count) {
            return Ok(());
        }
        Err(format!(
            "there are {found} records up to index {last:?}, and should be {count}"
        ))
    }

    /// What stood in the lines' last column.
    #[must_use]
    pub fn labels(&self) -> &BTreeSet<String> {
        &self.labels
    }
}

/// splitmix64, by which an index gets its key.
fn scrambled(index: u64) -> u64 {
    let mut word = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a job of three keys writes of the first records.
    fn lines(record_count: u64) -> Vec<String> {
        let mut counts = [0; 3];
        let line = |index| {
            let key = scrambled(index) % 3;
            let count = &mut counts[usize::try_from(key).unwrap()];
            *count += 1;
            format!("k{key} {count} {index} v1\n")
        };
        (0..record_count).map(line).collect()
    }

    fn judged(lines: &[String]) -> Result<u64, String> {
        let mut counts = Counts::new(3, 0);
        counts.add(&lines.concat())?;
        counts.check()
    }

    #[test]
    fn an_exact_count_is_accepted_in_any_order() {
        let mut lines = lines(50);
        lines.reverse();
        assert_eq!(judged(&lines), Ok(50));
        let mut counts = Counts::new(3, 0);
        counts.add(&lines.concat()).unwrap();
        assert_eq!(counts.check_exactly(50), Ok(()));
        assert!(counts.check_exactly(51).is_err());
        assert_eq!(counts.labels().iter().collect::<Vec<_>>(), ["v1"]);
    }

    #[test]
    fn a_gap_and_a_double_and_a_wrong_key_are_found() {
        let mut lost = lines(50);
        lost.remove(10);
        assert!(judged(&lost).unwrap_err().contains("lacks count"));
        let mut double = lines(50);
        double.push(double[10].clone());
        assert!(judged(&double).unwrap_err().contains("more than once"));
        let mut again = lines(50);
        let key = scrambled(10) % 3;
        let next = again
            .iter()
            .filter(|line| line.starts_with(&format!("k{key} ")))
            .count()
            + 1;
        again.push(format!("k{key} {next} 10 v1\n"));
        assert!(judged(&again).unwrap_err().contains("counted twice"));
        let mut wrong = lines(50);
        wrong[10] = format!("k{} 1 10 v1\n", (key + 1) % 3);
        assert!(judged(&wrong).unwrap_err().contains("no line of the job"));
        assert!(
            judged(&["k1 1".to_owned()])
                .unwrap_err()
                .contains("has no end")
        );
    }
}
