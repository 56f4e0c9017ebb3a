//! The job API of the jobs' processes: HTTP/1.1 over TLS, where both sides show a certificate of
//! the installation's authority.
//!
//! One connection a pod is kept open between requests; a pod is asked one thing at a time.

mod wire;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificates::{Authority, Issued};
use crate::job_api::{CheckpointView, JobCommand, JobView};
use crate::queue::JobKey;
use tidegate_api::pod::{JOB_API_PORT, job_server_name};

pub use wire::JobApiError;
use wire::{Call, call};

/// A look at a job that takes longer has failed.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// A command is answered when it is done. After this long it is under way; what becomes of it shows
/// in the job itself.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// So many open connections are kept.
const CONNECTIONS_MAX: usize = 4096;

/// A pod with a job process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobPod {
    /// The job, which names the process in its certificate.
    pub job: JobKey,
    /// The pod's address.
    pub ip: IpAddr,
}

/// Talks to job processes.
pub struct JobClient {
    tls: TlsConnector,
    idle: Mutex<HashMap<JobPod, SendRequest<Full<Bytes>>>>,
}

impl std::fmt::Debug for JobClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobClient").finish_non_exhaustive()
    }
}

impl JobClient {
    /// A client that shows `own` and trusts what comes from `authority`.
    ///
    /// # Errors
    /// The certificates cannot be used.
    pub fn new(authority: &Authority, own: &Issued) -> Result<Self, JobApiError> {
        let unusable = |problem: String| JobApiError::Certificates { problem };
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.certificate().as_bytes())
            .map_err(|error| unusable(error.to_string()))?;
        roots
            .add(root)
            .map_err(|error| unusable(error.to_string()))?;
        let chain = CertificateDer::from_pem_slice(own.certificate.as_bytes())
            .map_err(|error| unusable(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes())
            .map_err(|error| unusable(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![chain], key)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            idle: Mutex::default(),
        })
    }

    /// What the job is doing.
    ///
    /// # Errors
    /// The process does not answer, or not as it should.
    pub async fn job(&self, pod: &JobPod) -> Result<JobView, JobApiError> {
        self.read(pod, "/v1/job").await
    }

    /// The checkpoints that it retains.
    ///
    /// # Errors
    /// The process does not answer, or not as it should.
    pub async fn checkpoints(&self, pod: &JobPod) -> Result<Vec<CheckpointView>, JobApiError> {
        self.read(pod, "/v1/checkpoints").await
    }

    /// Asks something of the job. An answer that does not come in time is none: it is under way.
    ///
    /// # Errors
    /// The process does not answer, or refuses.
    pub async fn ask(&self, pod: &JobPod, command: &JobCommand) -> Result<(), JobApiError> {
        match tokio::time::timeout(COMMAND_LIMIT, self.send(pod, call(command))).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Forgets the connections to pods that are not in use any more.
    pub fn forget(&self, job: &JobKey) {
        self.lock().retain(|pod, _| pod.job != *job);
    }

    async fn read<T: DeserializeOwned>(&self, pod: &JobPod, path: &str) -> Result<T, JobApiError> {
        let call = Call {
            method: Method::GET,
            path: path.to_owned(),
            body: None,
        };
        let answer = tokio::time::timeout(READ_LIMIT, self.send(pod, call)).await;
        let body = answer.map_err(|_| JobApiError::Slow {
            seconds: READ_LIMIT.as_secs(),
        })??;
        serde_json::from_slice(&body).map_err(|source| JobApiError::Content {
            path: path.to_owned(),
            source,
        })
    }

    async fn send(&self, pod: &JobPod, call: Call) -> Result<Bytes, JobApiError> {
        let kept = self.lock().remove(pod);
        if let Some(mut connection) = kept
            && connection.ready().await.is_ok()
        {
            match self.exchange(&mut connection, pod, &call).await {
                // The server may have closed the connection just now; every call can be repeated.
                Err(JobApiError::Broken { .. }) => {}
                answer => {
                    self.keep(pod, connection);
                    return answer;
                }
            }
        }
        let mut connection = self.connect(pod).await?;
        let answer = self.exchange(&mut connection, pod, &call).await;
        self.keep(pod, connection);
        answer
    }

    async fn connect(&self, pod: &JobPod) -> Result<SendRequest<Full<Bytes>>, JobApiError> {
        let address = SocketAddr::new(pod.ip, JOB_API_PORT);
        let connect = |source| JobApiError::Connect { address, source };
        let stream = TcpStream::connect(address).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let name = job_server_name(&pod.job.namespace, &pod.job.name);
        let server = ServerName::try_from(name).map_err(|error| JobApiError::Certificates {
            problem: error.to_string(),
        })?;
        let stream = self.tls.connect(server, stream).await.map_err(connect)?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (sender, connection) = handshake
            .await
            .map_err(|source| JobApiError::Broken { source })?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn exchange(
        &self,
        connection: &mut SendRequest<Full<Bytes>>,
        pod: &JobPod,
        call: &Call,
    ) -> Result<Bytes, JobApiError> {
        let body = call.body.clone().unwrap_or_default();
        let host = job_server_name(&pod.job.namespace, &pod.job.name);
        let request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| JobApiError::Certificates {
                problem: error.to_string(),
            })?;
        let broken = |source| JobApiError::Broken { source };
        let response = connection.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body
            .collect()
            .await
            .map_err(|_| JobApiError::Long)?
            .to_bytes();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(body);
        }
        Err(JobApiError::refused(status, &body))
    }

    fn keep(&self, pod: &JobPod, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.lock();
        if !connection.is_closed() && idle.len() < CONNECTIONS_MAX {
            idle.insert(pod.clone(), connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobPod, SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
