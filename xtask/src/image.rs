//! `cargo xtask image`: container images without a container engine.
//!
//! ```text
//!   cargo build ─► programs ─┐
//!   ldd ─► libraries, loader ┼─► layers (sorted, fixed times) ─► NAME.tar, as `docker save` has it
//!   licences, CA, users, data┘
//! ```
//!
//! The same inputs give the same bytes: files are sorted, have no times and one owner, and every
//! image's packages are built together, whichever image was asked for.

mod archive;
mod base;
mod build;
mod layer;
mod libraries;
mod licences;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use archive::{Archive, Config};
use base::USER;
use build::{Package, Profile, Workspace};
use layer::Layer;

use crate::step::{Failure, workspace_root};

pub(crate) const ABOUT: &str = "write container images, or the NAMEd ones, to target/images";
const DEFAULT_PREFIX: &str = "registry.example/tidegate";
/// The longest archive of an optimised image.
const SIZE_LIMIT_BYTES: u64 = 60_000_000;
/// Where programs are in an image.
const PROGRAM_FOLDER: &str = "usr/local/bin";
/// Where an example's data is in its image.
const DATA_FOLDER: &str = "data";

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    profile: Profile,
    prefix: String,
    tag: Option<String>,
    names: Vec<String>,
}

/// An image: which packages' programs it holds, the first one being what it starts.
#[derive(Debug)]
struct Recipe {
    name: String,
    about: String,
    packages: Vec<Package>,
    /// A folder whose files are in the image, if there is one.
    data: Option<PathBuf>,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let start = Instant::now();
    let options = parse(arguments)?;
    let workspace = Workspace::read()?;
    let recipes = recipes(&workspace);
    let wanted = choose(&recipes, &workspace, &options.names)?;
    let built: Vec<&Package> = match options.profile {
        // Cargo joins the features of what it builds together.
        Profile::Release => recipes
            .iter()
            .chain(&wanted)
            .flat_map(|it| &it.packages)
            .collect(),
        Profile::Dev | Profile::Tests => wanted.iter().flat_map(|it| &it.packages).collect(),
    };
    let programs = build::build(options.profile, &built)?;
    let folder = workspace_root()
        .join("target/images")
        .join(options.profile.name());
    fs::create_dir_all(&folder).map_err(|e| cannot("create", &folder, &e))?;
    for recipe in &wanted {
        let tag = options.tag.as_deref().unwrap_or(&workspace.version);
        let reference = format!("{}/{}:{tag}", options.prefix, recipe.name);
        let archive = assemble(recipe, &programs, &workspace, &reference)?;
        let path = folder.join(format!("{}.tar", recipe.name));
        let size_bytes = archive.write(&path)?;
        if options.profile == Profile::Release && size_bytes > SIZE_LIMIT_BYTES {
            let name = &recipe.name;
            return Err(Failure::new(format!(
                "image {name} has {size_bytes} bytes, more than {SIZE_LIMIT_BYTES}"
            )));
        }
        println!(
            "{reference} {} {:.1} MB {}",
            path.display(),
            size_bytes as f64 / 1e6,
            archive.id()
        );
    }
    eprintln!("xtask: image took {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        profile: Profile::Release,
        prefix: DEFAULT_PREFIX.to_owned(),
        tag: None,
        names: Vec::new(),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next().cloned();
            value.ok_or_else(|| Failure::new(format!("{argument} wants a value")))
        };
        match argument.as_str() {
            "--profile" => options.profile = Profile::parse(&value()?)?,
            "--prefix" => options.prefix = value()?.trim_end_matches('/').to_owned(),
            "--tag" => options.tag = Some(value()?),
            flag if flag.starts_with('-') => {
                let known = "--profile, --prefix and --tag";
                return Err(Failure::new(format!(
                    "unknown flag `{flag}`; known are {known}"
                )));
            }
            name => options.names.push(name.to_owned()),
        }
    }
    Ok(options)
}

/// The operator's image, and one for each example.
fn recipes(workspace: &Workspace) -> Vec<Recipe> {
    let operator = ["tidegate-controller", "tidegate-cli"];
    let mut recipes = vec![Recipe {
        name: "tidegate".to_owned(),
        about: "Tidegate's Kubernetes operator and the tidegate command".to_owned(),
        packages: operator
            .iter()
            .filter_map(|name| workspace.package(name))
            .collect(),
        data: None,
    }];
    let examples = workspace.packages.iter().filter(|it| it.is_example);
    recipes.extend(examples.map(of_package));
    recipes
}

fn of_package(package: &Package) -> Recipe {
    let data = package.folder.join("data");
    Recipe {
        name: package.name.clone(),
        about: package.about.clone(),
        data: data.is_dir().then_some(data),
        packages: vec![package.clone()],
    }
}

/// The recipes of these names, or all. Any other package with one program can be named too.
fn choose(
    recipes: &[Recipe],
    workspace: &Workspace,
    names: &[String],
) -> Result<Vec<Recipe>, Failure> {
    let known = |recipe: &Recipe| Recipe {
        name: recipe.name.clone(),
        about: recipe.about.clone(),
        packages: recipe.packages.clone(),
        data: recipe.data.clone(),
    };
    if names.is_empty() {
        return Ok(recipes.iter().map(known).collect());
    }
    let chosen = names.iter().map(|name| {
        let recipe = recipes.iter().find(|recipe| recipe.name == *name);
        let other = || workspace.package(name).map(|package| of_package(&package));
        recipe.map(known).or_else(other).ok_or_else(|| {
            let names: Vec<_> = recipes.iter().map(|it| it.name.as_str()).collect();
            Failure::new(format!("no image `{name}`; there are {}", names.join(", ")))
        })
    });
    chosen.collect()
}

fn assemble(
    recipe: &Recipe,
    programs: &build::Programs,
    workspace: &Workspace,
    reference: &str,
) -> Result<Archive, Failure> {
    let mut system = Layer::new("the C library, certificates, users");
    base::add(&mut system)?;
    let mut own = Layer::new("the programs and their licences");
    let mut entry_point = None;
    for package in &recipe.packages {
        for name in &package.programs {
            let program = programs.find(&package.name, name)?;
            for library in libraries::of(&program.path)? {
                libraries::add(&mut system, &library)?;
            }
            let path = format!("{PROGRAM_FOLDER}/{name}");
            own.file(&path, 0o755, program.stripped()?);
            entry_point.get_or_insert(format!("/{path}"));
        }
    }
    licences::add(&mut own, &workspace.metadata, &recipe.packages)?;
    let mut layers = vec![system];
    if let Some(folder) = &recipe.data {
        let mut data = Layer::new("data");
        for (name, content) in files(folder)? {
            data.file(&format!("{DATA_FOLDER}/{name}"), 0o644, content);
        }
        layers.push(data);
    }
    layers.push(own);
    let entry_point =
        entry_point.ok_or_else(|| Failure::new(format!("image {} has no program", recipe.name)))?;
    Archive::new(
        Config {
            reference: reference.to_owned(),
            entry_point,
            user: USER.to_owned(),
            title: recipe.name.clone(),
            about: recipe.about.clone(),
            version: workspace.version.clone(),
        },
        layers,
    )
}

/// The files directly in a folder, by name.
fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let listed = fs::read_dir(folder).map_err(|e| cannot("list", folder, &e))?;
    let mut found = Vec::new();
    for entry in listed {
        let path = entry.map_err(|e| cannot("list", folder, &e))?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            let content = read(&path)?;
            found.push((name.to_string_lossy().into_owned(), content));
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| cannot("read", path, &error))
}

fn cannot(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
