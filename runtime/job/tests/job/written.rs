//! A transactional sink: files that are renamed when their checkpoint is complete.

use std::fs;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tidegate::engine::{Result, Rows, Sink, SinkContext, SinkWriter};
use tidegate_protocol::CheckpointId;

/// Lines in files of a folder.
pub(crate) struct Written {
    pub(crate) folder: PathBuf,
}

impl Sink for Written {
    type Item = String;
    type Writer = Writer;

    fn writer(&self, context: SinkContext) -> Result<Writer> {
        fs::create_dir_all(&self.folder)?;
        Ok(Writer {
            folder: self.folder.clone(),
            context,
            lines: Vec::new(),
        })
    }

    fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            for transaction in transactions {
                let pending = PathBuf::from(transaction.as_str().unwrap());
                let committed = pending.with_extension("committed");
                if !committed.exists() {
                    fs::rename(&pending, &committed)?;
                }
            }
            Ok(())
        })
    }

    fn location(&self) -> Option<String> {
        Some(self.folder.display().to_string())
    }
}

pub(crate) struct Writer {
    folder: PathBuf,
    context: SinkContext,
    lines: Vec<String>,
}

impl SinkWriter for Writer {
    type Item = String;

    async fn write(&mut self, rows: &Rows<String>) -> Result<()> {
        self.lines.extend(rows.iter().map(str::to_owned));
        Ok(())
    }

    fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        let lines = std::mem::take(&mut self.lines);
        let (attempt, subtask) = (self.context.attempt, self.context.subtask_index);
        let path = self
            .folder
            .join(format!("{attempt}-{checkpoint}-{subtask}.pending"));
        Ok(Box::pin(async move {
            if lines.is_empty() {
                return Ok(Vec::new());
            }
            fs::write(&path, lines.concat())?;
            Ok(vec![json!(path)])
        }))
    }
}

/// Everything committed, its lines sorted.
pub(crate) fn committed(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "committed") {
            lines.extend(fs::read_to_string(path).unwrap().lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}
