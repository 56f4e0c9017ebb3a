//! Where the keys of an object store come from.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Fault, Result, StorageError};

/// Names the folder of credentials where the options name none.
pub(crate) const CREDENTIALS_FOLDER_ENV: &str = "TIDEGATE_STORAGE_CREDENTIALS_FOLDER";

/// Where the keys of an object store come from.
#[derive(Clone, Default)]
pub enum Credentials {
    /// The folder that TIDEGATE_STORAGE_CREDENTIALS_FOLDER names, where it is set; else as for any
    /// AWS program: environment, profile, web identity, container, instance.
    #[default]
    Environment,
    /// A profile of `~/.aws/credentials` and `~/.aws/config`.
    Profile(String),
    /// A folder with the keys as files, as Kubernetes mounts a Secret; read again as they change.
    Folder(PathBuf),
    /// The keys themselves.
    Keys(AccessKeys),
}

/// A pair of keys, with the token of a session where there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKeys {
    /// The access key's id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The session's token.
    pub session_token: Option<String>,
}

impl AccessKeys {
    /// Reads the keys of a folder with one file for each.
    ///
    /// # Errors
    /// A folder or file that is not there, cannot be read, or is empty.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let access_key_id = read_first(folder, ["AWS_ACCESS_KEY_ID", "accessKeyId", "access-key"])?;
        let secret_access_key = read_first(
            folder,
            ["AWS_SECRET_ACCESS_KEY", "secretAccessKey", "secret-key"],
        )?;
        let token = ["AWS_SESSION_TOKEN", "sessionToken", "session-token"];
        Ok(Self {
            access_key_id: access_key_id.ok_or_else(|| missing(folder, "AWS_ACCESS_KEY_ID"))?,
            secret_access_key: secret_access_key
                .ok_or_else(|| missing(folder, "AWS_SECRET_ACCESS_KEY"))?,
            session_token: read_first(folder, token)?,
        })
    }
}

/// The trimmed content of the first of these files that is there.
fn read_first(folder: &Path, names: [&str; 3]) -> Result<Option<String>> {
    for name in names {
        let path = folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(content) if content.trim().is_empty() => return Err(missing(folder, name)),
            Ok(content) => return Ok(Some(content.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StorageError::io("read", path.display(), error)),
        }
    }
    Ok(None)
}

fn missing(folder: &Path, name: &str) -> StorageError {
    StorageError::Failed {
        action: "read credentials from",
        location: folder.display().to_string(),
        fault: Fault::NoCredentials,
        source: format!("file `{name}` is absent or empty").into(),
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Profile(name) => f.debug_tuple("Profile").field(name).finish(),
            Self::Folder(path) => f.debug_tuple("Folder").field(path).finish(),
            Self::Keys(keys) => keys.fmt(f),
        }
    }
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secret.
        f.debug_struct("AccessKeys")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_secret_gives_its_keys_trimmed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("accessKeyId"), "key\n").unwrap();
        std::fs::write(folder.path().join("AWS_SECRET_ACCESS_KEY"), "secret\n").unwrap();
        let keys = AccessKeys::read(folder.path()).unwrap();
        assert_eq!(
            (keys.access_key_id.as_str(), keys.secret_access_key.as_str()),
            ("key", "secret")
        );
        assert_eq!(keys.session_token, None);
        assert!(!format!("{:?}", Credentials::Keys(keys)).contains("secret\""));
    }

    #[test]
    fn a_secret_that_lacks_a_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("AWS_ACCESS_KEY_ID"), "key").unwrap();
        let error = AccessKeys::read(folder.path()).unwrap_err();
        assert_eq!(error.category(), "CredentialsMissing");
        let text = error.with_causes();
        assert!(
            text.contains("file `AWS_SECRET_ACCESS_KEY` is absent or empty"),
            "{text}"
        );
        assert!(
            text.contains(&folder.path().display().to_string()),
            "{text}"
        );
    }
}
