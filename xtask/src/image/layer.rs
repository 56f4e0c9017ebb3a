//! A layer: files in a tree, as a tar archive that depends on nothing else.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::Failure;

/// What a path in a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Folder,
    File(Vec<u8>),
}

/// Files of one layer, folders above them included.
///
/// # Invariants
/// The archive depends on paths, modes and contents alone: sorted by path, no times, owned by root.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// For people.
    pub(super) about: &'static str,
    nodes: BTreeMap<String, (u32, Node)>,
}

impl Layer {
    pub(super) const fn new(about: &'static str) -> Self {
        Self {
            about,
            nodes: BTreeMap::new(),
        }
    }

    /// Adds a file; a path begins without a slash.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder, 0o755);
        }
        self.nodes
            .insert(path.to_owned(), (mode, Node::File(content.into())));
    }

    /// Adds a folder, and those above it.
    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above, 0o755);
        }
        self.nodes
            .entry(path.to_owned())
            .or_insert((mode, Node::Folder));
    }

    /// The layer as a tar archive.
    pub(super) fn to_tar(&self) -> Result<Vec<u8>, Failure> {
        let failed = |error| Failure::new(format!("cannot write a layer: {error}"));
        let mut tar = tar::Builder::new(Vec::new());
        for (path, (mode, node)) in &self.nodes {
            let content: &[u8] = match node {
                Node::Folder => &[],
                Node::File(content) => content,
            };
            let kind = match node {
                Node::Folder => tar::EntryType::Directory,
                Node::File(_) => tar::EntryType::Regular,
            };
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            let slash = if *node == Node::Folder { "/" } else { "" };
            let name = format!("{path}{slash}");
            tar.append_data(&mut header, name, content)
                .map_err(failed)?;
        }
        tar.into_inner().map_err(failed)
    }
}

/// The SHA-256 of something, in hexadecimal digits.
pub(super) fn digest(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_in_which_files_are_added_does_not_show() {
        let mut one = Layer::new("");
        one.file("etc/passwd", 0o644, "root");
        one.folder("tmp", 0o1777);
        one.file("etc/group", 0o644, "root");
        let mut other = Layer::new("");
        other.file("etc/group", 0o644, "root");
        other.file("etc/passwd", 0o644, "root");
        other.folder("tmp", 0o1777);
        assert_eq!(one.to_tar().unwrap(), other.to_tar().unwrap());
        let names: Vec<_> = tar::Archive::new(one.to_tar().unwrap().as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["etc/", "etc/group", "etc/passwd", "tmp/"]);
    }

    #[test]
    fn a_digest_is_the_known_one() {
        assert_eq!(
            digest(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
