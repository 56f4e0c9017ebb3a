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
        let mut add = |part: serde_json::Result<String>| {
            let text = part.expect("plans hold no maps");
            hash = crate::hash_key_with_seed(text.as_bytes(), hash);
        };
        for chain in &self.chains {
            for operator in &chain.operators {
                let part = (&operator.id, operator.kind, &operator.state);
                add(serde_json::to_string(&part));
            }
            add(serde_json::to_string(&chain.outputs));
        }
        format!("{hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OperatorId;

    fn plan() -> JobPlan {
        let operator = |id: &str, kind, state| OperatorPlan {
            id: OperatorId::new(id).unwrap(),
            name: id.to_owned(),
            kind,
            state,
        };
        let column = StateColumn {
            name: "count".to_owned(),
            kind: "value".to_owned(),
            data_type: "UInt64".to_owned(),
        };
        let schema = StateSchema {
            key: "Utf8".to_owned(),
            columns: vec![column],
        };
        let chain = |id, operator, outputs| ChainPlan {
            id: ChainId(id),
            operators: vec![operator],
            outputs,
        };
        let source = operator("lines", OperatorKind::Source, None);
        let counts = operator("count", OperatorKind::Keyed, Some(schema));
        JobPlan {
            chains: vec![
                chain(0, source, vec![ChainId(1)]),
                chain(1, counts, Vec::new()),
            ],
            max_parallelism: MaxParallelism::default(),
        }
    }

    #[test]
    fn the_fingerprint_of_a_plan_never_changes() {
        assert_eq!(plan().fingerprint(), "19f541e602ef9db9");
    }

    #[test]
    fn names_for_people_do_not_count_and_everything_else_does() {
        let mut renamed = plan();
        renamed.chains[0].operators[0].name = "the lines".to_owned();
        assert_eq!(renamed.fingerprint(), plan().fingerprint());
        let changes: [fn(&mut JobPlan); 4] = [
            |plan| plan.chains[0].operators[0].id = OperatorId::new("rows").unwrap(),
            |plan| plan.chains[0].operators[0].kind = OperatorKind::Stateless,
            |plan| plan.chains[1].operators[0].state = None,
            |plan| plan.chains[0].outputs.clear(),
        ];
        for change in changes {
            let mut changed = plan();
            change(&mut changed);
            assert_ne!(changed.fingerprint(), plan().fingerprint());
        }
    }
}
