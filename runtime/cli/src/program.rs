//! Finds the program of a manifest on this machine: the image's name says which one it is.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tidegate_api::spec::Program;

/// Which program is wanted, and where programs may be.
#[derive(Debug)]
pub(crate) struct Search {
    /// The program's file name.
    pub(crate) name: String,
    /// The program's path as the manifest has it, when it has one.
    pub(crate) path: Option<PathBuf>,
    /// The manifest's folder.
    pub(crate) manifest_folder: PathBuf,
    /// The folder of the `tidegate` binary.
    pub(crate) own_folder: Option<PathBuf>,
    /// Cargo's target folders that are near.
    pub(crate) target_folders: Vec<PathBuf>,
    /// The variable `PATH`.
    pub(crate) path_variable: Option<OsString>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Nothing, or no file.
    Absent,
    /// A file that may not be executed.
    NotExecutable,
    /// A program, and when it was built.
    Program(SystemTime),
}

/// Why no program was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotFound {
    name: String,
    looked_in: Vec<String>,
    not_executable: Vec<PathBuf>,
}

/// The file name of a manifest's program: its command's, or else the last segment of the image
/// without tag and digest.
pub(crate) fn name_of(program: &Program) -> &str {
    let last_segment = |text: &'_ str| text.rfind('/').map_or(0, |at| at + 1);
    match program.command.first() {
        Some(command) => &command[last_segment(command)..],
        None => {
            let image = program.image.split('@').next().unwrap_or_default();
            let name = &image[last_segment(image)..];
            name.split(':').next().unwrap_or(name)
        }
    }
}

impl Search {
    /// The first program of the name, in the order of [`Search::places`].
    ///
    /// # Errors
    /// There is none; the error lists where it could have been.
    pub(crate) fn find(&self, probe: impl Fn(&Path) -> Probe) -> Result<PathBuf, NotFound> {
        let mut not_executable = Vec::new();
        let mut looked_in = Vec::new();
        for place in self.places() {
            looked_in.push(place.to_string());
            let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
            for path in place.paths {
                match probe(&path) {
                    Probe::Absent => {}
                    Probe::NotExecutable => not_executable.push(path),
                    Probe::Program(built) => found.push((built, path)),
                }
            }
            let best = match place.order {
                Order::Newest => found.into_iter().max_by_key(|(built, _)| *built),
                Order::First => found.into_iter().next(),
            };
            if let Some((_, path)) = best {
                return Ok(path);
            }
        }
        Err(NotFound {
            name: self.name.clone(),
            looked_in,
            not_executable,
        })
    }

    fn places(&self) -> Vec<Place> {
        let in_folder = |folder: &Path| Place {
            shown: folder.display().to_string(),
            paths: vec![folder.join(&self.name)],
            order: Order::First,
        };
        let mut places = Vec::new();
        if let Some(path) = &self.path {
            let path = self.manifest_folder.join(path);
            let shown = format!("{}, the manifest's command", path.display());
            places.push(Place {
                shown,
                paths: vec![path],
                order: Order::First,
            });
        }
        places.push(in_folder(&self.manifest_folder));
        places.extend(self.own_folder.as_deref().map(in_folder));
        for target in &self.target_folders {
            let folders = ["release", "debug", "release/examples", "debug/examples"];
            places.push(Place {
                shown: format!("{}/{{release,debug}}{{,/examples}}", target.display()),
                paths: folders
                    .iter()
                    .map(|folder| target.join(folder).join(&self.name))
                    .collect(),
                // The one that was built last is the one that its author means.
                order: Order::Newest,
            });
        }
        if let Some(variable) = &self.path_variable {
            let folders: Vec<_> = std::env::split_paths(variable).collect();
            places.push(Place {
                shown: format!("the {} folders of PATH", folders.len()),
                paths: folders
                    .iter()
                    .map(|folder| folder.join(&self.name))
                    .collect(),
                order: Order::First,
            });
        }
        let mut shown = Vec::new();
        places.retain(|place| {
            let is_new = !shown.contains(&place.shown);
            shown.push(place.shown.clone());
            is_new
        });
        places
    }
}

struct Place {
    shown: String,
    paths: Vec<PathBuf>,
    order: Order,
}

enum Order {
    First,
    Newest,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "there is no program {} on this machine; looked in",
            self.name
        )?;
        for place in &self.looked_in {
            writeln!(f, "  {place}")?;
        }
        for path in &self.not_executable {
            writeln!(
                f,
                "{} is there, but may not be executed (chmod +x)",
                path.display()
            )?;
        }
        write!(
            f,
            "build it (cargo build --release --bin {}), or name it with --program PATH",
            self.name
        )
    }
}

/// The target folders of the workspaces around some folders: cargo's own choice when it is given by
/// `CARGO_TARGET_DIR`, else `target` beside each `Cargo.toml`.
pub(crate) fn target_folders(
    around: &[PathBuf],
    chosen: Option<OsString>,
    is_there: impl Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = chosen.map(PathBuf::from).into_iter().collect();
    for folder in around.iter().flat_map(|folder| folder.ancestors()) {
        let target = folder.join("target");
        let is_workspace = is_there(&folder.join("Cargo.toml")) && is_there(&target);
        if is_workspace && !folders.contains(&target) {
            folders.push(target);
        }
    }
    folders
}

/// What a path leads to on this machine.
pub(crate) fn probe(path: &Path) -> Probe {
    use std::os::unix::fs::PermissionsExt;
    const ANY_EXECUTE_BIT: u32 = 0o111;
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            if metadata.permissions().mode() & ANY_EXECUTE_BIT == 0 {
                return Probe::NotExecutable;
            }
            Probe::Program(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH))
        }
        _ => Probe::Absent,
    }
}

#[cfg(test)]
mod tests;
