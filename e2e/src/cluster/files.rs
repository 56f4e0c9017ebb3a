//! Everything that the components read: certificates, kubeconfigs and configuration files.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::plan::{Plan, create_folder, write};
use super::{Result, command};

const TEMPLATES: [(&str, &str); 5] = [
    (
        "containerd.toml",
        include_str!("../../cluster/templates/containerd.toml"),
    ),
    (
        "cni/pods.conflist",
        include_str!("../../cluster/templates/cni.conflist"),
    ),
    (
        "kubelet.yaml",
        include_str!("../../cluster/templates/kubelet.yaml"),
    ),
    ("Corefile", include_str!("../../cluster/templates/Corefile")),
    (
        "audit.yaml",
        include_str!("../../cluster/templates/audit.yaml"),
    ),
];
const KUBECONFIG: &str = include_str!("../../cluster/templates/kubeconfig.yaml");
/// Whose certificate each kubeconfig holds.
const KUBECONFIGS: [(&str, &str); 5] = [
    ("kubeconfig", "admin"),
    ("controller-manager.kubeconfig", "controller-manager"),
    ("scheduler.kubeconfig", "scheduler"),
    ("kubelet.kubeconfig", "kubelet"),
    ("proxy.kubeconfig", "proxy"),
];
/// The image of the pods' sandboxes as an archive.
pub(crate) const POD_ARCHIVE: &str = "pod-image.tar";
/// Where Debian and most others keep the CNI plugins.
const CNI_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// The folder of the CNI plugins, if they are installed.
pub(crate) fn cni_plugins() -> Option<&'static str> {
    let has_plugins = |folder: &&str| Path::new(folder).join("ptp").is_file();
    CNI_FOLDERS.into_iter().find(has_plugins)
}

/// Writes them all into the cluster's folder.
pub(crate) fn write_all(plan: &Plan) -> Result<()> {
    for folder in [
        "logs",
        "pki",
        "cni",
        "s3",
        "kubelet",
        "pod-logs",
        "volume-plugins",
    ] {
        create_folder(&plan.folder.join(folder))?;
    }
    certificates(plan)?;
    let fill = |text: &str| {
        text.replace("@FOLDER@", &plan.folder.display().to_string())
            .replace("@NAME@", &plan.name)
            .replace("@NODE_ADDRESS@", &plan.addresses.node)
            .replace("@PODS@", &plan.addresses.pods)
            .replace("@POD_IMAGE@", &plan.pod_image)
            .replace("@CNI_PLUGINS@", cni_plugins().unwrap_or(CNI_FOLDERS[0]))
            .replace("@SERVER@", &plan.api_server)
    };
    for (name, template) in TEMPLATES {
        write(&plan.folder.join(name), fill(template).as_bytes())?;
    }
    for (name, user) in KUBECONFIGS {
        let text = fill(KUBECONFIG).replace("@USER@", user);
        write(&plan.folder.join(name), text.as_bytes())?;
    }
    let resolver = format!("nameserver {}\n", plan.addresses.node);
    write(&plan.folder.join("resolv.conf"), resolver.as_bytes())?;
    pod_image(plan)
}

fn certificates(plan: &Plan) -> Result<()> {
    let node = plan.addresses.node.as_str();
    let client = |name: &str, common: &str, group: &str| -> Value {
        json!({ "name": name, "common": common, "groups": [group] })
    };
    let wanted = json!([
        {
            "name": "api-server", "common": "kube-apiserver",
            "dns": ["kubernetes", "kubernetes.default", "kubernetes.default.svc",
                    "kubernetes.default.svc.cluster.local", "localhost"],
            "addresses": [node, plan.addresses.host, plan.addresses.api_service, "127.0.0.1"],
        },
        {
            "name": "kubelet-server", "common": plan.node_name,
            "dns": [plan.node_name], "addresses": [node],
        },
        // Only its key is used.
        {"name": "service-accounts", "common": "service-accounts"},
        client("admin", "tidegate-test-admin", "system:masters"),
        client("controller-manager", "system:kube-controller-manager", "system:none"),
        client("scheduler", "system:kube-scheduler", "system:none"),
        client("kubelet", &format!("system:node:{}", plan.node_name), "system:nodes"),
        client("proxy", "system:kube-proxy", "system:none"),
    ]);
    make(plan, &["certificates", &plan.pki("")], &wanted)
}

fn pod_image(plan: &Plan) -> Result<()> {
    let archive = plan.folder.join(POD_ARCHIVE).display().to_string();
    let wanted = json!({
        "name": plan.pod_image,
        "files": {"/pod": plan.binaries.join("pod")},
        "entrypoint": ["/pod"],
        "user": "65532:65532",
    });
    make(plan, &["image", &archive], &wanted)
}

/// Runs the program that makes certificates and images.
fn make(plan: &Plan, arguments: &[&str], input: &Value) -> Result<()> {
    let mut make = Command::new(plan.binaries.join("make"));
    make.args(arguments).stdin(Stdio::piped());
    command::output(&mut make, Some(input.to_string().as_bytes()))?;
    Ok(())
}
