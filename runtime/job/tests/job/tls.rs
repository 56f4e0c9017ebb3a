//! The job API by TLS: only whoever the settings name is let in.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tidegate_testkit::PortLease;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

use crate::support::{LIMIT, Process, TestJob};

const SERVER: &str = "numbers.default.job.tidegate.internal";
const CONTROLLER: &str = "controller.tidegate.internal";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, PEM.
fn issue(authority: &Authority, name: &str) -> (String, String) {
    let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write_folder(folder: &Path, authority: &Authority, (certificate, key): &(String, String)) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    fs::write(folder.join("tls.crt"), certificate).unwrap();
    fs::write(folder.join("tls.key"), key).unwrap();
}

fn served(authority: &Authority) -> (TestJob, Process, String) {
    let mut job = TestJob::on_a_cluster(1);
    let folder = job.path("tls");
    write_folder(&folder, authority, &issue(authority, SERVER));
    job.config["secureApi"] = json!({
        "address": "127.0.0.1:0", "certificateFolder": folder,
        "serverNames": [SERVER], "clientNames": [CONTROLLER],
    });
    let mut process = job.start();
    let address = process.address();
    (job, process, address)
}

/// Asks for the job over TLS; gives the answer's first line.
fn ask(address: &str, trusted: &Authority, own: Option<(String, String)>) -> io::Result<String> {
    install_provider();
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from(SERVER).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET /v1/job HTTP/1.1\r\nhost: job\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// As every binary does first.
fn install_provider() {
    // Another test of this process may have done so.
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[test]
fn the_controller_is_let_in_and_nobody_else() {
    let authority = authority();
    let (_job, _process, address) = served(&authority);
    let ok = ask(&address, &authority, Some(issue(&authority, CONTROLLER))).unwrap();
    assert_eq!(ok, "HTTP/1.1 200 OK");

    let foreign = self::authority();
    let strangers = [
        ("without a certificate", None),
        ("with its own certificate", Some(issue(&authority, SERVER))),
        (
            "with another job's certificate",
            Some(issue(&authority, "other.default.job.tidegate.internal")),
        ),
        ("of a foreign authority", Some(issue(&foreign, CONTROLLER))),
    ];
    for (who, own) in strangers {
        let answer = ask(&address, &authority, own);
        assert!(answer.is_err(), "a client {who} was let in: {answer:?}");
    }
    let mut socket = TcpStream::connect(&address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket
        .write_all(b"GET /v1/job HTTP/1.1\r\nhost: job\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // It may also end by a reset.
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        !answer.contains("HTTP/1.1"),
        "plain HTTP was answered: {answer}"
    );
}

#[test]
fn a_client_that_never_shakes_hands_is_cut_off_and_holds_up_nobody() {
    let authority = authority();
    let (_job, _process, address) = served(&authority);
    let silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    let ok = ask(&address, &authority, Some(issue(&authority, CONTROLLER))).unwrap();
    assert_eq!(ok, "HTTP/1.1 200 OK");
    for mut socket in silent {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let mut byte = [0];
        assert!(matches!(socket.read(&mut byte), Ok(0) | Err(_)));
    }
}

#[test]
fn certificates_that_change_are_used_without_a_restart() {
    let old = authority();
    let (job, _process, address) = served(&old);
    let new = authority();
    write_folder(&job.path("tls"), &new, &issue(&new, SERVER));
    let deadline = std::time::Instant::now() + LIMIT;
    while ask(&address, &new, Some(issue(&new, CONTROLLER))).is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "the new authority is not trusted"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(ask(&address, &old, Some(issue(&old, CONTROLLER))).is_err());
}

#[test]
fn a_certificate_for_another_server_is_refused_at_the_start() {
    let authority = authority();
    let mut job = TestJob::on_a_cluster(1);
    let folder = job.path("tls");
    write_folder(&folder, &authority, &issue(&authority, "other.internal"));
    job.config["secureApi"] = json!({
        "address": "127.0.0.1:0", "certificateFolder": folder,
        "serverNames": [SERVER], "clientNames": [CONTROLLER],
    });
    let (code, _, stderr) = job.start().wait_with_stderr();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(SERVER), "{stderr}");
}

#[test]
fn beside_the_secure_api_only_health_and_metrics_are_served_in_the_clear() {
    let authority = authority();
    let mut job = TestJob::on_a_cluster(1);
    let folder = job.path("tls");
    write_folder(&folder, &authority, &issue(&authority, SERVER));
    job.config["secureApi"] = json!({
        "address": "127.0.0.1:0", "certificateFolder": folder,
        "serverNames": [SERVER], "clientNames": [CONTROLLER],
    });
    let lease = PortLease::take().unwrap();
    let port = lease.port();
    job.config["listenAddress"] = json!(format!("127.0.0.1:{port}"));
    let mut process = job.start();
    process.wait_for("phaseChanged", |event| event["phase"] == "Running");
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent: ureq::Agent = config.timeout_global(Some(LIMIT)).build().into();
    let status = |path: &str| {
        let answer = agent.get(format!("http://127.0.0.1:{port}{path}")).call();
        answer.unwrap().status().as_u16()
    };
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(status(path), 200, "{path}");
    }
    for path in ["/v1/job", "/v1/checkpoints", "/openapi.json"] {
        assert_eq!(status(path), 404, "{path}");
    }
}
