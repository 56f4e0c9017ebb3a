//! Whether everything that a checkpoint names is there, whole and readable.

use tidegate_protocol::{Manifest, StateFile};

use crate::state_file::{StateFileReader, Wanted};
use crate::{JobFolder, Result, StorageError};

/// What was found of one file that a manifest names.
#[derive(Debug)]
pub struct Finding {
    /// The file, as the manifest names it.
    pub file: StateFile,
    /// Where it lies, as a person would name it.
    pub location: String,
    /// What is wrong with it, if anything.
    pub problem: Option<StorageError>,
}

impl JobFolder {
    /// Reads every file that a manifest names, every byte, and decodes it; one finding for each, in
    /// the manifest's order. Costs as much as a restore.
    pub async fn verify(&self, manifest: &Manifest) -> Vec<Finding> {
        let mut findings = Vec::new();
        for file in manifest.files() {
            let location = match self.resolve(&file.path).await {
                Ok((store, name)) => store.location(&name),
                Err(_) => file.path.clone(),
            };
            findings.push(Finding {
                file: file.clone(),
                location,
                problem: self.verify_file(file).await.err(),
            });
        }
        findings
    }

    /// Reads every byte of a file, compares every checksum, and decodes every row.
    ///
    /// # Errors
    /// A missing, damaged or unknown file, or a store that cannot be read.
    pub async fn verify_file(&self, file: &StateFile) -> Result<()> {
        let (store, name) = self.resolve(&file.path).await?;
        let mut reader = StateFileReader::open(store, name, file, Wanted::EveryByte).await?;
        while reader.next().await?.is_some() {}
        Ok(())
    }
}
