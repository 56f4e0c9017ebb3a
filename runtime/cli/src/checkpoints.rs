//! `tidegate checkpoints`: what a job keeps, whether it is whole, and giving it up.

mod administer;
mod purge;
mod release;
mod render;
mod verify;

use tidegate_storage::JobFolder;

use crate::args::{CheckpointsCommand, FolderArgs, Wanted};
use crate::failure::{Failure, print};
use crate::folder;

/// Runs the command and gives its exit code.
///
/// # Errors
/// The location is wrong or cannot be read.
pub(crate) async fn run(command: CheckpointsCommand) -> Result<u8, Failure> {
    match command {
        CheckpointsCommand::List(args) => list(&args).await,
        CheckpointsCommand::Show { folder, wanted } => show(&folder, wanted).await,
        CheckpointsCommand::Verify { folder, wanted } => verify::run(&folder, wanted).await,
        CheckpointsCommand::Release { folder, wanted } => release::run(&folder, wanted).await,
        CheckpointsCommand::Purge(folder) => purge::run(&folder).await,
    }
}

async fn list(args: &FolderArgs) -> Result<u8, Failure> {
    let opened = folder::open(args).await?;
    let url = url_of(&opened.folder);
    print(&match args.json {
        true => render::list_json(&url, &opened.latest),
        false => render::list_text(&url, &opened.latest),
    })?;
    Ok(0)
}

async fn show(args: &FolderArgs, wanted: Option<Wanted>) -> Result<u8, Failure> {
    let opened = folder::open(args).await?;
    let (number, manifest) = opened.checkpoint(wanted)?;
    let url = url_of(&opened.folder);
    print(&match args.json {
        true => render::show_json(&url, number, manifest),
        false => render::show_text(&url, manifest),
    })?;
    Ok(0)
}

fn url_of(folder: &JobFolder) -> String {
    folder.url().to_string()
}
