use rstest::rstest;
use tidegate_api::{Metadata, validate_for_cluster};

use super::*;
use crate::stream_job::fixtures;

const CERTIFICATE: &str = "orders-0a1b2c3d-tls-5ca1ab1e";

/// The pods of a job with a user's template, as the API server lets it pass.
fn pods(users: Value) -> Result<PodTemplateSpec, TemplateError> {
    let metadata = Metadata {
        name: "orders".to_owned(),
        namespace: "shop".to_owned(),
        ..Metadata::default()
    };
    let mut spec = fixtures::job("registry.example/orders:1").spec;
    spec.pod_template = Some(users);
    let job = validate_for_cluster(&metadata, &spec).unwrap();
    pod_template(&job, "0a1b2c3d", CERTIFICATE)
}

fn scheduling() -> Value {
    let expression = json!({"key": "disk", "operator": "In", "values": ["ssd"]});
    let selector = json!({"matchLabels": {"app": "x"}, "matchExpressions": [expression]});
    let term = json!({
        "labelSelector": selector,
        "topologyKey": "zone",
        "namespaces": [],
        "namespaceSelector": {},
        "matchLabelKeys": ["x"],
    });
    json!({
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [expression]}],
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": {"matchFields": [expression]}},
                ],
            },
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "podAffinityTerm": term},
            ]},
        },
        "tolerations": [
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
            {},
        ],
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
            "minDomains": 2,
            "nodeAffinityPolicy": "Honor",
        }],
        "nodeSelector": {"disk": "ssd", "any/label": ""},
        "priorityClassName": "high",
        "schedulerName": "mine",
        "runtimeClassName": "gvisor",
        "overhead": {"cpu": "100m"},
        "schedulingGates": [{"name": "gate"}],
        "preemptionPolicy": "Never",
    })
}

fn volumes() -> Value {
    let claim = json!({
        "metadata": {"labels": {"a": "b"}, "creationTimestamp": null},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}},
            "dataSource": {"apiGroup": "x", "kind": "y", "name": "z"},
        },
    });
    let items = json!([{"key": "a", "path": "b", "mode": 256}]);
    let field = json!({"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}});
    json!([
        {"name": "empty", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "config", "configMap": {"name": "c", "items": items, "optional": true}},
        {"name": "secret", "secret": {"secretName": "s", "items": [], "defaultMode": 256}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "c", "readOnly": true}},
        {"name": "own", "ephemeral": {"volumeClaimTemplate": claim}},
        {"name": "csi", "csi": {
            "driver": "d",
            "volumeAttributes": {"x": "y"},
            "nodePublishSecretRef": {"name": "s"},
        }},
        {"name": "image", "image": {"reference": "a:1", "pullPolicy": "Always"}},
        {"name": "host", "hostPath": {"path": "/x", "type": "Directory"}},
        {"name": "nfs", "nfs": {"server": "s", "path": "/x"}},
        {"name": "pod", "downwardAPI": {"items": [field]}},
        {"name": "all", "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"audience": "a", "expirationSeconds": 600, "path": "t"}},
            {"configMap": {"name": "c", "items": items}},
            {"secret": {"name": "s"}},
            {"downwardAPI": {"items": [field]}},
            {"clusterTrustBundle": {"name": "b", "path": "ca"}},
        ]}},
    ])
}

fn containers() -> Value {
    let probe = json!({
        "httpGet": {
            "path": "/live",
            "port": "http",
            "scheme": "HTTPS",
            "httpHeaders": [{"name": "a", "value": "b"}],
        },
        "initialDelaySeconds": 1,
        "terminationGracePeriodSeconds": 5,
    });
    json!([
        {
            "name": "job",
            "env": [
                {"name": "A", "value": ""},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "D", "valueFrom": {
                    "resourceFieldRef": {"resource": "limits.cpu", "divisor": 1},
                }},
            ],
            "envFrom": [
                {"prefix": "X_", "configMapRef": {"name": "c", "optional": true}},
                {"secretRef": {"name": "s"}},
            ],
            "resources": {
                "limits": {"cpu": "2", "example.com/gpu": "1"},
                "requests": {"memory": "1Gi"},
                "claims": [{"name": "gpu", "request": "one"}],
            },
            "securityContext": {
                "capabilities": {"drop": ["ALL"], "add": []},
                "seccompProfile": {"type": "Localhost", "localhostProfile": "p"},
                "appArmorProfile": {"type": "RuntimeDefault"},
                "runAsNonRoot": true,
            },
            "volumeMounts": [
                {"name": "claim", "mountPath": "/data", "subPath": "x", "mountPropagation": "None"},
                {"name": "all", "mountPath": "/all", "recursiveReadOnly": "IfPossible"},
            ],
            "volumeDevices": [{"name": "own", "devicePath": "/dev/x"}],
            "livenessProbe": {"failureThreshold": 30, "httpGet": {"path": "/livez"}},
            "readinessProbe": null,
            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}, "stopSignal": "SIGTERM"},
            "workingDir": "/data",
            "tty": false,
        },
        {
            "name": "proxy",
            "image": "proxy:1",
            "imagePullPolicy": "IfNotPresent",
            "args": ["a"],
            "ports": [
                {"name": "http", "containerPort": 9000, "protocol": "TCP", "hostPort": 9000},
            ],
            "livenessProbe": probe,
            "startupProbe": {"exec": {"command": ["true"]}},
            "readinessProbe": {"grpc": {"port": 9000, "service": "s"}},
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
        },
    ])
}

fn whole() -> Value {
    let mut spec = scheduling();
    spec["containers"] = containers();
    spec["initContainers"] = json!([{
        "name": "sidecar",
        "image": "b:1",
        "restartPolicy": "Always",
        "readinessProbe": {"tcpSocket": {"port": 9001, "host": "x"}},
    }]);
    spec["volumes"] = volumes();
    let more = json!({
        "serviceAccountName": "orders",
        "serviceAccount": "orders",
        "automountServiceAccountToken": true,
        "imagePullSecrets": [{"name": "registry"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
        "dnsPolicy": "None",
        "dnsConfig": {
            "nameservers": ["10.0.0.2"],
            "searches": [],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
        },
        "securityContext": {
            "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "supplementalGroups": [1],
            "sysctls": [{"name": "a", "value": "b"}],
            "seLinuxOptions": {"level": "s0"},
        },
        "hostUsers": false,
        "hostNetwork": false,
        "os": {"name": "linux"},
        "readinessGates": [{"conditionType": "x"}],
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}],
        "resources": {"limits": {"memory": "4Gi"}},
        "setHostnameAsFQDN": false,
        "shareProcessNamespace": false,
        "terminationGracePeriodSeconds": null,
    });
    merge(&mut spec, more);
    json!({
        "metadata": {"labels": {"team": "a"}, "annotations": {"example.com/a": "b"}},
        "spec": spec,
    })
}

#[test]
fn whatever_kubernetes_has_is_taken() {
    let template = pods(whole()).unwrap();
    let spec = template.spec.unwrap();
    // Ours are the configuration, the certificate, the credentials and the scratch folder.
    assert_eq!(spec.volumes.unwrap().len(), 12 + 4);
    assert_eq!(spec.containers.len(), 2);
    assert_eq!(spec.containers[0].readiness_probe, None);
}

#[rstest]
#[case::pod("", "nodeSelecter")]
#[case::container("/containers/0", "securityContex")]
#[case::sidecar("/initContainers/0", "imagePulPolicy")]
#[case::security("/containers/0/securityContext", "readOnlyRootFileSystem")]
#[case::affinity("/affinity", "nodeAffinty")]
#[case::term(
    "/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/0",
    "topologyKeys"
)]
#[case::toleration("/tolerations/1", "kee")]
#[case::resources("/containers/0/resources", "limit")]
#[case::probe("/containers/1/livenessProbe/httpGet", "prt")]
#[case::empty("/containers/1/startupProbe", "periodeSeconds")]
#[case::variable("/containers/0/env/1/valueFrom/secretKeyRef", "keys")]
#[case::volume("/volumes/5/ephemeral/volumeClaimTemplate/spec", "storageClass")]
#[case::projected("/volumes/11/projected/sources/1/configMap", "item")]
#[case::case("/dnsConfig", "nameServers")]
fn a_misspelt_field_is_named_with_its_path(#[case] place: &str, #[case] name: &str) {
    let mut users = whole();
    let pointer = format!("/spec{place}");
    users.pointer_mut(&pointer).unwrap()[name] = json!({"any": ["value"]});
    let error = pods(users).unwrap_err();
    let mut path = "spec.podTemplate.spec".to_owned();
    for part in place.split('/').skip(1) {
        match part.parse::<usize>() {
            Ok(index) => path.push_str(&format!("[{index}]")),
            Err(_) => path.push_str(&format!(".{part}")),
        }
    }
    let expected = format!(
        "{path}.{name}: there is no such field in a pod template; write it as in a Deployment's \
         spec.template"
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_misspelt_field_that_is_null_asks_for_nothing() {
    assert!(pods(json!({"spec": {"nodeSelecter": null, "nodeSelector": {"a": null}}})).is_ok());
}

#[test]
fn an_entry_that_says_only_what_it_changes_is_taken() {
    let users = json!({"spec": {"containers": [
        {"name": "job", "startupProbe": {"failureThreshold": 600}, "envFrom": [{}]},
    ]}});
    assert!(pods(users).is_ok());
}

#[rstest]
#[case(json!({"emptyDir": {"medium": "Memory"}}))]
#[case(json!({"persistentVolumeClaim": {"claimName": "scratch"}}))]
#[case(json!({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}))]
#[case(json!({"hostPath": {"path": "/scratch"}}))]
#[case(json!({"nfs": {"server": "s", "path": "/scratch"}, "emptyDir": null}))]
fn the_scratch_folder_can_be_any_kind_of_volume(#[case] kind: Value) {
    let mut volume = kind.clone();
    volume["name"] = json!("tmp");
    let template = json!(pods(json!({"spec": {"volumes": [volume]}})).unwrap());
    let volumes = template["spec"]["volumes"].as_array().unwrap();
    let scratch: Vec<&Value> = volumes.iter().filter(|v| v["name"] == "tmp").collect();
    assert_eq!(scratch.len(), 1);
    let names = scratch[0].as_object().unwrap().keys();
    let kinds: Vec<&String> = names.filter(|name| *name != "name").collect();
    let expected = kind.as_object().unwrap().iter();
    let expected: Vec<&String> = expected
        .filter(|(_, value)| !value.is_null())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(kinds, expected);
    let mounts = &template["spec"]["containers"][0]["volumeMounts"];
    let mounts = mounts.as_array().unwrap();
    let at_scratch = mounts.iter().filter(|mount| mount["mountPath"] == "/tmp");
    let names: Vec<&Value> = at_scratch.map(|mount| &mount["name"]).collect();
    assert_eq!(names, ["tmp"]);
}

#[test]
fn a_scratch_folder_without_a_kind_stays_ours() {
    let template = json!(pods(json!({"spec": {"volumes": [{"name": "tmp"}]}})).unwrap());
    let volumes = template["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.contains(&json!({"name": "tmp", "emptyDir": {}})));
}

#[test]
fn variables_of_the_runtime_come_from_no_other_source() {
    let users = json!({"spec": {"containers": [
        {"name": "job", "envFrom": [
            {"prefix": "TIDEGATE_", "secretRef": {"name": "s"}},
            {"secretRef": {"name": "t"}},
        ]},
    ]}});
    let kept = without_reserved(users.as_object().unwrap());
    let sources = kept.pointer("/spec/containers/0/envFrom").unwrap();
    assert_eq!(sources, &json!([{"secretRef": {"name": "t"}}]));
}
