//! The authority's Secret, in the controller's own namespace.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tidegate_api::labels::{LABEL_MANAGED_BY, MANAGED_BY};
use tidegate_api::pod::{CERTIFICATE_FILE, KEY_FILE};

use super::{Authority, CertificateError, Issued};

const TLS_TYPE: &str = "kubernetes.io/tls";

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The Secret cannot be read or created.
    #[error("secret {namespace}/{name} with the certificate authority cannot be read or created")]
    Request {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// The Secret holds something else.
    #[error(
        "secret {namespace}/{name} is no certificate authority, it has no {entry}: delete it to \
         have one made, or name another with --ca-secret"
    )]
    Content {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is missing.
        entry: &'static str,
    },
    /// The authority's key is none, or there is no randomness.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl CaError {
    /// Whether the same request may succeed later: the API server could not be reached, or could
    /// not answer.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Request { source, .. } => match source {
                kube::Error::Api(status) => status.code >= 500 || status.code == 429,
                _ => true,
            },
            Self::Content { .. } | Self::Certificate(_) => false,
        }
    }
}

/// Reads the authority, or makes one if there is none. When several controllers do so at once, one
/// makes it and the others take that.
///
/// # Errors
/// The Secret cannot be read or created, or is none of ours.
pub async fn load_or_create(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Authority, CaError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let request = |source| CaError::Request {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source,
    };
    let now = Timestamp::now();
    let found = secrets.get_opt(name).await.map_err(request)?;
    let secret = match found {
        Some(secret) => secret,
        None => {
            let new = secret(name, &Authority::generate(now)?);
            match secrets.create(&PostParams::default(), &new).await {
                Ok(secret) => secret,
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    secrets.get(name).await.map_err(request)?
                }
                Err(error) => return Err(request(error)),
            }
        }
    };
    let entry = |entry| {
        text(&secret, entry).ok_or_else(|| CaError::Content {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            entry,
        })
    };
    let issued = Issued {
        certificate: entry(CERTIFICATE_FILE)?,
        key: entry(KEY_FILE)?,
    };
    Ok(Authority::new(&issued, now)?)
}

fn secret(name: &str, issued: &Issued) -> Secret {
    let bytes = |text: &String| ByteString(text.clone().into_bytes());
    let entries = [
        (CERTIFICATE_FILE, &issued.certificate),
        (KEY_FILE, &issued.key),
    ];
    let labels = [(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())];
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        type_: Some(TLS_TYPE.to_owned()),
        data: Some(
            entries
                .map(|(key, text)| (key.to_owned(), bytes(text)))
                .into(),
        ),
        ..Secret::default()
    }
}

fn text(secret: &Secret, entry: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(entry)?;
    String::from_utf8(bytes.0.clone()).ok()
}
