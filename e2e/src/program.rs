//! The programs that tests start, each at one pinned version, and how they are built.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::tail;
use crate::{Error, Result, cache};

/// What a build needs and the program does not, within the program's folder.
const SCRATCH: &str = "scratch";

/// The folder that holds built programs: `$TIDEGATE_CACHE`, else `$XDG_CACHE_HOME/tidegate`,
/// else `~/.cache/tidegate`. It can be deleted at any time; the next test run fills it again.
///
/// # Errors
/// When no variable names a place.
pub fn cache_folder() -> Result<PathBuf> {
    cache::folder()
}

/// A server program of another project, at the version that the tests were written against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    name: &'static str,
    version: &'static str,
    recipe: Recipe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recipe {
    /// `go install PACKAGE@VERSION`.
    Go { package: &'static str },
    /// `npm install NAME@VERSION`; the script that `node` runs.
    Npm { script: &'static str },
    /// `cargo install NAME --version VERSION --features FEATURES`.
    Cargo { features: &'static str },
    /// Debian's package of this name, unpacked and not installed; the program's file in it.
    Debian {
        package: &'static str,
        file: &'static str,
    },
}

impl Program {
    /// MinIO: honours conditional puts. Used as a separate process, for tests only.
    pub const MINIO: Self = Self {
        name: "minio",
        version: "v0.0.0-20260212201848-7aac2a2c5b7c",
        recipe: Recipe::Go {
            package: "github.com/minio/minio",
        },
    };
    /// The Versity gateway over a folder: honours conditional puts.
    pub const VERSITYGW: Self = Self {
        name: "versitygw",
        version: "v1.8.0",
        recipe: Recipe::Go {
            package: "github.com/versity/versitygw/cmd/versitygw",
        },
    };
    /// s3rver: ignores every condition.
    pub const S3RVER: Self = Self {
        name: "s3rver",
        version: "3.7.1",
        recipe: Recipe::Npm {
            script: "node_modules/s3rver/bin/s3rver.js",
        },
    };
    /// s3s-fs: refuses a second conditional put, but lets several racers win.
    pub const S3S_FS: Self = Self {
        name: "s3s-fs",
        version: "0.14.1",
        recipe: Recipe::Cargo { features: "binary" },
    };

    /// Prometheus' tool, which checks and tries out alerts.
    pub const PROMTOOL: Self = Self {
        name: "promtool",
        version: "debian",
        recipe: Recipe::Debian {
            package: "prometheus",
            file: "usr/bin/promtool",
        },
    };

    /// Every server, the slowest to build first.
    pub const ALL: [Self; 4] = [Self::MINIO, Self::VERSITYGW, Self::S3S_FS, Self::S3RVER];

    /// Another program that `cargo install` builds, with these features (comma-separated).
    #[must_use]
    pub const fn cargo(name: &'static str, version: &'static str, features: &'static str) -> Self {
        Self {
            name,
            version,
            recipe: Recipe::Cargo { features },
        }
    }

    /// Whether the cache has it already.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        cache::folder().is_ok_and(|root| cache::has(&root, &self.key()))
    }

    /// The program's name, such as `minio`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The pinned version.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// Builds the program unless the cache has it. Takes minutes the first time, and waits for
    /// another process that builds the same one.
    ///
    /// # Errors
    /// When the tool is missing, the build fails, or the cache cannot be written.
    pub fn install(&self) -> Result<PathBuf> {
        let root = cache::folder()?;
        let folder = cache::get_or_build(&root, &self.key(), |at| self.build(&root, at))?;
        Ok(folder.join(self.file()))
    }

    /// The command that runs the program, built if need be; arguments are the caller's.
    ///
    /// # Errors
    /// As [`Program::install`].
    pub(crate) fn argv(&self) -> Result<Vec<PathBuf>> {
        let path = self.install()?;
        Ok(match self.recipe {
            Recipe::Npm { .. } => vec!["node".into(), path],
            Recipe::Go { .. } | Recipe::Cargo { .. } | Recipe::Debian { .. } => vec![path],
        })
    }

    fn key(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Where the build leaves the program, within its folder.
    fn file(&self) -> PathBuf {
        match self.recipe {
            Recipe::Go { .. } => self.name.into(),
            Recipe::Npm { script } => script.into(),
            Recipe::Cargo { .. } => Path::new("bin").join(self.name),
            Recipe::Debian { file, .. } => file.into(),
        }
    }

    fn build(&self, root: &Path, folder: &Path) -> Result<()> {
        let log = root.join(format!("{}.log", self.key()));
        let output = File::create(&log).map_err(|e| Error::file("create", &log, e))?;
        let errors = output
            .try_clone()
            .map_err(|e| Error::file("open", &log, e))?;
        let (tool, mut command) = self.build_command(folder);
        let status = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .status()
            .map_err(|source| Error::Tool {
                tool,
                program: self.name,
                source,
            })?;
        if !status.success() || !folder.join(self.file()).is_file() {
            let (program, version) = (self.name, self.version);
            return Err(Error::Build {
                program,
                version,
                tail: tail(&log),
                log,
            });
        }
        let scratch = folder.join(SCRATCH);
        if scratch.exists() {
            fs::remove_dir_all(&scratch).map_err(|e| Error::file("remove", &scratch, e))?;
        }
        Ok(())
    }

    fn build_command(&self, folder: &Path) -> (&'static str, Command) {
        match self.recipe {
            Recipe::Go { package } => {
                let mut command = Command::new("go");
                // Unoptimised is quick enough to run and a third quicker to have.
                command.args([
                    "install",
                    "-trimpath",
                    "-gcflags=all=-N -l",
                    "-ldflags=-s -w",
                ]);
                command.arg(format!("{package}@{}", self.version));
                // A cross build would put the binary elsewhere.
                command
                    .env("GOBIN", folder)
                    .env_remove("GOOS")
                    .env_remove("GOARCH");
                // Gigabytes that nobody needs again go when the build is done.
                command.env("GOCACHE", folder.join(SCRATCH).join("build"));
                command.env("GOMODCACHE", folder.join(SCRATCH).join("modules"));
                command.env("GOFLAGS", "-modcacherw");
                ("go", command)
            }
            Recipe::Npm { .. } => {
                let mut command = Command::new("npm");
                command
                    .args(["install", "--no-audit", "--no-fund", "--prefix"])
                    .arg(folder);
                command.arg(format!("{}@{}", self.name, self.version));
                ("npm", command)
            }
            Recipe::Cargo { features } => {
                let mut command = Command::new("cargo");
                // So is a debug build.
                command.args(["install", self.name, "--version", self.version, "--debug"]);
                command
                    .args(["--locked", "--features", features, "--root"])
                    .arg(folder);
                command.env("CARGO_TARGET_DIR", folder.join(SCRATCH));
                command.env("CARGO_PROFILE_DEV_DEBUG", "0");
                command
                    .env_remove("RUSTFLAGS")
                    .env_remove("CARGO_ENCODED_RUSTFLAGS");
                ("cargo", command)
            }
            Recipe::Debian { package, .. } => {
                let mut command = Command::new("sh");
                // An image of a distribution often comes without the lists.
                let script = "apt-get -qq download $0 \
                    || { apt-get -qq update && apt-get -qq download $0; } \
                    && dpkg-deb -x $0_*.deb . && rm $0_*.deb";
                command.args(["-c", script, package]);
                ("sh", command)
            }
        }
    }
}
