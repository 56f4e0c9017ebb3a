//! A job as a program.

use serde::{Deserialize, Serialize};

#[cfg(feature = "crd")]
use crate::bounds;

/// A job that is built with Tidegate's Rust API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct Program {
    /// The container image that holds the program.
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::LINE_LENGTH)))]
    pub image: String,
    /// The program in the image and its first arguments; the image's own entry point when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(length(max = bounds::COMMAND_COUNT), inner(length(max = bounds::ARGUMENT_LENGTH))),
        schemars(extend("x-kubernetes-list-type" = "atomic"))
    )]
    pub command: Vec<String>,
    /// The program's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(length(max = bounds::ARGUMENT_COUNT)),
        schemars(inner(length(max = bounds::ARGUMENT_LENGTH))),
        schemars(extend("x-kubernetes-list-type" = "atomic"))
    )]
    pub args: Vec<String>,
    /// Environment variables of the program. What comes from a Secret or ConfigMap goes into
    /// podTemplate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(length(max = bounds::ENV_COUNT)),
        schemars(extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"]
        ))
    )]
    pub env: Vec<EnvVar>,
}

/// An environment variable of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct EnvVar {
    /// The variable's name. Names that begin with TIDEGATE_ belong to the runtime.
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::OBJECT_NAME_LENGTH)))]
    pub name: String,
    /// Its value.
    #[serde(default)]
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::ENV_VALUE_LENGTH)))]
    pub value: String,
}
