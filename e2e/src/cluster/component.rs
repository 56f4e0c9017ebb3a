//! The node's processes and their arguments.

use super::plan::Plan;

/// One long-running process of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// Kubernetes' store.
    Etcd,
    /// Runs containers.
    Containerd,
    /// The S3 server.
    Minio,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// kubelet.
    Kubelet,
    /// kube-proxy.
    Proxy,
    /// The cluster's DNS.
    Dns,
}

impl Component {
    /// All, in the order in which they start.
    pub const ALL: [Self; 9] = [
        Self::Etcd,
        Self::Containerd,
        Self::Minio,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kubelet,
        Self::Proxy,
        Self::Dns,
    ];

    /// Its name in logs and requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Containerd => "containerd",
            Self::Minio => "minio",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Dns => "dns",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|component| component.name() == name)
    }

    /// Program and arguments.
    pub(crate) fn argv(self, plan: &Plan) -> Vec<String> {
        let program = match self {
            Self::Containerd => "containerd".to_string(),
            Self::Minio => plan.minio.display().to_string(),
            Self::Dns => plan.binaries.join("dns").display().to_string(),
            _ => plan.binaries.join("kubernetes").display().to_string(),
        };
        let mut argv = vec![program];
        if !matches!(self, Self::Containerd | Self::Minio | Self::Dns) {
            argv.push(self.name().to_string());
        }
        argv.extend(match self {
            Self::Etcd => etcd(plan),
            Self::Containerd => vec!["--config".to_string(), file(plan, "containerd.toml")],
            Self::Minio => minio(plan),
            Self::ApiServer => api_server(plan),
            Self::ControllerManager => controller_manager(plan),
            Self::Scheduler => scheduler(plan),
            Self::Kubelet => kubelet(plan),
            Self::Proxy => proxy(plan),
            Self::Dns => vec!["-conf".to_string(), file(plan, "Corefile")],
        });
        argv
    }

    pub(crate) fn environment(self, plan: &Plan) -> Vec<(&'static str, String)> {
        // Nothing of the caller's is wanted: a proxy, say, would be asked for the node.
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let mut variables = vec![("PATH", path), ("HOME", plan.folder.display().to_string())];
        if self == Self::Minio {
            variables.extend([
                ("MINIO_ROOT_USER", plan.s3_access_key.clone()),
                ("MINIO_ROOT_PASSWORD", plan.s3_secret_key.clone()),
                ("MINIO_REGION", "us-east-1".to_string()),
                ("MINIO_BROWSER", "off".to_string()),
                ("MINIO_UPDATE", "off".to_string()),
                // Lets it serve a folder of the system's disk.
                ("MINIO_CI_CD", "1".to_string()),
            ]);
        }
        variables
    }
}

fn file(plan: &Plan, name: &str) -> String {
    plan.folder.join(name).display().to_string()
}

fn flags<const N: usize>(flags: [(&str, &str); N]) -> Vec<String> {
    flags
        .iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

fn etcd(plan: &Plan) -> Vec<String> {
    flags([
        ("data-dir", &file(plan, "etcd")),
        ("listen-client-urls", "http://127.0.0.1:2379"),
        ("advertise-client-urls", "http://127.0.0.1:2379"),
        ("listen-peer-urls", "http://127.0.0.1:2380"),
        // What a crash of the machine would lose goes with the cluster anyway.
        ("unsafe-no-fsync", "true"),
        ("log-level", "warn"),
    ])
}

fn minio(plan: &Plan) -> Vec<String> {
    let address = format!("{}:9000", plan.addresses.node);
    let data = file(plan, "s3");
    ["server", "--address", &address, &data]
        .map(String::from)
        .to_vec()
}

fn api_server(plan: &Plan) -> Vec<String> {
    flags([
        ("advertise-address", &plan.addresses.node),
        ("secure-port", "6443"),
        ("etcd-servers", "http://127.0.0.1:2379"),
        ("service-cluster-ip-range", &plan.addresses.services),
        ("client-ca-file", &plan.pki("ca.crt")),
        ("tls-cert-file", &plan.pki("api-server.crt")),
        ("tls-private-key-file", &plan.pki("api-server.key")),
        ("kubelet-certificate-authority", &plan.pki("ca.crt")),
        ("kubelet-client-certificate", &plan.pki("admin.crt")),
        ("kubelet-client-key", &plan.pki("admin.key")),
        // Else `kubectl logs` looks the node's name up.
        ("kubelet-preferred-address-types", "InternalIP"),
        ("service-account-issuer", "https://kubernetes.default.svc"),
        (
            "service-account-key-file",
            &plan.pki("service-accounts.key"),
        ),
        (
            "service-account-signing-key-file",
            &plan.pki("service-accounts.key"),
        ),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("audit-policy-file", &file(plan, "audit.yaml")),
        ("audit-log-path", &file(plan, "logs/audit.log")),
        ("profiling", "false"),
    ])
}

fn controller_manager(plan: &Plan) -> Vec<String> {
    flags([
        ("kubeconfig", &file(plan, "controller-manager.kubeconfig")),
        (
            "service-account-private-key-file",
            &plan.pki("service-accounts.key"),
        ),
        ("root-ca-file", &plan.pki("ca.crt")),
        ("leader-elect", "false"),
        ("use-service-account-credentials", "true"),
        // A lost node is noticed in seconds; the grace period must exceed the lease's renewal.
        ("node-monitor-grace-period", "5s"),
        ("node-monitor-period", "1s"),
        ("kube-api-qps", "200"),
        ("kube-api-burst", "400"),
        ("profiling", "false"),
    ])
}

fn scheduler(plan: &Plan) -> Vec<String> {
    flags([
        ("kubeconfig", &file(plan, "scheduler.kubeconfig")),
        ("leader-elect", "false"),
        ("kube-api-qps", "200"),
        ("kube-api-burst", "400"),
    ])
}

fn kubelet(plan: &Plan) -> Vec<String> {
    flags([
        ("config", &file(plan, "kubelet.yaml")),
        ("kubeconfig", &file(plan, "kubelet.kubeconfig")),
        ("root-dir", &file(plan, "kubelet")),
        ("hostname-override", &plan.node_name),
        ("node-ip", &plan.addresses.node),
    ])
}

fn proxy(plan: &Plan) -> Vec<String> {
    flags([
        ("kubeconfig", &file(plan, "proxy.kubeconfig")),
        ("hostname-override", &plan.node_name),
        ("cluster-cidr", &plan.addresses.pods),
        ("proxy-mode", "iptables"),
        ("iptables-min-sync-period", "100ms"),
        // These belong to the machine and must not be set from here.
        ("conntrack-max-per-core", "0"),
        ("conntrack-tcp-timeout-established", "0"),
        ("conntrack-tcp-timeout-close-wait", "0"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_is_found_by_its_name() {
        for component in Component::ALL {
            assert_eq!(Component::named(component.name()), Some(component));
        }
        assert_eq!(Component::named("kube-nothing"), None);
    }
}
