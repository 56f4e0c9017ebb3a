//! Reading objects from the API server: tests look at them ten times a second, and a `kubectl` for
//! each look would take the machine away from what is tested.

use std::fs;
use std::sync::OnceLock;

use reqwest::{Certificate, Client, Identity, StatusCode};
use serde_json::Value;
use tidegate_testkit::cluster::Cluster;

use super::bucket::wait;

/// What the API server answers for a path: nothing where there is no such object.
///
/// # Errors
/// It cannot be reached, or refuses.
pub(crate) fn get(cluster: &Cluster, path: &str) -> Result<Option<Value>, String> {
    let url = format!("{}{path}", cluster.api_server_url().expect("an API server"));
    wait(async {
        let answer = client(cluster)
            .get(url)
            .send()
            .await
            .map_err(|e| format!("{e:?}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| format!("{e:?}"))?;
        match status {
            StatusCode::OK => serde_json::from_str(&text).map_err(|e| e.to_string()),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(format!("{status}: {text}")),
        }
    })
}

/// The path of a namespace's objects of a kind, however the kind is spelt.
pub(crate) fn path(namespace: &str, kind: &str) -> String {
    let (group, plural) = match kind {
        "streamjob" | "streamjobs" => ("apis/tidegate.dev/v1alpha1", "streamjobs"),
        "checkpoint" | "checkpoints" => ("apis/tidegate.dev/v1alpha1", "checkpoints"),
        "deployment" | "deployments" => ("apis/apps/v1", "deployments"),
        "networkpolicies" => ("apis/networking.k8s.io/v1", "networkpolicies"),
        "pod" | "pods" => ("api/v1", "pods"),
        "configmaps" => ("api/v1", "configmaps"),
        "secrets" => ("api/v1", "secrets"),
        "resourcequotas" => ("api/v1", "resourcequotas"),
        "events" => ("api/v1", "events"),
        other => panic!("no path for {other}"),
    };
    format!("/{group}/namespaces/{namespace}/{plural}")
}

fn client(cluster: &Cluster) -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // Installed already by whoever was first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let files = cluster
            .client_certificate()
            .expect("the administrator's certificate");
        let read = |path| fs::read(path).expect("a certificate's file");
        let own = [read(&files.certificate), read(&files.key)].concat();
        let authority = Certificate::from_pem(&read(&files.authority)).expect("an authority");
        let client = Client::builder()
            .tls_certs_only([authority])
            .identity(Identity::from_pem(&own).expect("a certificate with its key"))
            .build();
        client.expect("a client")
    })
}
