//! What a pod template may not say, since the controller owns it.

use super::{Test, TextRule, Wording, quoted};

pub(crate) const TEMPLATE_OBJECT: Wording = Wording {
    problem: "it is no object",
    remedy: "write it as in podTemplate: {spec: {nodeSelector: {…}}}",
};

pub(crate) const TEMPLATE_MEMBER: Wording = Wording {
    problem: "there is no such field in a pod template",
    remedy: "put it under spec, or labels and annotations under metadata",
};

/// The prefix of the names of the controller's volumes.
pub(crate) const RESERVED_VOLUME_PREFIX: &str = "tidegate-";
pub(crate) const RESERVED_LABEL_PREFIX: &str = "tidegate.dev/";

pub(crate) const TEMPLATE_LABEL: Wording = Wording {
    problem: "labels that begin with tidegate.dev/ belong to the controller",
    remedy: "use another prefix",
};

pub(crate) const TEMPLATE_JOB_CONTAINER: Wording = Wording {
    problem: "the container job takes its image, command, args and ports from elsewhere",
    remedy: "set image, command and args in spec.program, and leave ports out",
};

pub(crate) const TEMPLATE_ENV: Wording = Wording {
    problem: "variables of the container job that begin with TIDEGATE_ belong to the runtime",
    remedy: "use a name without the prefix",
};

/// The folder of what the controller mounts, and what lies in it, however it is written: a
/// container's paths begin at its root with or without a slash.
pub(crate) const RUNTIME_MOUNT: Test = Test::Has(r"^(\.?/)*etc/(\.?/)*tidegate(/|$)");

pub(crate) const TEMPLATE_MOUNT: Wording = Wording {
    problem: "/etc/tidegate belongs to the runtime",
    remedy: "mount it elsewhere",
};

/// [`crate::pod::SCRATCH_FOLDER`] itself; something else may be mounted in it.
pub(crate) const SCRATCH_MOUNT: Test = Test::Has(r"^(\.?/)*tmp(/(\.?/)*\.?)?$");

pub(crate) const TEMPLATE_SCRATCH: Wording = Wording {
    problem: "the container job has its volume tmp at /tmp",
    remedy: "redefine the volume tmp instead, or mount it elsewhere",
};

pub(crate) const UPWARD_MOUNT: Test = Test::Has(r"(^|/)\.\.(/|$)");

pub(crate) const TEMPLATE_UPWARD_MOUNT: Wording = Wording {
    problem: "a mount of the container job has .. in its path",
    remedy: "write the folder that it leads to",
};

pub(crate) const TEMPLATE_PORT: Wording = Wording {
    problem: "the ports 8080 and 8443 belong to the job",
    remedy: "let the container listen at another one",
};

/// Of an init container that runs on beside the job.
pub(crate) const SIDECAR_RESTART_POLICY: &str = "Always";

pub(crate) const TEMPLATE_INIT_CONTAINER: Wording = Wording {
    problem: "the name job belongs to the job's container",
    remedy: "give the init container another one",
};

pub(crate) const TEMPLATE_VOLUME: Wording = Wording {
    problem: "volumes whose names begin with tidegate- belong to the controller",
    remedy: "use another name",
};

pub(crate) const TEMPLATE_RESTART: Wording = Wording {
    problem: "a job's pods are restarted always",
    remedy: "remove restartPolicy; spec.restart says how often the job is started again",
};

pub(crate) const CONTAINER_NAME: &[TextRule] = &[quoted(
    Test::Has(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
    "cannot name a container or volume",
    "use at most 63 lower-case letters, digits and hyphens, with no hyphen at an end",
)];
