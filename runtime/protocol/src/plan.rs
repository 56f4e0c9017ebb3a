//! A job's dataflow graph as the coordinator sees it: names, kinds and state schemas, no code.

use serde::{Deserialize, Serialize};

use crate::{ChainId, MaxParallelism, OperatorId};

/// What an operator is to the checkpoint protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorKind {
    /// Reads splits; its state is a list of splits with positions.
    Source,
    /// Keeps nothing.
    Stateless,
    /// Keeps state by key.
    Keyed,
    /// Writes; its state is a list of pending transactions.
    Sink,
}

/// One state that a keyed operator declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateColumn {
    /// The name it was declared under.
    pub name: String,
    /// `value`, `reducing`, `list` or `map`.
    pub kind: String,
    /// The type of its values, as the typed API names it.
    pub data_type: String,
}

/// The schema of a keyed operator's state; what a restore checks before it reads a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateSchema {
    /// The type of the key.
    pub key: String,
    /// The declared states, in the order of declaration.
    pub columns: Vec<StateColumn>,
}

/// One operator of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorPlan {
    /// The stable id, unique in the job.
    pub id: OperatorId,
    /// What a person reads.
    pub name: String,
    /// What it is to the protocol.
    pub kind: OperatorKind,
    /// What it keeps by key, if it does.
    pub state: Option<StateSchema>,
}

/// Operators that run in one task, and where their output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainPlan {
    /// The position in [`JobPlan::chains`].
    pub id: ChainId,
    /// In the order in which chunks pass; never empty.
    pub operators: Vec<OperatorPlan>,
    /// The chains that this one sends to.
    pub outputs: Vec<ChainId>,
}

impl ChainPlan {
    /// Whether barriers enter the dataflow here.
    pub fn is_source(&self) -> bool {
        self.operators
            .first()
            .is_some_and(|first| first.kind == OperatorKind::Source)
    }
}

/// The whole job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobPlan {
    /// In topological order.
    pub chains: Vec<ChainPlan>,
    /// The number of key groups.
    pub max_parallelism: MaxParallelism,
}

impl JobPlan {
    /// All operators, in topological order.
    pub fn operators(&self) -> impl Iterator<Item = &OperatorPlan> {
        self.chains.iter().flat_map(|chain| &chain.operators)
    }

    /// A stable fingerprint of ids, kinds and schemas, 16 hexadecimal digits: equal plans have
    /// equal ones, whatever their operators' display names.
    pub fn fingerprint(&self) -> String {
        let mut hash = 0;
        for chain in &self.chains {
            for operator in &chain.operators {
                let text = format!("{:?}", (&operator.id, operator.kind, &operator.state));
                hash = crate::hash_key_with_seed(text.as_bytes(), hash);
            }
            hash = crate::hash_key_with_seed(format!("{:?}", chain.outputs).as_bytes(), hash);
        }
        format!("{hash:016x}")
    }
}
