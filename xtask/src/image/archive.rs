//! An image in one file, as `docker save` writes it and containerd, podman and skopeo read it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::cannot;
use super::layer::{Layer, digest};
use crate::step::Failure;

/// What an image says of itself.
#[derive(Debug, Clone)]
pub(super) struct Config {
    /// Its name and tag.
    pub(super) reference: String,
    pub(super) entry_point: String,
    /// Numbers: Kubernetes cannot tell from a name that it is not root.
    pub(super) user: String,
    pub(super) title: String,
    pub(super) about: String,
    pub(super) version: String,
}

/// An image with its layers, from the lowest up.
#[derive(Debug)]
pub(super) struct Archive {
    reference: String,
    config: Vec<u8>,
    /// With their digests.
    layers: Vec<(String, Vec<u8>)>,
}

impl Archive {
    /// # Errors
    /// A layer that no tar archive can hold.
    pub(super) fn new(config: Config, layers: Vec<Layer>) -> Result<Self, Failure> {
        let history: Vec<Value> = layers.iter().map(|layer| history(layer.about)).collect();
        let tar = |layer: &Layer| layer.to_tar().map(|tar| (digest(&tar), tar));
        let tars: Vec<_> = layers.iter().map(tar).collect::<Result<_, _>>()?;
        let diff_ids = tars.iter().map(|(digest, _)| format!("sha256:{digest}"));
        let document = json!({
            "architecture": architecture(),
            "os": "linux",
            "created": CREATED,
            "config": {
                "User": config.user,
                "Env": ["PATH=/usr/local/bin"],
                "Entrypoint": [config.entry_point],
                "WorkingDir": "/",
                "StopSignal": "SIGTERM",
                "Labels": {
                    "org.opencontainers.image.title": config.title,
                    "org.opencontainers.image.description": config.about,
                    "org.opencontainers.image.version": config.version,
                    "org.opencontainers.image.licenses": "Apache-2.0",
                },
            },
            "rootfs": {"type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>()},
            "history": history,
        });
        Ok(Self {
            reference: config.reference,
            config: document.to_string().into_bytes(),
            layers: tars,
        })
    }

    /// The image's id: the digest of its configuration, which names its layers.
    pub(super) fn id(&self) -> String {
        format!("sha256:{}", digest(&self.config))
    }

    /// The whole archive.
    pub(super) fn to_tar(&self) -> Result<Vec<u8>, Failure> {
        let config_name = format!("{}.json", digest(&self.config));
        let layer_name = |(digest, _): &(String, Vec<u8>)| format!("{digest}.tar");
        let manifest = json!([{
            "Config": config_name,
            "RepoTags": [self.reference],
            "Layers": self.layers.iter().map(layer_name).collect::<Vec<_>>(),
        }]);
        let mut archive = Layer::new("");
        for layer in &self.layers {
            archive.file(&layer_name(layer), 0o644, layer.1.as_slice());
        }
        archive.file(&config_name, 0o644, self.config.as_slice());
        archive.file("manifest.json", 0o644, manifest.to_string());
        archive.to_tar()
    }

    /// Writes the archive; a reader sees the old one or the new one. Tells its length.
    pub(super) fn write(&self, path: &Path) -> Result<u64, Failure> {
        let content = self.to_tar()?;
        let partial = path.with_extension("tar.partial");
        fs::write(&partial, &content).map_err(|error| cannot("write", &partial, &error))?;
        fs::rename(&partial, path).map_err(|error| cannot("write", path, &error))?;
        Ok(content.len() as u64)
    }
}

/// No image tells when it was made, so that two of the same inputs are the same.
const CREATED: &str = "1970-01-01T00:00:00Z";

fn history(about: &str) -> Value {
    json!({"created": CREATED, "created_by": "cargo xtask image", "comment": about})
}

/// The machine's architecture as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
