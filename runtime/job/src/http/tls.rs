//! The job API by TLS: a listener that lets in only those whose certificate says who they are.
//!
//! ```text
//! accept ─▶ handshake (bounded in time and number) ─▶ connections (bounded) ─▶ axum
//!               ▲ certificates of the folder, read again when they change
//! ```

mod certificates;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tidegate_api::job_config::SecureApiConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::bounded::{ACCEPT_PAUSE, Connection, Connections, Seat};
pub(super) use certificates::CertificateError;
use certificates::Certificates;

/// Handshakes at once; a further client waits.
const HANDSHAKES_MAX: usize = 32;
/// How long a handshake may take, and the wait for a place after it.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How often the certificates' files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// A client that is let in.
type Accepted = (Connection<TlsStream<TcpStream>>, SocketAddr);

/// Connections whose client has shown that it may use the job API.
pub(super) struct TlsListener {
    ready: mpsc::Receiver<Accepted>,
    address: SocketAddr,
}

impl TlsListener {
    /// Reads the certificates and begins to take connections.
    ///
    /// # Errors
    /// Certificates that are not there, broken, or for other names than the server's.
    pub(super) fn start(
        listener: TcpListener,
        config: &SecureApiConfig,
    ) -> Result<Self, CertificateError> {
        tidegate_storage::install_crypto_provider();
        let certificates = Certificates::new(config);
        let files = certificates.read()?;
        let (sender, server) = watch::channel(certificates.server(&files)?);
        let address = listener
            .local_addr()
            .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (ready_sender, ready) = mpsc::channel(1);
        tokio::spawn(reload(certificates, files, sender));
        tokio::spawn(accept(listener, server, ready_sender));
        Ok(Self { ready, address })
    }
}

impl Listener for TlsListener {
    type Io = Connection<TlsStream<TcpStream>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The task that takes connections ends with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Seat {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        stream.io().seat()
    }
}

/// Replaces what the server shows and trusts when the files have changed; what is broken is told
/// and not used.
async fn reload(
    certificates: Certificates,
    mut files: certificates::Files,
    server: watch::Sender<Arc<ServerConfig>>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RELOAD_INTERVAL) => {}
            () = server.closed() => return,
        }
        let Ok(read) = certificates.read() else {
            continue;
        };
        if read == files {
            continue;
        }
        match certificates.server(&read) {
            Ok(config) => {
                tracing::info!("the job API's certificates have changed");
                server.send_replace(config);
            }
            Err(error) => {
                let error = tidegate_engine::describe(&error);
                tracing::warn!(error, "the job API's new certificates are not used");
            }
        }
        files = read;
    }
}

async fn accept(
    listener: TcpListener,
    server: watch::Receiver<Arc<ServerConfig>>,
    ready: mpsc::Sender<Accepted>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let connections = Connections::new();
    loop {
        let Ok(handshake) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Ok((stream, address)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&server.borrow()));
        let (connections, ready) = (connections.clone(), ready.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let admitted = timeout(HANDSHAKE_LIMIT, connections.admit(stream)).await;
                    drop(handshake);
                    if let Ok(connection) = admitted {
                        // The server may have stopped meanwhile.
                        let _ = ready.send((connection, address)).await;
                    }
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a client of the job API was turned away");
                }
                Err(_) => tracing::debug!("a client of the job API did not finish its handshake"),
            }
        });
    }
}
