//! The certificates of the job API: what the server shows, and whose clients it lets in.

use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use tidegate_api::job_config::SecureApiConfig;
use tidegate_api::pod::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError as NameError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme, version,
};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum CertificateError {
    /// A file is not there or cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is no PEM of the right kind.
    #[error("`{path}` holds no {what} in PEM form")]
    Pem {
        /// The file.
        path: String,
        /// What it must hold.
        what: &'static str,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// A file holds nothing.
    #[error("`{path}` holds no certificate")]
    Empty {
        /// The file.
        path: String,
    },
    /// A name in the settings is no DNS name.
    #[error("`{name}` is no DNS name")]
    Name {
        /// The name.
        name: String,
        /// The cause.
        #[source]
        source: InvalidDnsNameError,
    },
    /// The server's certificate is for another server.
    #[error("the certificate in `{path}` is not valid for `{name}`")]
    OtherServer {
        /// The certificate's file.
        path: String,
        /// The name.
        name: String,
        /// The cause.
        #[source]
        source: Error,
    },
    /// The authority's certificates cannot be used.
    #[error("the authority's certificates in `{path}` cannot be used")]
    Authority {
        /// Their file.
        path: String,
        /// The cause.
        #[source]
        source: VerifierBuilderError,
    },
    /// The certificates and the key do not make a server.
    #[error("the certificate and the key in `{folder}` cannot be used")]
    Server {
        /// Their folder.
        folder: String,
        /// The cause.
        #[source]
        source: Error,
    },
}

type Result<T, E = CertificateError> = std::result::Result<T, E>;

/// The files' contents.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Where the certificates are, and for whom.
pub(super) struct Certificates {
    config: SecureApiConfig,
}

impl Certificates {
    pub(super) fn new(config: &SecureApiConfig) -> Self {
        Self {
            config: config.clone(),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(&self.config.certificate_folder).join(file)
    }

    fn shown(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    /// Reads the files as they are now; they are small.
    pub(super) fn read(&self) -> Result<Files> {
        let read = |file| {
            fs::read(self.path(file)).map_err(|source| CertificateError::Read {
                path: self.shown(file),
                source,
            })
        };
        Ok(Files {
            authority: read(CA_FILE)?,
            certificate: read(CERTIFICATE_FILE)?,
            key: read(KEY_FILE)?,
        })
    }

    /// A server that shows its certificate and asks for the client's.
    pub(super) fn server(&self, files: &Files) -> Result<Arc<ServerConfig>> {
        let chain = self.certificates(CERTIFICATE_FILE, &files.certificate)?;
        self.check_server_names(&chain)?;
        let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|source| {
            let (path, what) = (self.shown(KEY_FILE), "private key");
            CertificateError::Pem { path, what, source }
        })?;
        let unusable = |source| CertificateError::Server {
            folder: self.config.certificate_folder.clone(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(CA_FILE, &files.authority)? {
            roots.add(certificate).map_err(unusable)?;
        }
        let inner = WebPkiClientVerifier::builder(Arc::new(roots)).build();
        let inner = inner.map_err(|source| CertificateError::Authority {
            path: self.shown(CA_FILE),
            source,
        })?;
        let names = names(&self.config.client_names)?;
        let verifier = Arc::new(NamedClients { inner, names });
        // Every client is ours, and knows the newest version.
        let server = ServerConfig::builder_with_protocol_versions(&[&version::TLS13])
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        Ok(Arc::new(server))
    }

    fn certificates(&self, file: &str, content: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
        let path = self.shown(file);
        let read: std::result::Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(content).collect();
        match read {
            Ok(certificates) if certificates.is_empty() => Err(CertificateError::Empty { path }),
            Ok(certificates) => Ok(certificates),
            Err(source) => {
                let what = "certificate";
                Err(CertificateError::Pem { path, what, source })
            }
        }
    }

    fn check_server_names(&self, chain: &[CertificateDer<'static>]) -> Result<()> {
        for name in names(&self.config.server_names)? {
            let parsed = ParsedCertificate::try_from(&chain[0]);
            let checked = parsed.and_then(|own| verify_server_name(&own, &name));
            checked.map_err(|source| CertificateError::OtherServer {
                path: self.shown(CERTIFICATE_FILE),
                name: name.to_str().into_owned(),
                source,
            })?;
        }
        Ok(())
    }
}

fn names(names: &[String]) -> Result<Vec<ServerName<'static>>> {
    let parse = |name: &String| {
        ServerName::try_from(name.clone()).map_err(|source| CertificateError::Name {
            name: name.clone(),
            source,
        })
    };
    names.iter().map(parse).collect()
}

/// Lets in clients whose certificate comes from the authority and is for one of the names.
#[derive(Debug)]
struct NamedClients {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ClientCertVerifier for NamedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, Error> {
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now)?;
        let client = ParsedCertificate::try_from(end_entity)?;
        let is_named = |name| verify_server_name(&client, name).is_ok();
        if self.names.iter().any(is_named) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(NameError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
