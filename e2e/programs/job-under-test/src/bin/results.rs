//! Prints what a job has committed to a bucket: `results [--files] s3://bucket/prefix`.
//!
//! Server, region and credentials are those of the URL and of the AWS variables.

use std::io::Write;
use std::process::ExitCode;

use tidegate::Result;
use tidegate_storage::{ObjectFolder, StorageUrl, StoreOptions};

/// What is below it is not committed.
const PENDING_FOLDER: &str = ".pending/";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = tidegate::describe(&*error);
            // There is nobody to tell that standard error is gone.
            let _ = writeln!(std::io::stderr(), "error: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let shows_files = arguments.first().is_some_and(|first| first == "--files");
    arguments.drain(..usize::from(shows_files));
    let [url] = arguments.as_slice() else {
        return Err("usage: results [--files] s3://bucket/prefix".into());
    };
    let StorageUrl::S3(url) = StorageUrl::parse(url)? else {
        return Err(format!("`{url}` is no bucket").into());
    };
    let folder = ObjectFolder::open(&url, &StoreOptions::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(print(&folder, shows_files))
}

async fn print(folder: &ObjectFolder, shows_files: bool) -> Result<()> {
    let mut names = folder.list("").await?;
    names.retain(|name| !name.starts_with(PENDING_FOLDER));
    names.sort();
    let mut output = std::io::stdout().lock();
    for name in names {
        if shows_files {
            let size = folder.size(&name).await?.unwrap_or_default();
            writeln!(output, "{size} {name}")?;
        } else if let Some(content) = folder.read(&name).await? {
            output.write_all(&content)?;
        }
    }
    Ok(())
}
