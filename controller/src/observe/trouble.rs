//! What keeps a pod from running, as its status tells it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tidegate_api::pod::JOB_CONTAINER;
use tidegate_api::status::Reason;

use crate::observed::PodTrouble;

/// A container that has not been set up for so long is not merely slow.
const SLOW_START_SECONDS: i64 = 8;
/// Of what a program said last, so much is repeated.
const LAST_WORDS_MAX: usize = 600;

/// What keeps the pod from running, if anything does; the most telling first.
pub fn trouble(pod: &Pod, now_ms: i64) -> Option<PodTrouble> {
    let status = pod.status.as_ref()?;
    if let Some(found) = unschedulable(status) {
        return Some(found);
    }
    let inits = status.init_container_statuses.iter().flatten();
    let containers = status.container_statuses.iter().flatten();
    let mut all = inits.chain(containers);
    if let Some(found) = all.find_map(|container| container_trouble(pod, container)) {
        return Some(found);
    }
    evicted(status).or_else(|| not_starting(pod, status, now_ms))
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == type_)
}

fn unschedulable(status: &PodStatus) -> Option<PodTrouble> {
    let scheduled = condition(status, "PodScheduled").filter(|c| c.status == "False")?;
    let why = scheduled
        .message
        .as_deref()
        .unwrap_or("the scheduler does not say why");
    Some(PodTrouble::new(
        Reason::Unschedulable,
        format!("no node takes the pod: {why}"),
    ))
}

fn container_trouble(pod: &Pod, container: &ContainerStatus) -> Option<PodTrouble> {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let waiting_reason = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default();
    let why = waiting
        .and_then(|waiting| waiting.message.as_deref())
        .unwrap_or(waiting_reason);
    match waiting_reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => {
            return Some(PodTrouble::new(
                Reason::ImagePullFailed,
                format!("image {:?} cannot be pulled: {why}", container.image),
            ));
        }
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PostStartHookError" => {
            return Some(PodTrouble::new(
                Reason::PodNotStarting,
                format!("container {} cannot be created: {why}", container.name),
            ));
        }
        _ => {}
    }
    if state.is_some_and(|state| state.running.is_some()) && container.ready {
        return None;
    }
    let ended = ended(state).or_else(|| ended(container.last_state.as_ref()))?;
    let finished = ended.finished_at.as_ref();
    exit_trouble(pod, container, ended).map(|trouble| PodTrouble {
        ended_ms: finished.map(|time| time.0.as_millisecond()),
        ..trouble
    })
}

fn ended(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state.and_then(|state| state.terminated.as_ref())
}

fn exit_trouble(
    pod: &Pod,
    container: &ContainerStatus,
    ended: &ContainerStateTerminated,
) -> Option<PodTrouble> {
    let name = &container.name;
    let at = match &ended.finished_at {
        Some(time) => format!(" at {}", time.0),
        None => String::new(),
    };
    if ended.reason.as_deref() == Some("OOMKilled") {
        let limit = match memory_limit(pod, name) {
            Some(limit) => format!("its limit of {limit}"),
            None => "the node's limit".to_owned(),
        };
        let advice = "raise resources.limits.memory, or lower parallelism";
        return Some(PodTrouble::new(
            Reason::OutOfMemory,
            format!(
                "container {name} used more memory than {limit} and was killed{at} ({} times so \
                 far): {advice}",
                container.restart_count.max(1)
            ),
        ));
    }
    // A job that ends well is told by its job API; one that ends badly by what it said last.
    if ended.exit_code == 0 {
        return None;
    }
    let how = match ended.signal {
        Some(signal) if signal != 0 => format!("was killed by signal {signal}"),
        _ => format!("ended with exit code {}", ended.exit_code),
    };
    let words = last_words(ended.message.as_deref().unwrap_or_default());
    let said = if words.is_empty() {
        "it left no message: see kubectl logs --previous".to_owned()
    } else {
        format!("its last words: {words}")
    };
    Some(PodTrouble::new(
        Reason::CrashLoop,
        format!(
            "container {name} {how}{at} ({} restarts); {said}",
            container.restart_count
        ),
    ))
}

/// The end of what a program said, from the start of a line where there is one.
fn last_words(text: &str) -> String {
    let text = text.trim();
    let start = text.len().saturating_sub(LAST_WORDS_MAX);
    let start = (start..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    let tail = &text[start..];
    let whole = match tail.split_once('\n') {
        Some((_, rest)) if start > 0 && !rest.is_empty() => rest,
        _ => tail,
    };
    whole
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join(" | ")
}

fn memory_limit(pod: &Pod, container: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let found = spec
        .containers
        .iter()
        .find(|found| found.name == container)?;
    let limits: &BTreeMap<String, Quantity> = found.resources.as_ref()?.limits.as_ref()?;
    limits.get("memory").map(|quantity| quantity.0.clone())
}

fn evicted(status: &PodStatus) -> Option<PodTrouble> {
    let is_failed = status.phase.as_deref() == Some("Failed");
    let reason = status.reason.as_deref().filter(|_| is_failed)?;
    let why = status
        .message
        .as_deref()
        .unwrap_or("the node does not say why");
    Some(PodTrouble::new(
        Reason::PodNotStarting,
        format!("the node ended the pod ({reason}): {why}"),
    ))
}

/// A pod that was given to a node long ago and whose containers still are not there: a volume
/// cannot be mounted, or the image is large. Only the pod's events say which. Before Kubernetes
/// 1.36, kubelet does not tell that the volumes are there while it pulls the first image.
fn not_starting(pod: &Pod, status: &PodStatus, now_ms: i64) -> Option<PodTrouble> {
    let scheduled = condition(status, "PodScheduled").filter(|c| c.status == "True")?;
    let since_ms = scheduled.last_transition_time.as_ref()?.0.as_millisecond();
    let waited_seconds = (now_ms - since_ms) / 1000;
    let containers = || status.container_statuses.iter().flatten();
    let has_job = containers().any(|container| container.name == JOB_CONTAINER);
    let is_creating = match has_job {
        // What users add to the job's pod is theirs.
        true => containers().any(|c| c.name == JOB_CONTAINER && is_being_created(c)),
        // A pod that removes files. Once kubelet has mounted what it needs, only its image is
        // missing, which is worth a longer wait than files that stay for ever.
        false => !is_mounted(status) && containers().any(is_being_created),
    };
    // The message has no figure that moves: every new message is a write.
    (is_creating && waited_seconds >= SLOW_START_SECONDS).then(|| {
        let why = match is_mounted(status) {
            true => "its image is still pulled".to_owned(),
            false => format!(
                "its image is still pulled, or what it mounts is missing ({}); kubectl describe \
                 pod tells which",
                needed(pod)
            ),
        };
        let message = format!(
            "the pod is on its node for more than {SLOW_START_SECONDS} s, but its containers are \
             not created: {why}"
        );
        PodTrouble {
            may_be_slow: true,
            ..PodTrouble::new(Reason::PodNotStarting, message)
        }
    })
}

fn is_being_created(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    matches!(reason, Some("ContainerCreating" | "PodInitializing"))
}

/// Whether kubelet says that it has done what comes before images and containers: the pod's volumes
/// and network.
fn is_mounted(status: &PodStatus) -> bool {
    condition(status, "PodReadyToStartContainers").is_some_and(|c| c.status == "True")
}

/// What must exist for the pod's volumes to be mounted.
fn needed(pod: &Pod) -> String {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let names = volumes.filter_map(|volume| {
        let secret = volume
            .secret
            .as_ref()
            .and_then(|secret| secret.secret_name.as_ref());
        let claim = volume
            .persistent_volume_claim
            .as_ref()
            .map(|claim| &claim.claim_name);
        let secret = secret.map(|name| format!("Secret {name}"));
        let map = volume
            .config_map
            .as_ref()
            .map(|map| format!("ConfigMap {}", map.name));
        secret
            .or(map)
            .or(claim.map(|name| format!("PersistentVolumeClaim {name}")))
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return "its volumes".to_owned();
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
