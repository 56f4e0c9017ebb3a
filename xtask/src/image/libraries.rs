//! The shared libraries and the loader that a program needs, as `ldd` names them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::layer::Layer;
use super::read;
use crate::step::{self, Failure};

/// The libraries and the loader of a program, at the paths where the loader looks for them.
///
/// # Errors
/// `ldd` cannot be run, or misses a library.
pub(super) fn of(program: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut command = Command::new("ldd");
    // The C locale, since the lines are read.
    command.arg(program).env("LC_ALL", "C");
    let output = command
        .output()
        .map_err(|e| step::cannot_start(&command, &e))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("not a dynamic executable") || text.contains("statically linked") {
        return Ok(Vec::new());
    }
    if !output.status.success() {
        let program = program.display();
        return Err(Failure::new(format!("ldd {program} failed: {errors}")));
    }
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let place = match line.split_once(" => ") {
            Some((name, "not found")) => {
                return Err(Failure::new(format!(
                    "library {name} is not on this machine"
                )));
            }
            Some((_, place)) => place,
            None => line,
        };
        // The kernel's own library has no path.
        let path = place.split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

/// Adds a library at its path, and its licence where the package manager knows it.
///
/// # Errors
/// It cannot be read.
pub(super) fn add(layer: &mut Layer, library: &Path) -> Result<(), Failure> {
    let path = library.to_string_lossy();
    layer.file(path.trim_start_matches('/'), 0o755, read(library)?);
    let package = package_of(library);
    if let Some(package) = package
        && let Ok(licence) = std::fs::read(format!("/usr/share/doc/{package}/copyright"))
    {
        layer.file(
            &format!("usr/share/doc/{package}/copyright"),
            0o644,
            licence,
        );
    }
    Ok(())
}

/// The Debian package that a file belongs to.
fn package_of(file: &Path) -> Option<String> {
    let real = file.canonicalize().ok()?;
    [file, real.as_path()].iter().find_map(|path| {
        let output = Command::new("dpkg-query")
            .arg("--search")
            .arg(path)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let package = text.lines().next()?.split([':', ',']).next()?;
        (!package.is_empty() && output.status.success()).then(|| package.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "
\tlinux-vdso.so.1 (0x00007ffd)
\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f1)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f3)
";

    #[test]
    fn libraries_and_the_loader_are_found_and_the_kernels_own_is_not() {
        let found = parse(LISTED).unwrap();
        let expected = [
            "/lib/x86_64-linux-gnu/libgcc_s.so.1",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let failure = parse("\tlibz.so.1 => not found\n").unwrap_err().to_string();
        assert!(failure.contains("libz.so.1"), "{failure}");
    }
}
