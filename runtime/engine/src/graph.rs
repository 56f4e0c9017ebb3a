//! The dataflow graph: what user code describes, and what tasks are made from.

mod build;
mod node;

pub(crate) use build::GraphBuilder;
pub use build::GraphError;
pub(crate) use node::{
    AnySink, AnySource, AnyWriter, Edge, Exchange, Node, NodeBody, NodeIndex, SourceHead,
};

use serde::Serialize;
use tidegate_protocol::{
    ChainId, ChainPlan, JobPlan, MaxParallelism, OperatorId, OperatorKind, OperatorPlan,
};

use crate::source::Replay;

/// One operator, for people and the job API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDescription {
    /// The stable id.
    pub id: OperatorId,
    /// What it is to the checkpoint protocol.
    pub kind: OperatorKind,
    /// The chain it runs in.
    pub chain: ChainId,
    /// The operators it takes its input from, each with how: `forward` or `hash`.
    pub inputs: Vec<(OperatorId, &'static str)>,
}

/// A chain: nodes that run in one task, first to last.
pub(crate) struct Chain {
    pub(crate) nodes: Vec<NodeIndex>,
    /// The edges that leave it: the chain they lead to and how.
    pub(crate) outputs: Vec<(ChainId, Exchange)>,
    /// The chains that send to it, one for each incoming edge, and whether every subtask of theirs
    /// sends to every one of its own.
    pub(crate) inputs: Vec<(ChainId, bool)>,
}

/// A job's whole dataflow graph. Shared by all its tasks.
///
/// # Invariants
/// Nodes and chains are in topological order; ids are unique; every chain begins with a source or
/// has inputs (`tests`).
pub struct JobGraph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) max: MaxParallelism,
}

impl JobGraph {
    /// The graph as the coordinator sees it.
    pub fn plan(&self) -> JobPlan {
        let chains = self.chains.iter().zip(0..).map(|(chain, index)| ChainPlan {
            id: ChainId(index),
            operators: chain
                .nodes
                .iter()
                .map(|node| self.nodes[*node].plan())
                .collect(),
            outputs: chain.outputs.iter().map(|(to, _)| *to).collect(),
        });
        JobPlan {
            chains: chains.collect(),
            max_parallelism: self.max,
        }
    }

    /// All operators, in topological order.
    pub fn describe(&self) -> Vec<NodeDescription> {
        let describe = |node: &Node, chain: u32| NodeDescription {
            id: node.id.clone(),
            kind: node.kind(),
            chain: ChainId(chain),
            inputs: node
                .inputs
                .iter()
                .map(|edge| (self.nodes[edge.from].id.clone(), edge.exchange.name()))
                .collect(),
        };
        let chains = self.chains.iter().zip(0..);
        chains
            .flat_map(|(chain, index)| {
                chain
                    .nodes
                    .iter()
                    .map(move |node| describe(&self.nodes[*node], index))
            })
            .collect()
    }

    /// The sources whose records cannot be read again, by name: after a failure, what they gave
    /// since the last checkpoint is lost, and whenever the job starts anew what was on its way.
    pub fn unreplayable_sources(&self) -> Vec<String> {
        let is_unreplayable = |node: &&Node| match &node.body {
            NodeBody::Source(source) => source.replay() == Replay::Never,
            _ => false,
        };
        self.nodes
            .iter()
            .filter(is_unreplayable)
            .map(|node| node.id.to_string())
            .collect()
    }

    /// Where a person finds the results: sinks by name, with their location.
    pub fn sink_locations(&self) -> Vec<(String, String)> {
        let location = |node: &Node| match &node.body {
            NodeBody::Sink(sink) => sink.location().map(|place| (node.id.to_string(), place)),
            _ => None,
        };
        self.nodes.iter().filter_map(location).collect()
    }

    /// The chain's first node.
    pub(crate) fn head(&self, chain: ChainId) -> &Node {
        &self.nodes[self.chains[chain.0 as usize].nodes[0]]
    }
}

impl Node {
    /// What it is to the checkpoint protocol.
    pub(crate) fn kind(&self) -> OperatorKind {
        match &self.body {
            NodeBody::Source(_) => OperatorKind::Source,
            NodeBody::Sink(_) => OperatorKind::Sink,
            NodeBody::Transform(_) if self.state.is_some() => OperatorKind::Keyed,
            NodeBody::Transform(_) | NodeBody::Union => OperatorKind::Stateless,
        }
    }

    fn plan(&self) -> OperatorPlan {
        OperatorPlan {
            id: self.id.clone(),
            name: self.id.to_string(),
            kind: self.kind(),
            state: self.state.clone(),
        }
    }
}
