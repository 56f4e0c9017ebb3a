//! Whether a store keeps what the checkpoint log relies on: a name is created once, whoever races.
//!
//! Some servers ignore the condition of a put, and some check it and then write, so that racers win
//! together. Two puts in a row find the first kind only; hence several at once, in several rounds,
//! then a last one.

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::random::random_u64;
use crate::store::{Backend, Creation};
use crate::{JobFolder, Result, StorageError};

/// The folder in a job's folder that the test uses.
pub(crate) const FOLDER: &str = "self-test";
/// Puts of one name at once.
const RACER_COUNT: usize = 8;
/// How many names are raced for on a server, which may be lucky once.
const SERVER_ROUND_COUNT: usize = 3;
/// How often names are deleted that come back.
const CLEAN_UPS_MAX: usize = 4;
/// How many names are raced for in a folder, where a kernel decides.
const LOCAL_ROUND_COUNT: usize = 1;

impl JobFolder {
    /// Tests that the store creates a name once, and lists, reads and deletes it; leaves nothing
    /// behind.
    ///
    /// # Errors
    /// [`StorageError::Unsuitable`] with what the store does wrong; or what kept the test from
    /// running: wrong credentials, no space, no access.
    pub async fn self_test(&self) -> Result<()> {
        let mut names = Vec::new();
        let result = self.race_rounds(&mut names).await;
        let cleaned = self.clean_up(&names).await;
        result?;
        cleaned?;
        self.store().remove_empty_folder(&self.name(FOLDER)).await
    }

    /// Deletes the names raced for. A network that delivers a racer's request late or twice makes
    /// one anew, so a name that comes back is deleted again before the store is blamed.
    async fn clean_up(&self, names: &[String]) -> Result<()> {
        let folder = self.name(FOLDER);
        for _ in 0..CLEAN_UPS_MAX {
            self.store().delete(names.to_vec(), &folder).await?;
            let listed = self.store().list(&folder).await?;
            if !names.iter().any(|name| listed.contains(name)) {
                return Ok(());
            }
        }
        Err(self.unsuitable("a listing still shows a name that was deleted"))
    }

    async fn race_rounds(&self, names: &mut Vec<String>) -> Result<()> {
        let round_count = match self.store().backend() {
            Backend::Local(_) => LOCAL_ROUND_COUNT,
            Backend::Object(_) => SERVER_ROUND_COUNT,
        };
        for _ in 0..round_count {
            let name = self.name(&format!("{FOLDER}/{:016x}", random_u64()));
            names.push(name.clone());
            self.race(&name).await?;
        }
        Ok(())
    }

    /// Races for one name.
    async fn race(&self, name: &str) -> Result<()> {
        let mut racers = JoinSet::new();
        for racer in 0..RACER_COUNT {
            let (store, name) = (self.store().clone(), name.to_owned());
            let content = racer_content(racer);
            racers.spawn(async move { (racer, store.create(&name, content).await) });
        }
        let mut winners = Vec::new();
        while let Some(finished) = racers.join_next().await {
            match finished {
                Ok((racer, Creation::Created)) => winners.push(racer),
                Ok((_, Creation::Exists)) => {}
                Ok((_, Creation::Unknown(error))) => return Err(error),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        let &[winner] = winners.as_slice() else {
            return Err(self.unsuitable(format!(
                "{} of {RACER_COUNT} concurrent writers were told that they had created the same \
                 name, but exactly one may be: the server ignores `If-None-Match: *` or honours \
                 it only while nobody races",
                winners.len()
            )));
        };
        self.check_winner(name, winner).await
    }

    async fn check_winner(&self, name: &str, winner: usize) -> Result<()> {
        match self.store().create(name, racer_content(RACER_COUNT)).await {
            Creation::Exists => {}
            Creation::Created => {
                let problem = "it created a name that existed, replacing what it held";
                return Err(self.unsuitable(problem));
            }
            Creation::Unknown(error) => return Err(error),
        }
        if self.store().read(name).await? != Some(racer_content(winner)) {
            return Err(self.unsuitable("a name holds something else than its creator wrote"));
        }
        if !self
            .store()
            .list(&self.name(FOLDER))
            .await?
            .iter()
            .any(|listed| listed == name)
        {
            return Err(self.unsuitable("a listing does not show a name that was just created"));
        }
        Ok(())
    }

    fn unsuitable(&self, problem: impl Into<String>) -> StorageError {
        StorageError::Unsuitable {
            store: self.url().to_string(),
            problem: format!(
                "{}; choose a store with create-if-absent and consistent listing, such as a \
                 local folder, Amazon S3 or MinIO",
                problem.into()
            ),
        }
    }
}

fn racer_content(racer: usize) -> Bytes {
    Bytes::from(format!("written by racer {racer} of a self-test"))
}
