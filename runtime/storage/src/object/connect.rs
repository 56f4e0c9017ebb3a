//! From a URL, options and the environment to a client of an S3-compatible store.

use std::time::Duration;

use opendal::services::S3;
use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;

use super::credentials::{AccessKeys, CREDENTIALS_FOLDER_ENV, Credentials};
use crate::location::check_endpoint;
use crate::{Fault, Result, S3Url, StorageError, StoreOptions};

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for an answer from the begin of a request, a part's upload included.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection is kept this long for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// What signatures name where a server of one's own does not care.
const DEFAULT_REGION: &str = "us-east-1";

/// Everything that is needed to reach a bucket, but the keys.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) url: S3Url,
    /// Amazon's own where absent.
    pub(super) endpoint: Option<String>,
    region: String,
    is_virtual_host: bool,
    pub(super) credentials: Credentials,
    transport: HttpTransporter,
}

impl Target {
    /// Fills in what the URL leaves open: from the options, then from the environment.
    pub(super) fn new(url: &S3Url, options: &StoreOptions) -> Result<Self> {
        let invalid = |problem| StorageError::InvalidUrl {
            url: url.to_string(),
            problem,
        };
        let endpoint = url
            .endpoint
            .clone()
            .or_else(|| options.endpoint.clone())
            .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
            .or_else(|| variable("AWS_ENDPOINT_URL"));
        let endpoint = endpoint
            .map(|endpoint| check_endpoint(&endpoint).map_err(invalid))
            .transpose()?;
        let region = url
            .region
            .clone()
            .or_else(|| options.region.clone())
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .or_else(|| endpoint.is_some().then(|| DEFAULT_REGION.to_owned()))
            .ok_or_else(|| {
                invalid("it names no region; add `?region=` to it or set AWS_REGION".to_owned())
            })?;
        let credentials = match (&options.credentials, variable(CREDENTIALS_FOLDER_ENV)) {
            (Credentials::Environment, Some(folder)) => Credentials::Folder(folder.into()),
            (credentials, _) => credentials.clone(),
        };
        Ok(Self {
            // A name with dots would not match the certificate for the host's name.
            is_virtual_host: url
                .is_virtual_host
                .unwrap_or(endpoint.is_none() && !url.bucket.contains('.')),
            url: url.clone(),
            endpoint,
            region,
            credentials,
            transport: transport()?,
        })
    }

    /// The keys to read now, where they are not left to the client library.
    pub(super) fn keys(&self) -> Result<Option<AccessKeys>> {
        match &self.credentials {
            Credentials::Environment | Credentials::Profile(_) => Ok(None),
            Credentials::Folder(folder) => AccessKeys::read(folder).map(Some),
            Credentials::Keys(keys) => Ok(Some(keys.clone())),
        }
    }

    /// A client with these keys.
    pub(super) fn operator(&self, keys: Option<&AccessKeys>) -> Result<Operator> {
        let mut builder = S3::default()
            .bucket(&self.url.bucket)
            .root(&format!("/{}", self.url.prefix))
            .region(&self.region);
        if let Some(endpoint) = &self.endpoint {
            // No server of one's own has instance credentials, and asking for them takes seconds.
            builder = builder.endpoint(endpoint).disable_ec2_metadata();
        }
        if self.is_virtual_host {
            builder = builder.enable_virtual_host_style();
        }
        if let Credentials::Profile(profile) = &self.credentials {
            builder = builder.profile(profile);
        }
        if let Some(keys) = keys {
            builder = builder
                .access_key_id(&keys.access_key_id)
                .secret_access_key(&keys.secret_access_key)
                .disable_config_load();
            if let Some(token) = &keys.session_token {
                builder = builder.session_token(token);
            }
        }
        let operator = Operator::new(builder).map_err(|error| StorageError::InvalidUrl {
            url: self.url.to_string(),
            problem: error.message().to_owned(),
        })?;
        let context = OperationContext::new().with_http_transport(self.transport.clone());
        Ok(operator.with_context(context))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn transport() -> Result<HttpTransporter> {
    crate::install_crypto_provider();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build()
        .map_err(|error| StorageError::Failed {
            action: "prepare connections to",
            location: "the object store".into(),
            fault: Fault::Tls,
            source: error.into(),
        })?;
    Ok(HttpTransporter::new(ReqwestTransport::new(client)))
}
