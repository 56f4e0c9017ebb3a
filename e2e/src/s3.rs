//! S3-compatible servers on loopback: two that honour conditional puts, two that do not.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::port::PortLease;
use crate::process::Child;
use crate::{Error, Program, Result, http};

/// How long a server may take to answer; a laptop that also compiles needs a few seconds.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// The pause between two looks at a server that is not ready.
const READY_POLL: Duration = Duration::from_millis(10);
const REGION: &str = "us-east-1";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Flavour {
    /// MinIO, which honours conditions, races included.
    Minio,
    /// The Versity gateway, which honours conditions, races included.
    Versitygw,
    /// s3rver, which ignores conditions: two puts in a row both succeed.
    S3rver,
    /// s3s-fs, which refuses a second put in a row but lets several racers win.
    S3sFs,
}

impl S3Flavour {
    /// The servers that a checkpoint log can trust.
    pub const GOOD: [Self; 2] = [Self::Minio, Self::Versitygw];

    fn program(self) -> Program {
        match self {
            Self::Minio => Program::MINIO,
            Self::Versitygw => Program::VERSITYGW,
            Self::S3rver => Program::S3RVER,
            Self::S3sFs => Program::S3S_FS,
        }
    }

    /// Key and secret. s3rver knows one fixed pair.
    fn credentials(self) -> (&'static str, &'static str) {
        match self {
            Self::S3rver => ("S3RVER", "S3RVER"),
            Self::Minio | Self::Versitygw | Self::S3sFs => ("tidegate-test", "tidegate-secret"),
        }
    }

    fn arguments(self, port: u16, folders: &Folders) -> Vec<String> {
        let (key, secret) = self.credentials();
        let address = format!("127.0.0.1:{port}");
        let port = port.to_string();
        let data = folders.data.display().to_string();
        let arguments: &[&str] = match self {
            Self::Minio => &["server", "--address", &address, &data],
            Self::Versitygw => {
                let meta = folders.meta.display().to_string();
                // Buckets keep their attributes in files beside them, so that any file system
                // will do.
                return [
                    "--access",
                    key,
                    "--secret",
                    secret,
                    "--port",
                    &address,
                    "--region",
                    REGION,
                    "posix",
                    "--sidecar",
                    &meta,
                    &data,
                ]
                .map(String::from)
                .to_vec();
            }
            Self::S3rver => &[
                "-d",
                &data,
                "-a",
                "127.0.0.1",
                "-p",
                &port,
                "--silent",
                "--no-vhost-buckets",
            ],
            Self::S3sFs => &[
                "--access-key",
                key,
                "--secret-key",
                secret,
                "--host",
                "127.0.0.1",
                "--port",
                &port,
                &data,
            ],
        };
        arguments.iter().map(ToString::to_string).collect()
    }

    fn environment(self, folders: &Folders) -> Vec<(&'static str, String)> {
        let (key, secret) = self.credentials();
        let mut environment = vec![("HOME", folders.meta.display().to_string())];
        if self == Self::Minio {
            environment.extend([
                ("MINIO_ROOT_USER", key.to_string()),
                ("MINIO_ROOT_PASSWORD", secret.to_string()),
                ("MINIO_REGION", REGION.to_string()),
                ("MINIO_BROWSER", "off".to_string()),
                ("MINIO_UPDATE", "off".to_string()),
                // Lets it serve a folder of the system's disk.
                ("MINIO_CI_CD", "1".to_string()),
            ]);
        }
        environment
    }
}

#[derive(Debug)]
struct Folders {
    data: PathBuf,
    meta: PathBuf,
    log: PathBuf,
    /// Removes all of them.
    _root: TempDir,
}

impl Folders {
    fn create() -> Result<Self> {
        let place = std::env::temp_dir();
        let root = tempfile::Builder::new()
            .prefix("tidegate-s3-")
            .tempdir_in(&place)
            .map_err(|e| Error::file("create a folder in", &place, e))?;
        let folder = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir(&path).map_err(|e| Error::file("create", &path, e))?;
            Ok(path)
        };
        let (data, meta) = (folder("data")?, folder("meta")?);
        Ok(Self {
            data,
            meta,
            log: root.path().join("log"),
            _root: root,
        })
    }
}

/// A running S3 server with its own empty data folder, on its own port; killed, and its data
/// removed, when dropped.
#[derive(Debug)]
pub struct S3Server {
    // Dropped in this order: the process before its folders and its port.
    child: Child,
    flavour: S3Flavour,
    argv: Vec<String>,
    folders: Folders,
    port: PortLease,
}

impl S3Server {
    /// Starts MinIO, which honours conditions.
    ///
    /// # Errors
    /// As [`S3Server::start`].
    pub fn minio() -> Result<Self> {
        Self::start(S3Flavour::Minio)
    }

    /// Starts the Versity gateway, which honours conditions.
    ///
    /// # Errors
    /// As [`S3Server::start`].
    pub fn versitygw() -> Result<Self> {
        Self::start(S3Flavour::Versitygw)
    }

    /// Starts s3rver, which ignores conditions.
    ///
    /// # Errors
    /// As [`S3Server::start`].
    pub fn s3rver() -> Result<Self> {
        Self::start(S3Flavour::S3rver)
    }

    /// Starts s3s-fs, which honours conditions except under a race.
    ///
    /// # Errors
    /// As [`S3Server::start`].
    pub fn s3s_fs() -> Result<Self> {
        Self::start(S3Flavour::S3sFs)
    }

    /// Starts a server without buckets and waits until it answers.
    ///
    /// # Errors
    /// When its program cannot be built or started, or it does not answer within a minute.
    pub fn start(flavour: S3Flavour) -> Result<Self> {
        let argv = flavour.program().argv()?;
        let folders = Folders::create()?;
        let port = PortLease::take()?;
        let mut argv: Vec<String> = argv.iter().map(|part| part.display().to_string()).collect();
        argv.extend(flavour.arguments(port.port(), &folders));
        let child = run(flavour, &argv, &folders, port.port())?;
        Ok(Self {
            child,
            flavour,
            argv,
            folders,
            port,
        })
    }

    /// Creates a bucket; one that exists is left as it is. Names need three characters.
    ///
    /// # Errors
    /// When its folder cannot be created.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        let folder = self.folders.data.join(name);
        fs::create_dir_all(&folder).map_err(|e| Error::file("create", &folder, e))
    }

    /// SIGKILL: connections break, and what was not acknowledged may or may not be there.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Kills the server if it runs, and starts it again on the same port and data.
    ///
    /// # Errors
    /// When it does not come back within a minute.
    pub fn restart(&mut self) -> Result<()> {
        self.child.kill();
        self.child = run(self.flavour, &self.argv, &self.folders, self.port.port())?;
        Ok(())
    }

    /// Which server this is.
    #[must_use]
    pub fn flavour(&self) -> S3Flavour {
        self.flavour
    }

    /// The URL that clients are configured with, such as `http://127.0.0.1:20001`; addressing is
    /// by path, not by virtual host.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.port()).into()
    }

    /// The access key id.
    #[must_use]
    pub fn access_key(&self) -> &'static str {
        self.flavour.credentials().0
    }

    /// The secret access key.
    #[must_use]
    pub fn secret_key(&self) -> &'static str {
        self.flavour.credentials().1
    }

    /// The region to sign for.
    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Where it keeps objects; each bucket is a folder in it.
    #[must_use]
    pub fn data_folder(&self) -> &Path {
        &self.folders.data
    }

    /// The last lines that it printed, for a failing test's message.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.child.tail()
    }
}

fn run(flavour: S3Flavour, argv: &[String], folders: &Folders, port: u16) -> Result<Child> {
    let mut child = Child::start(argv, &flavour.environment(folders), &folders.log)?;
    let deadline = Instant::now() + READY_DEADLINE;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let not_ready = |child: &Child, what| Error::NotReady {
        program: flavour.program().name().to_string(),
        what,
        port,
        tail: child.tail(),
    };
    loop {
        let is_ready = http::get_status(address, "/").is_ok_and(|s| s < 500);
        // Looked at last: an answer that came from somebody else is of no use.
        if child.has_ended() {
            return Err(not_ready(&child, "ended before it was ready"));
        }
        if is_ready {
            return Ok(child);
        }
        if Instant::now() > deadline {
            return Err(not_ready(&child, "did not answer in time"));
        }
        std::thread::sleep(READY_POLL);
    }
}
